"""What people call a clip: held-out digits, a clip of a store, or a file. Nothing here imports torch.

moving-mnist:SEED    held-out digits; SEED says which, and how they move
STORE:NUMBER         a clip that a prepared store holds out
pusht:NUMBER         a held-out clip that comes with a shipped model; as of a store
STORE, STORE:SPLIT   the clips of a store, to be tested on
anything else        a video, a folder of frames, an array (FILE:ARRAY where a file has several)
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from stochvid.config import MOVING_MNIST, shipped_clips
from stochvid.core.errors import InputError, alike
from stochvid.data.store import Store, is_store


@dataclass(frozen=True)
class ClipName:
    """The name of a clip, taken apart.

    Attributes:
        text: as it was given.
        kind: made (held-out digits), stored (of a prepared store), or file.
        place: the folder of a store, or the path of a file; of digits moving-mnist.
        part: SEED, NUMBER or SPLIT, what stands behind the colon of the first two kinds; "": nothing.
    """

    text: str
    kind: Literal["made", "stored", "file"]
    place: str
    part: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Takes a name apart. A store is one whose index can be read; a file need not be there.

        Raises:
            InputError: a seed of digits that is no whole number.
        """
        before, _, after = text.partition(":")
        if before == MOVING_MNIST and text != MOVING_MNIST:
            if not after.isdecimal():
                raise InputError(
                    f"clip {text!r} must be {MOVING_MNIST}:SEED with a whole number, as in {MOVING_MNIST}:3."
                )
            return cls(text, "made", MOVING_MNIST, after)
        if stored := cls.of_store(text):
            return stored
        if after and not Path(text).exists() and alike(before, [MOVING_MNIST]):
            raise InputError(f"clip {text!r} does not exist. Did you mean {MOVING_MNIST}:{after}?")
        return cls(text, "file", text)

    @classmethod
    def of_store(cls, text: str) -> Self | None:
        """Takes the name of a store apart, or of something in it; None: there is no such store."""
        folder, _, part = text.rpartition(":")
        for place, inside in ((text, ""), (folder, part)):
            if place and is_store(place):
                return cls(text, "stored", place, inside)
        for place, inside in ((text, ""), (folder, part)):
            if shipped := shipped_clips().get(place):
                return cls(text, "stored", str(shipped), inside)
        return None

    @property
    def label(self) -> str:
        """What results of it are called, for files."""
        path = Path(self.text.replace(":", "-"))
        return path.stem if path.suffix else path.resolve().name

    def store(self) -> Store:
        """The store that it names; errors as of `Store`."""
        return Store(self.place)
