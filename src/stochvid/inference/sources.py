"""A clip for a model, by the name that people give on the command line, opened to be read frame by frame."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

import numpy as np

from stochvid.config import TRAINING, DataConfig, load_config
from stochvid.core.clips import ACTIONS, FRAMES, INDEX
from stochvid.core.errors import InputError
from stochvid.data.clip_names import ClipName
from stochvid.data.moving_mnist import MovingMNIST
from stochvid.data.places import find_mnist
from stochvid.data.store import Store
from stochvid.data.tracks import at_frames
from stochvid.media.clip import Clip, open_clip
from stochvid.media.images import IMAGE_SUFFIXES
from stochvid.media.times import Timed
from stochvid.media.values import Limits, Range
from stochvid.media.video import probe_video
from stochvid.model_configs import ModelConfig

MADE = 100  # frames of a made clip, unless told otherwise


@dataclass
class ClipSource:
    """A clip whose frames have not been read yet.

    Attributes:
        name: for files and titles.
        frames: (H, W, C) uint8, one after another, with their times where these are known.
        fps: frames per second, None where the source does not say.
        tracks: what else is known of every frame, by name, (≥ T, …).
    """

    name: str
    frames: Timed
    fps: float | None = None
    tracks: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def seconds(self) -> np.ndarray | None:
        """When the frames read so far are shown, (T,) float64 since the first of the source; None: not known."""
        seconds = self.frames.seconds
        return np.arange(len(self.frames.times)) / self.fps if seconds is None and self.fps else seconds

    def every(self, stride: int) -> "ClipSource":
        """One frame in `stride` of it, from the first."""
        tracks = {}
        for name, track in self.tracks.items():
            done = np.concatenate([track[1:], track[-1:]]) if name == ACTIONS else track  # as a store has them
            tracks[name] = at_frames(done, 0, -(-len(track) // stride), stride, name)
        return ClipSource(self.name, self.frames.every(stride), self.fps and self.fps / stride, tracks)

    def start_at(self, start: int) -> "ClipSource":
        """It from a frame on, counted from 0; or its last −start frames."""
        frames = Timed(self._pairs_from(start), self.frames.pace) if start else self.frames
        return ClipSource(self.name, frames, self.fps, {name: track[start:] for name, track in self.tracks.items()})

    def _pairs_from(self, start: int) -> Iterator[tuple[np.ndarray, float | None]]:
        pairs = self.frames.pairs
        pairs = islice(pairs, start, None) if start > 0 else iter(deque(pairs, -start))
        first = next(pairs, None)
        if first is None:
            raise InputError(f"clip {self.name!r} ends before frame {start}. Use a smaller --start.")
        yield from chain([first], pairs)

    def read(self, limit: int | None = None) -> Clip:
        """Its frames, or the first of them, as a clip.

        Raises:
            InputError: it has none.
        """
        frames = list(islice(self.frames, limit))
        if not frames:
            raise InputError(f"clip {self.name!r} has no frames.")
        return Clip(self.name, np.stack(frames), self.fps, self.tracks_of(0, len(frames)), self.frames.seconds)

    def tracks_of(self, first: int, last: int) -> dict[str, np.ndarray]:
        """Its tracks from frame `first` to before `last`, counted from 0."""
        return {name: track[first:last] for name, track in self.tracks.items()}

    def rate_note(self) -> str:
        """What to say of the frames read so far, and those passed over, if their rate varies; else nothing."""
        return f"note: {self.name!r} {self.frames.pace.advice}" if self.frames.pace.varies else ""


def open_source(
    source: str | ClipName,
    model: Path,
    config: ModelConfig,
    least: int,
    limit: int | None,
    fps: float | None,
    stride: int,
    range: Range = None,
    axes: str | None = None,
    trained: Limits | None = None,
) -> ClipSource:
    """Opens a clip.

    Args:
        source: what people call it, as `ClipName` has it.
        model: folder of the model, which says what it was trained on.
        config: of the model.
        least: frames that are needed.
        limit: frames that will be read; None: all (of made clips 100).
        fps: take the frames of videos at this rate; None: as they come.
        stride: take every so many-th frame of a store, and of what has no rate, or is to keep its own.
        range: as `read_clip` takes it.
        axes: likewise.
        trained: the range of the model's training.

    Raises:
        InputError: there is no such clip, or a store's is too short.
    """
    called = source if isinstance(source, ClipName) else ClipName.parse(source)
    if called.kind == "made":
        return made_source(called.label, int(called.part), model, config, limit or MADE)
    if called.kind == "stored":
        return _stored(called, least, limit, stride)
    source = called.place
    name, frames, native = open_clip(source, fps, range, axes, trained, print)
    if (
        fps
        and native
        and Path(source).suffix.lower() not in IMAGE_SUFFIXES
        and (own := probe_video(Path(source)).fps)
        and abs(own - fps) > 0.01 * fps
    ):
        print(f"{source}: {own:.4g} frames/s, read at {fps:.4g}")
    if frames.note:
        print(f"{source}: {frames.note}")
    if stride > 1 and None in (fps, native):  # without a rate, nothing else says how fast its training was
        print(f"{source}: one frame in {stride}, as in training")
        return ClipSource(name, frames, native).every(stride)
    return ClipSource(name, frames, native)


def made_source(
    name: str, seed: int, model: Path, config: ModelConfig, length: int, digits: np.ndarray | None = None
) -> ClipSource:
    """A clip of digits that move as the model was trained to expect.

    Args:
        name: for files and titles.
        seed: which clip.
        model: folder of the model, which says what it was trained on.
        config: of the model.
        length: frames.
        digits: (N, 28, 28) uint8 to take them from; None: held-out ones.
    """
    if (model / TRAINING).is_file():
        data = load_config(model / TRAINING).data
        data.mnist = data.mnist and find_mnist(data.mnist, model)
    else:
        data = DataConfig()
        print(f"{name}: {str(model)!r} does not say what it was trained on (no {TRAINING}); showing two digits")
    if data.store is not None:
        print(
            f"{name}: {str(model)!r} was trained on clips of {data.store!r}, not on digits; "
            "this shows what it makes of some"
        )
    if digits is None and data.digits != "builtin" and not (data.mnist and Path(data.mnist).is_dir()):
        if data.digits == "mnist":
            print(f"{name}: the model was trained on MNIST, which is not at {data.mnist!r}; showing built-in digits")
        data.digits = "builtin"
    item = MovingMNIST.from_config(data, config, "test", length, seed=seed, digits=digits)[0]
    tracks = {name: values for name, values in item.items() if name not in (FRAMES, INDEX)}
    return ClipSource(name, Timed.unknown(item[FRAMES].transpose(0, 2, 3, 1)), tracks=tracks)


def _stored(called: ClipName, least: int, limit: int | None, stride: int) -> ClipSource:
    """The clip `STORE:NUMBER` of what a store holds out (or of train, where it holds nothing out)."""
    store, number = called.store(), called.part
    split = shown_split(store)
    clips = len(store.splits[split].names)
    if not number.isdecimal() or int(number) >= clips:
        raise InputError(
            f"{called.text!r} names no clip; the {split} split of that store has {store}:0 to {store}:{clips - 1}."
        )
    return stored_source(store, int(number), least, limit, stride)


def shown_split(store: Store) -> str:
    """The split of a store whose clips are shown: what it holds out, if it holds out any."""
    return next(name for name in ("val", "test", "train") if name in store.splits)


def stored_source(store: Store, number: int, least: int, limit: int | None, stride: int) -> ClipSource:
    """A clip of a store's `shown_split`.

    Args:
        store: to read from.
        number: of the clip in that split.
        least: frames that are needed.
        limit: frames that would be read, for advice.
        stride: take every so many-th frame.

    Raises:
        InputError: it is too short.
    """
    split = shown_split(store)
    index, source = store.splits[split], f"{store}:{number}"
    if index.lengths[number] <= (least - 1) * stride:
        longer = store.first(split, ((limit or least) - 1) * stride + 1)
        raise InputError(
            f"clip {source!r} ({index.names[number]}) has {index.lengths[number]} frames, too few for the {least} "
            f"that the model is given{f' at a stride of {stride}' if stride > 1 else ''}. Take {store}:{longer}."
        )
    rate = index.fps[number]
    fps = rate and rate / stride
    print(f"{source}: {split} clip {index.names[number]!r}" + (f", one frame in {stride}" if stride > 1 else ""))
    places = range(0, index.lengths[number], stride)
    first, array = index.offsets[number], store.array(split)
    frames = (np.array(array[first + place]).transpose(1, 2, 0) for place in places)
    tracks = store.tracks_at(split, number, 0, len(places), stride)
    return ClipSource(f"{store.name}-{number}", Timed.unknown(frames), fps, tracks)
