"""A person's own videos: a folder tree of anything FFmpeg reads, or of folders of frames."""

from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from stochvid.core.errors import InputError
from stochvid.media.containers import VIDEO_SUFFIXES
from stochvid.media.images import IMAGE_SUFFIXES, is_stack
from stochvid.media.order import negative_names
from stochvid.media.sequences import Pictures, frame_paths
from stochvid.media.video import as_stored, at_rate, decode_video, probe_video, variable
from stochvid.prepare.source import Event, Item, Source, SourceFile, Walk, regular
from stochvid.prepare.tables import TABLE, columns_of, find_columns


class Videos(Source):
    """A tree of videos, folders of images, or stacks of images. Folders called `train`, `val` and `test` are splits."""

    format = "videos"
    takes = frozenset({"fps", "range", "actions", "states"})

    @classmethod
    def recognises(cls, root: Path, tree: Walk) -> bool:
        """Any video or image will do."""
        return any(path.suffix.lower() in VIDEO_SUFFIXES | IMAGE_SUFFIXES for path in tree.files)

    def find(self) -> list[Path]:
        """Videos, stacks, and folders whose files are images and no videos."""
        paths = self._find()
        self.told, notes = find_columns(paths, self.options)
        self.notes += notes
        self.tracks = {name: track for name, (_, track) in self.told.items()}
        return paths

    def _find(self) -> list[Path]:
        if self.root.is_file():
            return [self.root]
        videos = [path for path in self.tree.files if path.suffix.lower() in VIDEO_SUFFIXES]
        with_videos = {path.parent for path in videos}
        images = [path for path in self.tree.files if path.suffix.lower() in IMAGE_SUFFIXES]
        images = [path for path in images if path.parent not in with_videos]
        tables = {path.with_suffix(TABLE) for path in [*videos, *images, *(image.parent for image in images)]}
        self.note_others({*videos, *images} | tables)
        if self.options.range and not images:
            raise InputError(f"--range is for arrays and images; {str(self.root)!r} holds videos, which are 8-bit.")
        first = {path.parent: path for path in reversed(images)}  # a folder of frames stands where its first one does
        stacked = {folder for folder, path in first.items() if is_stack(path)}
        stacks = [path for path in images if path.parent in stacked]
        first = {folder: path for folder, path in first.items() if folder not in stacked}
        if first and self.options.fps:
            self.notes.append("folders of images have no rate: all of their frames are taken")
        self._note_order(first)
        place = {path: number for number, path in enumerate(self.tree.files)}
        return sorted([*videos, *stacks, *first], key=lambda path: place[first.get(path) or path])

    def probe(self, path: Path) -> SourceFile:
        """One clip."""
        if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES:
            return self._probe_pictures(path)
        regular(path)
        info = probe_video(path, steady=self.options.fps is None)
        fps, frames = self.options.fps or info.fps, info.frames
        if self.options.fps and info.fps:
            frames = round(frames * self.options.fps / info.fps)
        task = self._task(path, frames, (info.width, info.height), 1 if info.grey else 3, fps)
        notes = [f"{task.items[0].name!r} has {info.note}"] if info.note else []
        if self.options.fps and info.fps and self.options.fps > 1.01 * info.fps:
            notes.append(f"{task.items[0].name!r} has {info.fps:g} frames/s: at {fps:g}, they repeat")
        return replace(task, note="; ".join(notes))

    def read(self, task: SourceFile) -> Iterator[Event]:
        """All frames."""
        if task.path.is_dir() or task.path.suffix.lower() in IMAGE_SUFFIXES:
            frames = self._read_pictures(self._pictures(task.path), task)
        elif self.options.fps:
            frames = at_rate(decode_video(task.path, threads=1), self.options.fps, task.path)
        else:
            frames = as_stored(decode_video(task.path, threads=1), task.path)
        count = 0
        for frame in frames:
            count += 1
            yield 0, frame
        yield 0, columns_of(task.path, self.told, count) if self.told else None

    def _pictures(self, path: Path) -> Pictures:
        if path.is_dir():
            return Pictures(frame_paths(path))
        regular(path)
        pictures = Pictures([path])
        if pictures.count < 2 and path != self.root:
            raise InputError(
                f"{str(path)!r} is a single picture among stacks of several. Put stacks and single frames into folders "
                "of their own."
            )
        return pictures

    def _probe_pictures(self, path: Path) -> SourceFile:
        pictures = self._pictures(path)
        fps, frames = pictures.fps, pictures.count
        if fps and not self.options.fps and pictures.pace.varies:
            raise variable(path, pictures.pace)
        if self.options.fps and fps:
            frames, fps = round(frames * self.options.fps / fps), self.options.fps
        limits = pictures.limits() if self.options.range == "auto" else self.options.range
        if limits is None:
            pictures.check_used()
        return replace(self._task(path, frames, pictures.size, pictures.channels, fps), limits=limits)

    def _read_pictures(self, pictures: Pictures, task: SourceFile) -> Iterator[np.ndarray]:
        if pictures.times is None:
            return pictures.frames(task.limits)
        return pictures.at(self.options.fps, task.limits)

    def _note_order(self, folders: Collection[Path]) -> None:
        """Says where a dash in the names of frames is taken for a minus."""
        minus = {folder: names[0] for folder in folders if (names := negative_names(_names(folder)))}
        if minus:
            others = f", and so in {len(minus) - 1:,} more" if len(minus) > 1 else ""
            folder = min(minus)
            self.notes.append(
                f"{self.name(folder)!r}: names as {minus[folder]!r} are taken for negative numbers{others}"
            )

    def _task(self, path: Path, frames: int, size: tuple[int, int], channels: int, fps: float | None) -> SourceFile:
        inside = path / "frame" if path.is_dir() else path
        return SourceFile(path, (Item(self.name(path), frames, self.shipped_split(inside)),), size, channels, fps)


def _names(folder: Path) -> list[str]:
    return [path.name for path in frame_paths(folder)]
