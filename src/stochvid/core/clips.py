"""What a batch of clips is, everywhere: frames, and whatever else is known of each of them. Imports no torch.

Axes: `B` clips, `T` frames, `C H W` image. An *event* is a track of one bool a frame, true where something happens that
nobody could foresee; it is named in the plural, as `bounces`.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Self, Union

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

CHANGE = 13  # of 255: pixels that differ by less from those before show the noise of a camera or of compression
FRAMES, INDEX = "frames", "index"  # in a batch as a data set gives it; everything else there is a track
ACTIONS = "actions"  # the track of what was done: of a store at each frame, of clips what led to it
DRAWN = (  # of futures.npz
    "context", "truth", "futures", "futures_std", "prior_mean", "prior_std", "std_map", "latents", "seed",
    "temperature",
)  # fmt: skip
TRACK_NAME = re.compile(r"[a-z][a-z0-9_]{0,49}")


class Clips(NamedTuple):
    """Clips and their tracks.

    Attributes:
        frames: (B, T, C, H, W), float in [0, 1] or uint8.
        tracks: by name, what is known of every frame, (B, T, …): such as `bounces` (bool), or `actions` (float), what
            was done between the frame before and this one. Of clips whose future is to be predicted, they may go on
            after the last frame: (B, ≥ T, …).
    """

    frames: "Tensor"
    tracks: Mapping[str, "Tensor"] = {}

    @staticmethod
    def of(clips: Union["Clips", "Tensor"]) -> "Clips":
        """Clips as they are; frames alone as clips without tracks."""
        return clips if isinstance(clips, Clips) else Clips(clips)

    @classmethod
    def of_batch(cls, batch: Mapping[str, "np.ndarray"]) -> Self:
        """The clips of a batch of arrays as data sets give it: `frames`, perhaps `index`, and tracks by name."""
        import torch

        tensors = {name: torch.from_numpy(values) for name, values in batch.items() if name != INDEX}
        return cls(tensors.pop(FRAMES), tensors)

    def between(self, first: int, last: int | None = None) -> Self:
        """The frames from `first` to before `last`, and the tracks at them."""
        return type(self)(self.frames[:, first:last], tracks_between(self.tracks, first, last))

    def to(self, device: Any) -> Self:
        """The same on a device."""
        return type(self)(self.frames.to(device), {name: track.to(device) for name, track in self.tracks.items()})


def tracks_between(tracks: Mapping[str, Any], first: int, last: int | None = None) -> dict[str, Any]:
    """Tracks (B, T, …) from frame `first` to before `last`."""
    return {name: track[:, first:last] for name, track in tracks.items()}


def is_track_name(name: Any) -> bool:
    """Whether a track can be called so: it names a file, and an array among others."""
    return isinstance(name, str) and bool(TRACK_NAME.fullmatch(name)) and name not in (FRAMES, INDEX, *DRAWN)


def events(tracks: Mapping[str, "np.ndarray"], axes: int = 1) -> dict[str, "np.ndarray"]:
    """The tracks that are events: (T,) bool, or (B, T) where `axes` is 2."""
    return {name: track for name, track in tracks.items() if track.dtype == bool and track.ndim == axes}


def one_of(name: str) -> str:
    """What one of an event's marks is called: `bounces` → bounce."""
    return in_words(name).removesuffix("s")


def in_words(name: str) -> str:
    """A track's name for people."""
    return name.replace("_", " ")
