"""LeRobot datasets, versions 2 and 3: the episodes of one camera, in MP4 files or as pictures in parquet.

`lerobot_meta.py` says where they are. Actions and states, where they are there, become tracks (`lerobot_tracks.py`).
"""

from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

import numpy as np

from stochvid.core.clips import ACTIONS
from stochvid.core.errors import InputError
from stochvid.media.times import Frame
from stochvid.media.video import decode_video, frames_at_rate, probe_video
from stochvid.prepare.lerobot_meta import INFO, Episode, Meta
from stochvid.prepare.lerobot_pictures import picture_size, pictures
from stochvid.prepare.lerobot_tracks import ACTION, STATE, find_tracks, read_tracks
from stochvid.prepare.source import Event, Item, Source, SourceFile, Walk, regular

INDEXING = ("timestamp", "frame_index", "episode_index", "index", "task_index")  # features that count


class LeRobot(Source):
    """The episodes of one camera, cut out of the MP4 files by their timestamps, or out of parquet by their rows."""

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
                self.episodes.setdefault(self._frames_of(episode), []).append(episode)
            self._find_tracks(episodes)
        except (ValueError, OverflowError, RecursionError, MemoryError) as error:  # NUL in a path, numbers of any size
            if isinstance(error, InputError):
                raise
            raise InputError(f"LeRobot dataset {str(self.root)!r} cannot be understood: {error!r:.200}.") from None
        return list(self.episodes)

    def _frames_of(self, episode: Episode) -> Path:
        path = episode.video if self.meta.is_video else episode.data
        if path is None:
            raise InputError(f"LeRobot dataset {str(self.root)!r} does not say where the frames of {episode.name} are.")
        return path

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
        left = [name for name in features if name not in {self.meta.camera, *self.taken, *INDEXING}]
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
        episodes, own = self.episodes[path], self.meta.fps
        if self.meta.is_video:
            info = probe_video(path)
            size, most = (info.width, info.height), info.frames
            places = [(e.start, e.stop) for e in episodes]
        else:
            size = picture_size(path, self.meta.camera)
            ends = [n / own for n in accumulate(e.length for e in episodes)]
            most, places = sum(e.length for e in episodes), list(zip([0.0, *ends], ends, strict=False))
        rate = self.options.fps or own
        items = [
            Item(e.name, round(min(e.length, most) * rate / own), self.meta.split_of(e.number), *place)
            for e, place in zip(episodes, places, strict=True)
        ]
        return SourceFile(path, tuple(sorted(items, key=lambda item: item.start)), size, 3, rate)

    def read(self, task: SourceFile) -> Iterator[Event]:
        """The frames whose time is an episode's, with half a frame of slack for rounded times."""
        episodes, own = {e.name: e for e in self.episodes[task.path]}, self.meta.fps
        slack, frames = 0.5 / own, _Ahead(self._frames(task.path))
        recorded = self._recorded(task)
        for number, item in enumerate(task.items):
            before, rows = frames.given, []
            episode = frames.between(item.start - slack, item.stop - slack)
            if self.options.fps:
                episode = frames_at_rate(episode, self.options.fps, task.path)
            for frame in episode:
                rows.append(round(frame.time * own))
                yield number, frame.pixels
            count, expected, outcome = frames.given - before, episodes[item.name].length, recorded.get(item.name)
            if isinstance(outcome, dict):
                outcome = {name: values[np.minimum(rows, len(values) - 1)] for name, values in outcome.items()}
            if count != expected:
                outcome = InputError(
                    f"{item.name} should have {expected} frames, but {count} of {str(task.path)!r} lie between "
                    f"{item.start:g} and {item.stop:g} s. Get the dataset again."
                )
            yield number, outcome

    def _frames(self, path: Path) -> Iterator[Frame]:
        """All frames of a file, with their times in it."""
        if self.meta.is_video:
            return decode_video(path, threads=1)
        expected = ((e.number, frame) for e in self.episodes[path] for frame in range(e.length))
        step = 1 / self.meta.fps
        images = pictures(path, self.meta.camera, expected)
        return (Frame(pixels, number * step, step) for number, pixels in enumerate(images))

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


class _Ahead:
    """Frames by their time, each given once."""

    def __init__(self, frames: Iterator[Frame]):
        self.frames, self.given = frames, 0
        self.next: Frame | None = None

    def between(self, start: float, stop: float) -> Iterator[Frame]:
        """The frames from `start` to before `stop` that were not given yet, their time counted from the first."""
        first = None
        while (frame := self.next or next(self.frames, None)) is not None:
            self.next = frame
            if frame.time >= stop:
                return
            self.next = None
            if frame.time >= start:
                first = frame.time if first is None else first
                self.given += 1
                yield Frame(frame.pixels, frame.time - first, frame.lasts)
