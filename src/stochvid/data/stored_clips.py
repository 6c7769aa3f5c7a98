"""Training clips out of a store: random starts that are a function of (seed, index)."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from stochvid.core.clips import FRAMES, INDEX
from stochvid.core.errors import InputError
from stochvid.core.philox import Streams, shuffled
from stochvid.data.store import Store

ROUNDS = 6  # of the permutation: four are indistinguishable from a random one, two more cost nothing


class StoredClips:
    """Clips of a fixed length out of a store, at random starts: epoch after epoch, every legal start once.

    An epoch is as many indices as there are legal starts, which come in an order of its own.

    Args:
        store: to read from.
        split: of the store.
        length: frames T of a clip.
        seed: clips of different seeds are independent.
        stride: take every so many-th frame.
        flip: mirror every other clip, at random, left to right. Only tracks that are events are given then: nobody
            knows what becomes of the others.

    Attributes:
        span: frames of a store's clip that one of these covers.
        short: clips of the store that are too short, and left out.
        tracks: what is given of every frame, by name.

    Raises:
        InputError: no clip of the store is long enough.
    """

    def __init__(self, store: Store, split: str, length: int, *, seed: int = 0, stride: int = 1, flip: bool = False):
        self.store, self.split, self.length, self.stride, self.flip = store, split, length, stride, flip
        if split not in store.splits:
            raise InputError(f"store {str(store.path)!r} has no split {split!r}, only {', '.join(store.splits)}.")
        index = store.splits[split]
        self.span = span = (length - 1) * stride + 1
        starts = np.maximum(np.array(index.lengths) - span + 1, 0)
        self._offsets = np.array(index.offsets)
        self.tracks = {name: track for name, track in store.tracks.items() if track.is_event or not flip}
        self._ends = np.cumsum(starts)  # the legal starts of all clips in a row, and where each clip's end in it
        self.short = int((starts == 0).sum())
        if not self._ends[-1]:
            strided = f" ({length} with a stride of {stride})" if stride > 1 else ""
            raise InputError(
                f"store {str(store.path)!r} has no clip of {span} frames{strided} in {split!r}; its longest has "
                f"{max(index.lengths)}. Use a smaller --model.horizon or --data.stride, or longer videos."
            )
        self._orders, self._flips = Streams(seed, f"store {split} order"), Streams(seed, f"store {split}")

    def __str__(self) -> str:
        left_out = f" ({self.short:,} more shorter than {self.span} frames)" if self.short else ""
        return f"{self.split}: {self.count:,} clip(s) of {self.store.path}{left_out}"

    @property
    def count(self) -> int:
        """Clips of the store that are long enough."""
        return len(self.store.splits[self.split].names) - self.short

    def digest(self, tracks: Iterable[str] = ()) -> str:
        """Identity of the frames, the checksum of their array, and of some tracks, likewise."""
        index = self.store.splits[self.split]
        return " ".join([index.sha256, *(index.tracks.get(name, "") for name in tracks)])

    def preprocessing(self) -> dict[str, Any]:
        """How these clips look at the world, which other clips must do as well: `fps`, `stride`, `crop` and `range`."""
        rates = set(self.store.splits[self.split].fps)
        fps = rates.pop() if len(rates) == 1 else None
        plan = self.store.about.get("plan")
        plan = plan if isinstance(plan, dict) else {}
        crop = "centre" if plan.get("crop") == "centre" else "none"
        return {"fps": fps and fps / self.stride, "stride": self.stride, "crop": crop, "range": plan.get("range")}

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        """Clip `index` (any integer from 0): `frames` (T, C, H, W) uint8, `index`, and tracks by name, (T, …)."""
        return {name: values[0] for name, values in self.__getitems__([index]).items()}

    def __getitems__(self, indices: Sequence[int]) -> dict[str, np.ndarray]:
        """A batch: `frames` (B, T, C, H, W) uint8, `index` (B,) int64, and tracks by name, (B, T, …)."""
        numbers = np.asarray(indices, dtype=np.int64)
        array = self.store.array(self.split)
        tracks: dict[str, list[np.ndarray]] = {name: [] for name in self.tracks}
        frames = np.empty((len(numbers), self.length, *array.shape[1:]), dtype=np.uint8)
        for row, index in enumerate(numbers):
            clip, start, mirrored = self._place(int(index))
            first = self._offsets[clip] + start
            frames[row] = array[first : first + self.span : self.stride]
            if mirrored:
                frames[row] = frames[row, ..., ::-1].copy()
            if tracks:
                found = self.store.tracks_at(self.split, clip, start, self.length, self.stride)
                for name, values in tracks.items():
                    values.append(found[name])
        return {FRAMES: frames, INDEX: numbers} | {name: np.stack(values) for name, values in tracks.items()}

    def _place(self, index: int) -> tuple[int, int, bool]:
        """Which clip, its first frame, and whether it is mirrored: a function of the seed and the index."""
        epoch, place = divmod(index, int(self._ends[-1]))
        keys = self._orders.at(epoch).bit_generator.random_raw(ROUNDS).tolist()
        start = shuffled(place, int(self._ends[-1]), keys)
        clip = int(np.searchsorted(self._ends, start, side="right"))
        before = self._ends[clip - 1] if clip else 0
        return clip, start - int(before), self.flip and bool(self._flips.at(index).integers(2))
