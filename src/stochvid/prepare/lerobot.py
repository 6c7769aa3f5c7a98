"""LeRobot datasets, version 3: `meta/info.json`, `meta/episodes/**.parquet`, and MP4 files of many episodes each.

Actions and states, where they are there, become tracks (`lerobot_tracks.py`).
"""

import math
import re
import shlex
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from stochvid.core.clips import ACTIONS
from stochvid.core.errors import InputError
from stochvid.core.untrusted import MOST_CLIPS, MOST_RECORDS, read_json, shown
from stochvid.data.splits import SHIPPED
from stochvid.media.video import Frame, decode_video, frames_at_rate, probe_video
from stochvid.prepare.lerobot_tracks import ACTION, STATE, find_tracks, read_tracks
from stochvid.prepare.source import Event, Item, Source, SourceFile, Walk, regular, unreadable

INFO = Path("meta") / "info.json"
LONGEST = 500  # letters of a path's pattern and of a camera's name: file systems take names of 255
AT_ONCE = 10_000  # episodes
MOST_EPISODE_BYTES = 64 << 20  # unpacked: 48 for each of the most clips that a source may have
PLACE = re.compile(r"\{(video_key|chunk_index|file_index)(?::0?(\d)d)?\}")
DATA = ("data/chunk_index", "data/file_index")  # of an episode: which file has what was recorded


class LeRobot(Source):
    """The episodes of one camera, cut out of the MP4 files by their timestamps."""

    format = "lerobot"
    channels = 3
    takes = frozenset({"camera", "fps", "actions", "states"})

    @classmethod
    def recognises(cls, root: Path, tree: Walk) -> bool:
        """A folder with `meta/info.json`."""
        return (root / INFO).is_file()

    def find(self) -> list[Path]:
        """The camera's videos that episodes point to, in the order of episodes."""
        try:
            return self._find()
        except (ValueError, OverflowError, RecursionError, MemoryError) as error:  # NUL in a path, numbers of any size
            if isinstance(error, InputError):
                raise
            raise InputError(f"LeRobot dataset {str(self.root)!r} cannot be understood: {error!r:.200}.") from None

    def _find(self) -> list[Path]:
        info = self._info()
        self.fps, self.camera = float(info["fps"]), self._camera(info["features"])
        splits = _ranges(info.get("splits"))
        self.episodes: dict[Path, list[Item]] = {}
        rows: list[tuple[str, dict[str, Any]]] = []
        for row in self._rows():
            path = self._path(info["video_path"], row)
            split = next((name for name, (a, b) in splits.items() if a <= row["episode_index"] < b), None)
            start, stop = row["from_timestamp"], row["to_timestamp"]
            item = Item(f"episode_{row['episode_index']:06}", row["length"], split, start, stop)
            self.episodes.setdefault(path, []).append(item)
            rows.append((item.name, row))
        if not isinstance(info.get("splits"), dict) or set(info["splits"]) <= {
            "train"
        }:  # as recorded: nothing was held out
            self.notes.append("info.json names no test episodes: one in ten is held out, or as --split says")
            self.episodes = {
                path: [replace(item, split=None) for item in items] for path, items in self.episodes.items()
            }
        self._find_tracks(info, rows)
        return list(self.episodes)

    def _find_tracks(self, info: dict[str, Any], rows: list[tuple[str, dict[str, Any]]]) -> None:
        """Which tracks there are, and where those of each episode lie; if any is missing, says so, and takes none."""
        self.recorded: dict[str, tuple[Path, int, int]] = {}  # of each episode's item: file, number and length
        self.taken = {self.options.actions or ACTION: ACTIONS, self.options.states or STATE: "state"}
        for asked in filter(None, (self.options.actions, self.options.states)):
            if asked not in info["features"]:
                known = ", ".join(name for name in info["features"] if isinstance(name, str))
                raise InputError(f"LeRobot dataset {str(self.root)!r} has no feature {asked!r}, only {known:.300}.")
        self.tracks, notes = find_tracks(info["features"], self.taken)
        self.notes += notes
        template, missing = info.get("data_path"), "info.json does not say where they are"
        if self.tracks and isinstance(template, str) and len(template) <= LONGEST:
            for name, row in rows:
                if not all(column in row for column in DATA):
                    missing = "meta/episodes does not say in which files they are"
                    break
                path = self._path(template, {column.removeprefix("data/"): row[column] for column in DATA})
                if not path.is_file():
                    missing = f"there is no {str(path)!r}"
                    break
                self.recorded[name] = (path, row["episode_index"], row["length"])
            else:
                return
        if self.tracks:
            self.notes.append(f"{' and '.join(self.tracks)} are not taken: {missing}")
        self.tracks = {}

    def probe(self, path: Path) -> SourceFile:
        """The episodes of a file."""
        regular(path)
        info = probe_video(path)
        scale = (self.options.fps or self.fps) / self.fps
        items = sorted(self.episodes[path], key=lambda item: item.start)
        items = [replace(item, frames=round(min(item.frames, info.frames) * scale)) for item in items]
        return SourceFile(path, tuple(items), (info.width, info.height), 3, self.options.fps or self.fps)

    def read(self, task: SourceFile) -> Iterator[Event]:
        """The frames whose time is an episode's, with half a frame of slack for rounded times."""
        slack, frames = 0.5 / self.fps, _Ahead(decode_video(task.path, threads=1))
        lengths = {item.name: item.frames for item in self.episodes[task.path]}
        recorded = self._recorded(task)
        for number, item in enumerate(task.items):
            before, rows = frames.given, []
            episode = frames.between(item.start - slack, item.stop - slack)
            if self.options.fps:
                episode = frames_at_rate(episode, self.options.fps, task.path)
            for frame in episode:
                rows.append(round(frame.time * self.fps))
                yield number, frame.pixels
            count, expected, outcome = frames.given - before, lengths[item.name], recorded.get(item.name)
            if isinstance(outcome, dict):
                outcome = {name: values[np.minimum(rows, len(values) - 1)] for name, values in outcome.items()}
            if count != expected:
                outcome = InputError(
                    f"{item.name} should have {expected} frames, but {count} of {str(task.path)!r} lie between "
                    f"{item.start:g} and {item.stop:g} s. Get the dataset again."
                )
            yield number, outcome

    def _recorded(self, task: SourceFile) -> dict[str, dict[str, np.ndarray] | InputError]:
        """The tracks of a task's episodes, a row for each of their frames as recorded, or what is wrong with them."""
        files: dict[Path, dict[int, tuple[str, int]]] = {}
        for item in task.items if self.tracks else ():
            path, number, length = self.recorded[item.name]
            files.setdefault(path, {})[number] = (item.name, length)
        found: dict[str, dict[str, np.ndarray] | InputError] = {}
        for path, episodes in files.items():
            lengths = {number: length for number, (_, length) in episodes.items()}
            try:
                tracks = read_tracks(path, self.tracks, self.taken, lengths)
            except InputError as error:
                found |= dict.fromkeys((name for name, _ in episodes.values()), error)
            else:
                found |= {name: tracks[number] for number, (name, _) in episodes.items()}
        return found

    def _info(self) -> dict[str, Any]:
        path = self.root / INFO
        try:
            info = read_json(path, MOST_RECORDS)
        except OSError as error:
            raise unreadable(path, error) from None
        except ValueError as error:
            raise InputError(f"{str(path)!r} is not JSON: {error!s:.200}.") from None
        version = info.get("codebase_version") if isinstance(info, dict) else None
        if not isinstance(version, str) or not version.startswith("v3."):
            said = f"{version:.20}" if isinstance(version, str) else shown(version)
            raise InputError(f"{str(path)!r} is of LeRobot version {said}; version 3 is read. {self._other_way()}")
        wanted: dict[str, Any] = {"fps": (int, float), "features": dict, "video_path": str}
        for name, kind in wanted.items():
            value = info.get(name)
            if (
                not isinstance(value, kind)
                or (name == "fps" and not 0 < value <= 1000)
                or (name == "video_path" and len(value) > LONGEST)
            ):
                raise InputError(f"{str(path)!r} has no usable {name!r}: {shown(value)}.")
        return info

    def _other_way(self) -> str:
        """How the videos of another version are prepared none the less: in version 2, each episode is a file."""
        folders = sorted({path.parent for path in (self.root / "videos").glob("*/*/*.mp4")})
        cameras = sorted({folder.name for folder in folders})
        if not cameras:
            return "Convert it first."
        source, rule = self.root / "videos", ""
        if len(cameras) > 1:
            camera = self.options.camera if self.options.camera in cameras else cameras[0]
            chunks = [folder for folder in folders if folder.name == camera]
            source = chunks[0] if len(chunks) == 1 else source
            if len(chunks) > 1:
                rule = shlex.quote(f"test={chunks[0].parent.name}/{camera}/*,train=*/{camera}/*")
        command = f"stochvid prepare {shlex.quote(str(source))} STORE{rule and f' --split {rule}'}"
        which = f" (its cameras: {', '.join(cameras[:20])})" if len(cameras) > 1 else ""
        return f"Until it is converted, its videos can be prepared by themselves: {command}{which}."

    def _camera(self, features: dict[str, Any]) -> str:
        kinds = {name: f for name, f in features.items() if isinstance(f, dict) and len(name) <= LONGEST}
        videos = [name for name, feature in kinds.items() if feature.get("dtype") == "video"]
        depths = [name for name in videos if _is_depth(kinds[name])]
        cameras = [name for name in videos if name not in depths]
        if self.options.camera in depths or (depths and not cameras):
            raise InputError(
                f"camera {self.options.camera or depths[0]!r:.80} of {str(self.root)!r} is a depth map: the video does "
                "not say what its values mean, and has 8 bits of them. Export it to 16-bit PNG or .npy, a folder for "
                "each episode, and prepare that with --range."
            )
        if depths:
            self.notes.append(f"depth maps are not taken: {', '.join(depths)[:200]}")
        pictures = [name for name, feature in kinds.items() if feature.get("dtype") == "image"]
        if pictures and not cameras:
            raise InputError(
                f"LeRobot dataset {str(self.root)!r} keeps {', '.join(pictures)[:200]} as images in parquet, which are "
                "not read. Encode them as videos, or export each episode to a folder of images and prepare that."
            )
        if self.options.camera in cameras:
            return self.options.camera
        if self.options.camera is None and len(cameras) == 1:
            return cameras[0]
        if not cameras:
            raise InputError(f"LeRobot dataset {str(self.root)!r} has no videos (no feature of dtype 'video').")
        asked = f"there is no {self.options.camera!r}" if self.options.camera else f"it has {len(cameras)}"
        raise InputError(f"choose a camera of {str(self.root)!r} ({asked}): --camera {' or '.join(cameras[:20])}.")

    def _rows(self) -> list[dict[str, Any]]:
        """Episode by episode: where it is."""
        try:
            from pyarrow import ArrowException, parquet
        except ImportError:
            raise InputError("LeRobot datasets need pyarrow: pip install pyarrow.") from None
        files = sorted((self.root / "meta" / "episodes").rglob("*.parquet"))
        if not files:
            raise InputError(f"LeRobot dataset {str(self.root)!r} has no meta/episodes/**/*.parquet.")
        prefix = f"videos/{self.camera}/"
        kinds = {"chunk_index": int, "file_index": int, "from_timestamp": float, "to_timestamp": float}
        names = {"episode_index": int, "length": int} | {prefix + name: kind for name, kind in kinds.items()}
        rows: list[dict[str, Any]] = []
        for path in files:
            try:
                regular(path)
                file = parquet.ParquetFile(path)
                told = names | {name: int for name in DATA if name in file.schema_arrow.names}
                read = _read_rows(file, told, MOST_CLIPS - len(rows))
                rows += [{n.removeprefix(prefix): kind(row[n]) for n, kind in told.items()} for row in read]
            except InputError:
                raise
            except (ArrowException, OSError, KeyError, TypeError, ValueError, OverflowError) as error:
                raise InputError(f"{str(path)!r} does not say where the episodes are: {error!s:.200}.") from None
        if not all(row["length"] > 0 and math.isfinite(row["from_timestamp"] + row["to_timestamp"]) for row in rows):
            raise InputError(f"an episode of {str(self.root)!r} has no frames, or no times.")
        return sorted(rows, key=lambda row: row["episode_index"])

    def _path(self, template: str, row: dict[str, Any]) -> Path:
        """The file of an episode. The template comes from the dataset, so it is filled in, not run by `format`."""
        values = row | {"video_key": self.camera}
        path = self.root / PLACE.sub(lambda m: str(values[m[1]]).zfill(int(m[2] or 0)), template)
        if not path.is_relative_to(self.root) or ".." in path.parts:  # a link to elsewhere is the owner's own doing
            raise InputError(f"{str(self.root / INFO)!r} points outside of the dataset: {template!r:.80}.")
        return path


def _read_rows(file: Any, columns: Collection[str], most: int) -> list[dict[str, Any]]:
    """Some columns of a parquet file, piece by piece: a few packed bytes can stand for any number of values.

    Raises:
        ValueError: it has too many of them.
    """
    if file.metadata.num_rows > most:
        raise ValueError(f"it claims {file.metadata.num_rows:,} episodes")
    rows: list[dict[str, Any]] = []
    size = 0
    for batch in file.iter_batches(AT_ONCE, columns=list(columns), use_threads=False):
        size += batch.nbytes
        if size > MOST_EPISODE_BYTES or len(rows) > most:
            raise ValueError(f"its first {len(rows):,} episodes take {size:,} bytes already")
        rows += batch.to_pylist()
    return rows


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


def _is_depth(feature: dict[str, Any]) -> bool:
    """Whether a camera gives distances: its description says so, in one of the words used."""
    told = [feature, *(value for value in (feature.get("info"), feature.get("video_info")) if isinstance(value, dict))]
    marks = ("is_depth_map", "video.is_depth_map")
    return any(part.get(mark) is True for part in told for mark in marks)


def _ranges(splits: Any) -> dict[str, tuple[int, int]]:
    """{"train": "0:45"} → {"train": (0, 45)}; what is no such range, or of another name, is passed over."""
    if not isinstance(splits, dict):
        return {}
    matches = {name: re.fullmatch(r"(\d{1,9}):(\d{1,9})", str(text)) for name, text in splits.items()}
    return {SHIPPED[name]: (int(m[1]), int(m[2])) for name, m in matches.items() if m and name in SHIPPED}
