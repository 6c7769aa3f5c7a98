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

HEADER_BYTES = 128  # NumPy's header, for any number of frames
BLOCK = 1 << 24


class StoreWriter:
    """Writes a store clip by clip into a folder; it is one once `finish` has returned.

    Args:
        folder: an existing folder.
        size: height and width of the frames.
        channels: of the frames.

    Attributes:
        splits: the clips that were added.
        frames: how many in all.
        clips: likewise.
    """

    def __init__(self, folder: Path, size: int, channels: int):
        self.folder, self.shape = folder, (channels, size, size)
        self.frame_bytes = channels * size * size
        self.splits: dict[str, SplitIndex] = {}
        self.frames = self.clips = 0
        self._files: dict[str, BinaryIO] = {}

    def add(
        self,
        split: str,
        name: str,
        frames: np.ndarray | BinaryIO,
        length: int,
        fps: float | None = None,
        bounces: Sequence[int] | None = None,
    ) -> None:
        """Appends a clip.

        Args:
            split: train, val or test.
            name: of the clip.
            frames: (T, C, size, size) uint8, or a file that is at their bytes.
            length: frames T.
            fps: frames per second.
            bounces: frames in which something unpredictable happens.
        """
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
        self.splits[split].add(name, length, fps, bounces)
        self.frames, self.clips = self.frames + length, self.clips + 1

    def go_on(self, splits: Mapping[str, SplitIndex]) -> None:
        """Takes up the clips that an interrupted writer had finished, and forgets what came after them.

        Raises:
            InputError: an array is shorter than they are.
        """
        for name, split in splits.items():
            file, end = self._file(name), HEADER_BYTES + split.frames * self.frame_bytes
            if file.tell() < end:
                raise InputError(
                    f"{str(self.folder / name)!r}.npy is shorter than the clips that it should hold. Delete the "
                    "folder, and prepare anew."
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
        for name, file in self._files.items():
            file.seek(0)
            shape = (self.splits[name].frames, *self.shape)
            np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
            if file.tell() != HEADER_BYTES:
                raise RuntimeError(f"NumPy's header has {file.tell()} bytes, expected {HEADER_BYTES}")
        self.flush()
        self.close()
        for name, split in self.splits.items():
            split.sha256 = checksum(self.folder / f"{name}.npy")
        splits = {name: asdict(self.splits[name]) for name in SPLITS if name in self.splits}
        for name, places in (order or {}).items():
            for column, values in splits[name].items():
                if isinstance(values, list):
                    splits[name][column] = [values[place] for place in places]
        channels, size, _ = self.shape
        index = {"format": FORMAT, "version": VERSION, "size": size, "channels": channels} | about | {"splits": splits}
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

    def _file(self, split: str) -> BinaryIO:
        if split not in self._files:
            path = self.folder / f"{split}.npy"
            file = open(path, "r+b" if path.exists() else "w+b")  # noqa: SIM115  (closed by `close`)
            if path.stat().st_size < HEADER_BYTES:
                file.truncate(HEADER_BYTES)
            file.seek(0, os.SEEK_END)
            self._files[split] = file
            self.splits.setdefault(split, SplitIndex())
        return self._files[split]
