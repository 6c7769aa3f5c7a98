"""Writing a store, clip by clip."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np

from stochvid.core.errors import InputError
from stochvid.data.splits import SPLITS
from stochvid.data.store import FORMAT, INDEX, VERSION, SplitIndex, checksum
from stochvid.data.tracks import Track, check_tracks, statistics

HEADER_BYTES = 128  # NumPy's header, for any number of frames
BLOCK = 1 << 24


class StoreWriter:
    """Writes a store clip by clip into a folder; it is one once `finish` has returned.

    Args:
        folder: an existing folder.
        size: height and width of the frames.
        channels: of the frames.
        tracks: what every clip says of its frames, by name; their statistics are found in the end.

    Attributes:
        splits: the clips that were added.
        frames: how many in all.
        clips: likewise.

    Raises:
        InputError: a track cannot be called so, or be like that.
    """

    def __init__(self, folder: Path, size: int, channels: int, tracks: Mapping[str, Track] | None = None):
        self.folder, self.shape = folder, (channels, size, size)
        self.frame_bytes = channels * size * size
        self.tracks = dict(tracks or {})
        try:
            check_tracks(self.tracks)
        except ValueError as error:
            raise InputError(f"the store cannot have such tracks: {error}.") from None
        self.splits: dict[str, SplitIndex] = {}
        self.frames = self.clips = 0
        self._files: dict[tuple[str, str | None], BinaryIO] = {}  # of frames and tracks

    def add(
        self,
        split: str,
        name: str,
        frames: np.ndarray | BinaryIO,
        length: int,
        fps: float | None = None,
        tracks: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Appends a clip.

        Args:
            split: train, val or test.
            name: of the clip.
            frames: (T, C, size, size) uint8, or a file that is at their bytes.
            length: frames T.
            fps: frames per second.
            tracks: what is known of its frames, (T, …) of each of the store's tracks.

        Raises:
            InputError: the clip lacks a track, or its values are not what they should be.
        """
        values = self._checked(name, length, tracks or {})
        file = self._file(split)
        if isinstance(frames, np.ndarray):
            file.write(np.ascontiguousarray(frames).data)
        else:
            left = length * self.frame_bytes
            while left:
                block = frames.read(min(left, BLOCK))
                if not block:
                    raise EOFError(f"the frames of {name!r} end {left} bytes too early")
                file.write(block)
                left -= len(block)
        for track, array in values.items():
            self._file(split, track).write(array.tobytes())
        self.splits[split].add(name, length, fps)
        self.frames, self.clips = self.frames + length, self.clips + 1

    def go_on(self, splits: Mapping[str, SplitIndex]) -> None:
        """Takes up the clips that an interrupted writer had finished, and forgets what came after them.

        Raises:
            InputError: an array is shorter than they are.
        """
        for name, split in splits.items():
            for track, (_, frame_bytes, _) in self._kinds().items():
                file, end = self._file(name, track), HEADER_BYTES + split.frames * frame_bytes
                if file.tell() < end:
                    raise InputError(
                        f"{file.name!r} is shorter than the clips that it should hold. Delete the folder, and prepare "
                        "anew."
                    )
                file.truncate(end)
                file.seek(end)
            self.splits[name] = split
            self.frames, self.clips = self.frames + split.frames, self.clips + len(split.names)

    def flush(self) -> None:
        """Sees that everything is on the disk."""
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())

    def finish(self, about: dict[str, Any], order: Mapping[str, Sequence[int]] | None = None) -> None:
        """Writes headers and index.

        Args:
            about: what the index shall say besides: source, options, what was left out.
            order: for a split, in which order to list its clips.
        """
        kinds = self._kinds()
        for (name, track), file in self._files.items():
            dtype, _, shape = kinds[track]
            header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False}
            file.seek(0)
            np.lib.format.write_array_header_1_0(file, header | {"shape": (self.splits[name].frames, *shape)})
            if file.tell() != HEADER_BYTES:
                raise RuntimeError(f"NumPy's header has {file.tell()} bytes, expected {HEADER_BYTES}")
        self.flush()
        self.close()
        for name, split in self.splits.items():
            split.sha256 = checksum(self._path(name))
            split.tracks = {track: checksum(self._path(name, track)) for track in self.tracks}
        splits = {name: asdict(self.splits[name]) for name in SPLITS if name in self.splits}
        for name, places in (order or {}).items():
            for column, values in splits[name].items():
                if isinstance(values, list):
                    splits[name][column] = [values[place] for place in places]
        channels, size, _ = self.shape
        index = {"format": FORMAT, "version": VERSION, "size": size, "channels": channels} | about
        index |= ({"tracks": self._described()} if self.tracks else {}) | {"splits": splits}
        with open(self.folder / INDEX, "w", encoding="utf-8") as written:
            json.dump(index, written, indent=1)
            written.flush()
            os.fsync(written.fileno())

    def close(self) -> None:
        """Closes the arrays."""
        for file in self._files.values():
            file.close()
        self._files = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def _kinds(self) -> dict[str | None, tuple[str, int, tuple[int, ...]]]:
        """Of the frames (None) and of each track: dtype, bytes of a frame, and shape of its value."""
        kinds = {name: (track.dtype, track.frame_bytes, track.shape) for name, track in self.tracks.items()}
        return {None: ("uint8", self.frame_bytes, self.shape)} | kinds

    def _path(self, split: str, track: str | None = None) -> Path:
        return self.folder / f"{split if track is None else f'{split}.{track}'}.npy"

    def _file(self, split: str, track: str | None = None) -> BinaryIO:
        if (split, track) not in self._files:
            path = self._path(split, track)
            file = open(path, "r+b" if path.exists() else "w+b")  # noqa: SIM115  (closed by `close`)
            if path.stat().st_size < HEADER_BYTES:
                file.truncate(HEADER_BYTES)
            file.seek(0, os.SEEK_END)
            self._files[split, track] = file
            self.splits.setdefault(split, SplitIndex())
        return self._files[split, track]

    def _checked(self, clip: str, length: int, tracks: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """A clip's tracks, as they are written."""
        if set(tracks) != set(self.tracks):
            other = min(set(tracks) ^ set(self.tracks))
            how = "lacks the track" if other in self.tracks else "has the track"
            raise InputError(f"clip {clip!r} {how} {other!r}; all clips of a store must have the same tracks.")
        for name, track in self.tracks.items():
            track.check_values(np.asarray(tracks[name]), length, f"track {name!r} of clip {clip!r}")
        return {name: np.asarray(tracks[name]) for name in self.tracks}

    def _described(self) -> dict[str, dict[str, Any]]:
        """What the index says of the tracks, with their statistics over the training split."""
        told = {name: asdict(track) for name, track in self.tracks.items()}
        if "train" in self.splits:
            for name in told:
                told[name]["statistics"] = statistics(np.load(self._path("train", name), mmap_mode="r"))
        return told
