"""LeRobot datasets, versions 2 and 3: episodes of a camera or several, in MP4 files or as pictures in parquet.

`lerobot_meta.py` says where they are. Actions and states, where they are there, become tracks (`lerobot_tracks.py`).
"""

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

import numpy as np

from stochvid.core.clips import ACTIONS
from stochvid.core.errors import InputError
from stochvid.media.times import Frame
from stochvid.media.video import decode_video, frames_at_rate, probe_video
from stochvid.prepare.lerobot_meta import INFO, Episode, Meta, Shot
from stochvid.prepare.lerobot_pictures import picture_size, pictures
from stochvid.prepare.lerobot_tracks import ACTION, STATE, find_tracks, read_tracks
from stochvid.prepare.source import Event, Item, Source, SourceFile, Walk, regular

INDEXING = ("timestamp", "frame_index", "episode_index", "index", "task_index")  # features that count


class LeRobot(Source):
    """Episodes, cut out of the MP4 files by their timestamps, or out of parquet by their rows.

    Several cameras become channels.
    """

    format = "lerobot"
    channels = 3
    takes = frozenset({"camera", "fps", "actions", "states"})

    @classmethod
    def recognises(cls, root: Path, tree: Walk) -> bool:
        """A folder with `meta/info.json`."""
        return (root / INFO).is_file()

    def find(self) -> list[Path]:
        """The files that hold the camera's frames, in the order of episodes."""
        try:
            self.meta = Meta.read(self.root, self.options.camera)
            self.notes += self.meta.notes
            self.episodes: dict[Path, list[Episode]] = {}
            episodes = self.meta.episodes()
            for episode in episodes:
                self.episodes.setdefault(episode.shots[0].path, []).append(episode)
            self.channels = 3 * len(self.meta.cameras)
            self._find_tracks(episodes)
        except (ValueError, OverflowError, RecursionError, MemoryError) as error:  # NUL in a path, numbers of any size
            if isinstance(error, InputError):
                raise
            raise InputError(f"LeRobot dataset {str(self.root)!r} cannot be understood: {error!r:.200}.") from None
        return list(self.episodes)

    def _find_tracks(self, episodes: list[Episode]) -> None:
        """Which tracks there are; if those of any episode are missing, says so, and takes none."""
        features = self.meta.features
        self.taken = {self.options.actions or ACTION: ACTIONS, self.options.states or STATE: "state"}
        for asked in filter(None, (self.options.actions, self.options.states)):
            if asked not in features:
                known = ", ".join(name for name in features if isinstance(name, str))
                raise InputError(f"LeRobot dataset {str(self.root)!r} has no feature {asked!r}, only {known:.300}.")
        self.tracks, notes = find_tracks(features, self.taken)
        self.notes += notes
        left = [name for name in features if name not in {*self.meta.cameras, *self.taken, *INDEXING}]
        if left:
            self.notes.append(f"features that are not taken: {', '.join(left)[:300]}")
        lost = next((e for e in episodes if e.data is None or not e.data.is_file()), None)
        if self.tracks and lost is not None:
            why = f"there is no {str(lost.data)!r}" if lost.data else "the dataset does not say in which files they are"
            self.notes.append(f"{' and '.join(self.tracks)} are not taken: {why}")
            self.tracks = {}

    def probe(self, path: Path) -> SourceFile:
        """The episodes of a file."""
        regular(path)
        episodes, rate, channels = self.episodes[path], self.options.fps or self.meta.fps, 3 * len(self.meta.cameras)
        if self.meta.is_video:
            info = probe_video(path)
            size, most = (info.width, info.height), info.frames
        else:
            size, most = picture_size(path, self.meta.cameras[0]), sum(e.length for e in episodes)
        items = []
        for e in sorted(episodes, key=lambda e: e.shots[0].start):
            frames = round(min(e.length, most) * rate / self.meta.fps)
            items.append(Item(e.name, frames, self.meta.split_of(e.number), e.shots[0].start, e.shots[0].stop))
        return SourceFile(path, tuple(items), size, channels, rate)

    def read(self, task: SourceFile) -> Iterator[Event]:
        """The frames whose time is an episode's, of all cameras."""
        episodes, own = {e.name: e for e in self.episodes[task.path]}, self.meta.fps
        films = [_Film(self.meta, camera, self.episodes[task.path]) for camera in self.meta.cameras]
        recorded = self._recorded(task)
        for number, item in enumerate(task.items):
            episode, rows, outcome = episodes[item.name], [], recorded.get(item.name)
            before = films[0].given
            try:
                frames = _side_by_side([film.of(shot) for film, shot in zip(films, episode.shots, strict=True)])
                if self.options.fps:
                    frames = frames_at_rate(frames, self.options.fps, task.path)
                for frame in frames:
                    rows.append(round(frame.time * own))
                    yield number, frame.pixels
            except _Apart as error:
                yield number, InputError(f"{item.name}: the cameras {', '.join(self.meta.cameras):.200} {error}.")
                continue
            if isinstance(outcome, dict):
                outcome = {name: values[np.minimum(rows, len(values) - 1)] for name, values in outcome.items()}
            if (count := films[0].given - before) != episode.length:
                outcome = InputError(
                    f"{item.name} should have {episode.length} frames, but {count} of {str(task.path)!r} lie between "
                    f"{item.start:g} and {item.stop:g} s. Get the dataset again."
                )
            yield number, outcome

    def _recorded(self, task: SourceFile) -> dict[str, dict[str, np.ndarray] | InputError]:
        """The tracks of a task's episodes, a row for each of their frames as recorded, or what is wrong with them."""
        files: dict[Path, list[Episode]] = {}
        wanted = {item.name for item in task.items if self.tracks}
        for episode in self.episodes[task.path]:
            if episode.name in wanted and episode.data is not None:
                files.setdefault(episode.data, []).append(episode)
        found: dict[str, dict[str, np.ndarray] | InputError] = {}
        for path, episodes in files.items():
            try:
                tracks = read_tracks(path, self.tracks, self.taken, {e.number: e.length for e in episodes})
            except InputError as error:
                found |= dict.fromkeys((e.name for e in episodes), error)
            else:
                found |= {e.name: tracks[e.number] for e in episodes}
        return found


class _Apart(Exception):
    """Cameras that do not show the same."""


def _side_by_side(cameras: list[Iterator[Frame]]) -> Iterator[Frame]:
    """Frames of several cameras as one, their channels after each other.

    Raises:
        _Apart: they are of another size, or number.
    """
    for parts in zip_longest(*cameras):
        taken = [part for part in parts if part is not None]
        if len(taken) < len(parts):
            raise _Apart("do not have equally many frames")
        sizes = sorted({f"{part.pixels.shape[1]}×{part.pixels.shape[0]}" for part in taken})
        if len(sizes) > 1:
            raise _Apart(f"have frames of {' and '.join(sizes)}; make them of one size, or take one")
        pixels = taken[0].pixels if len(taken) == 1 else np.concatenate([part.pixels for part in taken], axis=2)
        yield Frame(pixels, taken[0].time, taken[0].lasts)


class _Film:
    """The frames of a camera, file after file, each given once.

    Args:
        meta: of the dataset.
        camera: whose frames they are.
        episodes: all that are read with those of a file of the first camera.

    Attributes:
        given: how many were.
    """

    def __init__(self, meta: Meta, camera: str, episodes: list[Episode]):
        self.meta, self.camera, self.episodes = meta, camera, episodes
        self.given = 0
        self._path: Path | None = None
        self._frames: Iterator[Frame] = iter(())
        self._next: Frame | None = None

    def of(self, shot: Shot) -> Iterator[Frame]:
        """The frames of an episode that were not given yet, their time counted from the first.

        Half a frame of slack is for rounded times.
        """
        if shot.path != self._path:
            self._path, self._frames, self._next = shot.path, self._open(shot.path), None
        slack, first = 0.5 / self.meta.fps, None
        while (frame := self._next or next(self._frames, None)) is not None:
            self._next = frame
            if frame.time >= shot.stop - slack:
                return
            self._next = None
            if frame.time >= shot.start - slack:
                first = frame.time if first is None else first
                self.given += 1
                yield Frame(frame.pixels, frame.time - first, frame.lasts)

    def _open(self, path: Path) -> Iterator[Frame]:
        if self.meta.is_video:
            return decode_video(path, threads=1)
        expected = ((e.number, frame) for e in self.episodes for frame in range(e.length))
        step = 1 / self.meta.fps
        images = pictures(path, self.camera, expected)
        return (Frame(pixels, number * step, step) for number, pixels in enumerate(images))
