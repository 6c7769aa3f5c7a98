"""KTH human actions (Schuldt, Laptev and Caputo, 2004), from the original tree of AVI files.

`<action>/personNN_<action>_dM_uncomp.avi` (the folders may be left out), and `00sequences.txt`, which gives for each
video the ranges of frames in which the person is visible. People 1 to 20 train, 21 to 25 test (Denton & Fergus 2018).
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from stochvid.core.errors import InputError
from stochvid.media.video import decode_video, probe_video
from stochvid.prepare.source import Event, Item, Source, SourceFile, Walk, regular

ACTIONS = ("boxing", "handclapping", "handwaving", "jogging", "running", "walking")
SEQUENCES = "00sequences.txt"
VIDEO = re.compile(r"person(\d\d)_([a-z]+)_d([1-4])(?:_uncomp)?\.avi", re.IGNORECASE)
LINE = re.compile(r"(person\d\d_[a-z]+_d[1-4])(?:_uncomp)?(?:\.avi)?[\s:]+(.*)", re.IGNORECASE)
NAME = "person{1:02}_{0}_d{2}"
TRAIN_PEOPLE = 20
MOST_HELD = 512 << 20  # bytes of a video's frames: the longest of KTH take 60 million
MOST_LIST = 1 << 20  # bytes of the list of ranges: KTH's has 30,000

SRVP_TEST = "srvp-test"
SRVP_SEED, SRVP_CLIPS, SRVP_LENGTH = 42, 1_000, 40  # 10 frames given, 30 to predict


class KTH(Source):
    """The original AVI files: a clip for each range of frames with the person in it."""

    format = "kth"
    channels = 1
    takes = frozenset({"length", "split"})

    @classmethod
    def recognises(cls, root: Path, tree: Walk) -> bool:
        """A folder with videos that are named as KTH's."""
        return root.is_dir() and any(_is_kth(path) for path in tree.files)

    def find(self) -> list[Path]:
        """The videos, by action, person and scene."""
        videos = [path for path in self.tree.files if _is_kth(path)]
        if self.options.split == SRVP_TEST:
            videos = [path for path in videos if _which(path)[1] > TRAIN_PEOPLE]
            self.ranges: dict[str, list[tuple[int, int]]] = {}
        else:
            self.ranges = self._read_ranges([path for path in self.tree.files if path.name == SEQUENCES])
            listed = set(self.ranges) - {_name(path) for path in videos}
            if listed:
                self.notes.append(f"{len(listed)} video(s) that {SEQUENCES} lists are not here")
            unnamed = [path for path in videos if _name(path) not in self.ranges]
            if self.ranges and unnamed:
                self.notes.append(f"{len(unnamed)} video(s) have no line in {SEQUENCES} and are whole clips")
        return sorted(videos, key=_which)

    def probe(self, path: Path) -> SourceFile:
        """A clip for each range, or the whole video where there are none."""
        regular(path)
        info = probe_video(path)
        video, person, frames = _name(path), _which(path)[1], info.frames
        if self.options.split == SRVP_TEST:  # the drawing of clips needs the exact number
            frames = sum(1 for _ in decode_video(path, threads=1))
        split = "train" if person <= TRAIN_PEOPLE else "test"
        ranges = self.ranges.get(video)
        items = [Item(video, frames, split)]
        if ranges is not None:
            items = [
                Item(f"{video}#{number}", min(stop, frames) - first + 1, split, first - 1, stop)
                for number, (first, stop) in enumerate(ranges, 1)
                if first < frames
            ]
            if not items:
                raise InputError(
                    f"none of the ranges of {video} in {SEQUENCES} are frames of {str(path)!r} ({frames})."
                )
        return SourceFile(path, tuple(items), (info.width, info.height), 3, info.fps)

    def arrange(self, tasks: list[SourceFile]) -> list[SourceFile]:
        """For the SRVP test set: its 1,000 clips, drawn by its rule (see `srvp_clips`)."""
        if self.options.split != SRVP_TEST:
            return tasks
        length = self.options.length or SRVP_LENGTH
        by_video = {_which(task.path): task for task in tasks}
        drawn = srvp_clips({video: task.frames for video, task in by_video.items()}, length)
        items: dict[tuple, list[Item]] = {}
        for number, (video, start) in enumerate(drawn):
            item = Item(f"srvp-test#{number:04}", length, "test", start, start + length)
            items.setdefault(video, []).append(item)
        return [replace(task, items=tuple(items[video])) for video, task in by_video.items() if video in items]

    def read(self, task: SourceFile) -> Iterator[Event]:
        """Ranges may overlap, so the video (a few hundred small frames) is held while they are cut out."""
        frames, held = [], 0
        for frame in decode_video(task.path, threads=1):
            frames.append(frame.pixels)
            held += frame.pixels.nbytes
            if held > MOST_HELD:
                raise InputError(
                    f"{str(task.path)!r} is no video of KTH's: its frames take more than {MOST_HELD:,} bytes. Give "
                    "other videos with --format videos."
                )
        for number, item in enumerate(task.items):
            clip = frames[int(item.start) : None if item.stop == np.inf else int(item.stop)]
            yield from ((number, frame) for frame in clip)
            yield number, None

    def _read_ranges(self, lists: list[Path]) -> dict[str, list[tuple[int, int]]]:
        if not lists:
            self.notes.append(
                f"no {SEQUENCES} here: every video is one whole clip. In jogging, running and walking, the person is "
                "out of sight between passes, so many training clips will show an empty field; with the file, clips "
                "are the ranges with the person in them"
            )
            return {}
        regular(lists[0])
        try:
            with open(lists[0], encoding="utf-8", errors="replace") as file:
                text = file.read(MOST_LIST + 1)
        except OSError as error:
            raise InputError(f"{str(lists[0])!r} cannot be read: {error.strerror}.") from None
        if len(text) > MOST_LIST:
            raise InputError(f"{str(lists[0])!r} is longer than {MOST_LIST:,} bytes. Get the file again.")
        ranges = {}
        for line in text.splitlines():
            if match := LINE.match(line.strip()):
                pairs = re.findall(r"\b(\d{1,6})\s*-\s*(\d{1,6})\b", match[2])
                if pairs:  # one video of the original is named as missing
                    ranges[match[1].lower()] = [(int(a), int(b)) for a, b in pairs if 1 <= int(a) < int(b)]
        if not ranges:
            raise InputError(
                f"{str(lists[0])!r} names no frames. Expected lines as 'person01_boxing_d1 frames 1-95, 96-185'."
            )
        return ranges


def srvp_clips(frames: dict[tuple[str, int, int], int], length: int) -> list[tuple[tuple[str, int, int], int]]:
    """The clips of the KTH test set of Franceschi et al. (2020): from whole videos, drawn from a legacy seed.

    Args:
        frames: how many frames each video has, by (action, person, scene).
        length: frames of a clip.

    Returns:
        1,000 pairs of video and first frame.

    Raises:
        InputError: a video that is drawn is missing or too short.
    """
    random = np.random.RandomState(SRVP_SEED)
    clips = []
    for _ in range(SRVP_CLIPS):
        action = ACTIONS[random.randint(len(ACTIONS))]
        video = (action, random.randint(TRAIN_PEOPLE + 1, 26), random.randint(1, 5))
        name = NAME.format(*video)
        if video not in frames:
            raise InputError(f"the srvp-test split needs every video of people 21 to 25; {name} is missing.")
        if frames[video] < length:
            raise InputError(f"the srvp-test split takes {length} frames from {name}, which has {frames[video]}.")
        clips.append((video, int(random.randint(frames[video] - length + 1))))
    return clips


def _is_kth(path: Path) -> bool:
    match = VIDEO.fullmatch(path.name)
    return match is not None and match[2].lower() in ACTIONS


def _which(path: Path) -> tuple[str, int, int]:
    """(action, person, scene) of a video."""
    match = VIDEO.fullmatch(path.name)
    assert match is not None, path
    return match[2].lower(), int(match[1]), int(match[3])


def _name(path: Path) -> str:
    return NAME.format(*_which(path))
