"""What a LeRobot dataset says of itself: its features, and where the frames of every episode lie.

Version 3 keeps many episodes in a file, and says in `meta/episodes/**.parquet` which. Of version 2, every episode has
files of its own, and `meta/episodes.jsonl` has their lengths.
"""

import math
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from stochvid.core.errors import InputError
from stochvid.core.untrusted import MOST_CLIPS, MOST_RECORDS, parse_json, read_json, read_text, shown
from stochvid.data.splits import SHIPPED
from stochvid.prepare.source import regular, unreadable

INFO = Path("meta") / "info.json"
EPISODES = Path("meta") / "episodes.jsonl"  # of version 2
LONGEST = 500  # letters of a path's pattern and of a camera's name: file systems take names of 255
AT_ONCE = 10_000  # episodes
MOST_OWN = 200_000  # episodes of version 2, each of which is a file or more: twice the largest in use
MOST_EPISODE_BYTES = 64 << 20  # unpacked: 48 for each of the most clips that a source may have
PLACE = re.compile(r"\{(video_key|chunk_index|file_index|episode_chunk|episode_index)(?::0?(\d)d)?\}")
DATA = ("data/chunk_index", "data/file_index")  # of an episode: which file has what was recorded
TIMES = ("from_timestamp", "to_timestamp")  # of an episode in a video, in seconds


@dataclass(frozen=True)
class Shot:
    """Where the frames of an episode are that a camera took.

    Attributes:
        path: a video, or the file with a row for each frame.
        start: where they begin in it, in seconds.
        stop: where they end.
    """

    path: Path
    start: float
    stop: float


@dataclass(frozen=True)
class Episode:
    """An episode, and where it is.

    Attributes:
        number: of the episode.
        length: its frames.
        data: the file with a row for each of its frames; None: the dataset does not say.
        shots: its frames, of each camera.
    """

    number: int
    length: int
    data: Path | None
    shots: tuple[Shot, ...]

    @property
    def name(self) -> str:
        """Of its clip."""
        return f"episode_{self.number:06}"


@dataclass
class Meta:
    """What `meta/info.json` says, checked.

    Attributes:
        root: the dataset.
        features: by name.
        fps: frames per second.
        cameras: the features whose frames are taken.
        is_video: whether these are in videos, else in parquet.
        splits: the ranges of episodes, as the dataset puts them.
        notes: what to say of what is not taken.
    """

    root: Path
    features: dict[str, Any]
    fps: float
    cameras: tuple[str, ...]
    is_video: bool
    splits: dict[str, tuple[int, int]]
    notes: list[str] = field(default_factory=list)
    _info: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, root: Path, camera: str | None) -> "Meta":
        """Reads `meta/info.json`.

        Args:
            root: the dataset.
            camera: that is asked for, or several with commas between them; None: its only one.

        Raises:
            InputError: it cannot be read, or a camera not taken.
        """
        info = _read_info(root)
        names, is_video, notes = _cameras(root, info["features"], camera)
        needed = "video_path" if is_video else "data_path"
        _check(root, info, needed, str)
        splits = info.get("splits")
        if not isinstance(splits, dict) or set(splits) <= {"train"}:  # as recorded: nothing was held out
            notes.append("info.json names no test episodes: one in ten is held out, or as --split says")
            splits = None
        return cls(root, info["features"], float(info["fps"]), names, is_video, _ranges(splits), notes, info)

    def split_of(self, number: int) -> str | None:
        """Where the dataset puts an episode; None: nowhere."""
        return next((name for name, (first, last) in self.splits.items() if first <= number < last), None)

    def episodes(self) -> list[Episode]:
        """All of them, in their order.

        Raises:
            InputError: the dataset does not say where they are.
        """
        if find_spec("pyarrow") is None:
            raise InputError("LeRobot datasets need pyarrow: pip install pyarrow.")
        rows = list(self._rows_of_jsonl() if self._info["codebase_version"].startswith("v2.") else self._rows())
        rows.sort(key=lambda row: row["episode_index"])
        times = [row[f"{camera}/{end}"] for row in rows for camera in self._in_videos for end in TIMES]
        if not all(row["length"] > 0 for row in rows) or not all(map(math.isfinite, times)):
            raise InputError(f"an episode of {str(self.root)!r} has no frames, or no times.")
        begun: dict[Path, int] = {}  # rows of each file of data that earlier episodes have
        return [self._episode(row, begun) for row in rows]

    @property
    def _in_videos(self) -> tuple[str, ...]:
        """The cameras of which a row says where in a video their frames are."""
        return self.cameras if self.is_video else ()

    def _episode(self, row: dict[str, Any], begun: dict[Path, int]) -> Episode:
        number, length = row["episode_index"], row["length"]
        data, template = None, self._info.get("data_path")
        if isinstance(template, str) and len(template) <= LONGEST:
            places = row | {column.removeprefix("data/"): row[column] for column in DATA if column in row}
            data = self._path(template, places) if set(DATA) <= set(row) or "episode_chunk" in row else None
        shots = []
        for camera in self._in_videos:
            own = {name.removeprefix(f"{camera}/"): value for name, value in row.items()} | {"video_key": camera}
            path = self._path(self._info["video_path"], own)
            shots.append(Shot(path, own["from_timestamp"], own["to_timestamp"]))
        if not self.is_video:
            if data is None:
                raise InputError(f"LeRobot dataset {str(self.root)!r} does not say where its pictures are.")
            first = begun.get(data, 0)
            begun[data] = first + length
            shots = [Shot(data, first / self.fps, (first + length) / self.fps) for _ in self.cameras]
        return Episode(number, length, data, tuple(shots))

    def _rows_of_jsonl(self) -> Iterator[dict[str, Any]]:
        """Episode by episode of version 2: where it is."""
        path, chunk = self.root / EPISODES, self._info.get("chunks_size", 1000)
        if type(chunk) is not int or chunk < 1:
            raise InputError(f"{str(self.root / INFO)!r} has no usable 'chunks_size': {shown(chunk)}.")
        try:
            regular(path)
            lines = [line for line in read_text(path, MOST_RECORDS).splitlines() if line.strip()]
            if len(lines) > MOST_OWN:
                raise ValueError(f"it has {len(lines):,} episodes, of which at most {MOST_OWN:,} are read")
            seen: set[int] = set()
            for line in lines:
                told = parse_json(line)
                number, length = told["episode_index"], told["length"]
                if type(number) is not int or type(length) is not int or not 0 <= number < 10**9:
                    raise ValueError(f"an episode is {shown(told)}")
                if number in seen:
                    raise ValueError(f"episode {number} is there twice")
                seen.add(number)
                row = {"episode_index": number, "length": length, "episode_chunk": number // chunk}
                times = zip(TIMES, (0.0, length / self.fps), strict=True)
                yield row | {f"{camera}/{name}": time for name, time in times for camera in self._in_videos}
        except InputError:
            raise
        except OSError as error:
            raise unreadable(path, error) from None
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(f"{str(path)!r} does not say how long the episodes are: {error!s:.200}.") from None

    def _rows(self) -> Iterator[dict[str, Any]]:
        """Episode by episode of version 3: where it is."""
        from pyarrow import ArrowException, parquet

        files = sorted((self.root / "meta" / "episodes").rglob("*.parquet"))
        if not files:
            raise InputError(f"LeRobot dataset {str(self.root)!r} has no meta/episodes/**/*.parquet.")
        kinds = {"chunk_index": int, "file_index": int} | dict.fromkeys(TIMES, float)
        names: dict[str, type] = {"episode_index": int, "length": int}
        names |= {f"videos/{c}/{name}": kind for c in self._in_videos for name, kind in kinds.items()}
        count = 0
        for path in files:
            try:
                regular(path)
                file = parquet.ParquetFile(path)
                told = names | {name: int for name in DATA if name in file.schema_arrow.names}
                read = _read_rows(file, told, MOST_CLIPS - count)
                rows = [{n.removeprefix("videos/"): kind(row[n]) for n, kind in told.items()} for row in read]
            except InputError:
                raise
            except (ArrowException, OSError, KeyError, TypeError, ValueError, OverflowError) as error:
                raise InputError(f"{str(path)!r} does not say where the episodes are: {error!s:.200}.") from None
            count += len(rows)
            yield from rows

    def _path(self, template: str, row: dict[str, Any]) -> Path:
        """The file of an episode. The template comes from the dataset, so it is filled in, not run by `format`."""
        try:
            path = self.root / PLACE.sub(lambda m: str(row[m[1]]).zfill(int(m[2] or 0)), template)
        except KeyError as missing:
            raise InputError(
                f"{str(self.root / INFO)!r} names files by {missing}, which the episodes do not have: {template!r:.80}."
            ) from None
        if not path.is_relative_to(self.root) or ".." in path.parts:  # a link to elsewhere is the owner's own doing
            raise InputError(f"{str(self.root / INFO)!r} points outside of the dataset: {template!r:.80}.")
        return path


def _read_info(root: Path) -> dict[str, Any]:
    path = root / INFO
    try:
        info = read_json(path, MOST_RECORDS)
    except OSError as error:
        raise unreadable(path, error) from None
    except ValueError as error:
        raise InputError(f"{str(path)!r} is not JSON: {error!s:.200}.") from None
    version = info.get("codebase_version") if isinstance(info, dict) else None
    if not isinstance(version, str) or not version.startswith(("v2.", "v3.")):
        said = f"{version:.20}" if isinstance(version, str) else shown(version)
        raise InputError(
            f"{str(path)!r} is of LeRobot version {said}; versions 2 and 3 are read. Convert it with LeRobot first."
        )
    _check(root, info, "fps", (int, float))
    _check(root, info, "features", dict)
    return info


def _check(root: Path, info: dict[str, Any], name: str, kind: Any) -> None:
    value: Any = info.get(name)
    usable = isinstance(value, kind) and not (isinstance(value, str) and len(value) > LONGEST)
    if not usable or (name == "fps" and not 0 < value <= 1000):
        raise InputError(f"{str(root / INFO)!r} has no usable {name!r}: {shown(value)}.")


def _cameras(root: Path, features: dict[str, Any], asked: str | None) -> tuple[tuple[str, ...], bool, list[str]]:
    """The cameras that are taken, whether their frames are in videos, and what to say of others."""
    kinds = {name: f for name, f in features.items() if isinstance(f, dict) and len(name) <= LONGEST}
    seen = [name for name, feature in kinds.items() if feature.get("dtype") in ("video", "image")]
    depths = [name for name in seen if _is_depth(kinds[name])]
    cameras = [name for name in seen if name not in depths]
    named = asked.split(",") if asked else cameras
    if depth := next((name for name in named if name in depths), None) or (
        depths[0] if depths and not cameras else None
    ):
        raise InputError(
            f"camera {depth!r:.80} of {str(root)!r} is a depth map: the video does not say what its values mean, and "
            "has 8 bits of them. Export it to 16-bit PNG or .npy, a folder for each episode, and prepare that with "
            "--range."
        )
    if not cameras:
        raise InputError(f"LeRobot dataset {str(root)!r} has no videos or pictures (no feature of such a dtype).")
    notes = [f"depth maps are not taken: {', '.join(depths)[:200]}"] if depths else []
    if not set(named) <= set(cameras) or len(set(named)) < len(named) or (asked is None and len(cameras) > 1):
        told = f"there is no {asked!r}" if asked else f"it has {len(cameras)}"
        raise InputError(
            f"choose a camera of {str(root)!r} ({told}): --camera {' or '.join(cameras[:20])}; or several, with commas "
            "between them, which become channels."
        )
    in_videos = {kinds[name]["dtype"] == "video" for name in named}
    if len(in_videos) > 1:
        raise InputError(f"cameras {asked!r} of {str(root)!r} are in videos and in parquet. Take those of one kind.")
    return tuple(named), in_videos.pop(), notes


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
