"""A person's own videos: a folder tree of anything FFmpeg reads, or of folders of frames."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from stochvid.data.source import Event, Item, Source, Task, Walk, regular
from stochvid.errors import InputError
from stochvid.io.clip import IMAGE_SUFFIXES, frame_paths, open_image, read_images
from stochvid.io.video import as_stored, at_rate, decode_video, probe_video

VIDEO_SUFFIXES = {
    ".264", ".265", ".3g2", ".3gp", ".asf", ".avi", ".dv", ".f4v", ".flv", ".gif", ".h264", ".h265", ".hevc", ".m1v",
    ".m2ts", ".m2v", ".m4v", ".mj2", ".mjpeg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".nut", ".ogv",
    ".ts", ".vob", ".webm", ".wmv", ".wtv", ".y4m",
}  # fmt: skip


class Videos(Source):
    """A tree of videos, or of folders of images. Folders called `train`, `val` and `test` are the splits."""

    format = "videos"
    takes = frozenset({"fps"})

    @classmethod
    def recognises(cls, root: Path, tree: Walk) -> bool:
        """Any video or image will do."""
        return any(path.suffix.lower() in VIDEO_SUFFIXES | IMAGE_SUFFIXES for path in tree.files)

    def find(self) -> list[Path]:
        """Videos, and folders whose files are images and no videos."""
        if self.root.is_file():
            return [self.root]
        videos = [path for path in self.tree.files if path.suffix.lower() in VIDEO_SUFFIXES]
        with_videos = {path.parent for path in videos}
        images = [path for path in self.tree.files if path.suffix.lower() in IMAGE_SUFFIXES]
        images = [path for path in images if path.parent not in with_videos]
        self.note_others({*videos, *images})
        if images and self.options.fps:
            self.notes.append("folders of images have no rate: all of their frames are taken")
        first = {path.parent: path for path in reversed(images)}  # a folder of frames stands where its first one does
        place = {path: number for number, path in enumerate(self.tree.files)}
        return sorted([*videos, *first], key=lambda path: place[first.get(path, path)])

    def probe(self, path: Path) -> Task:
        """One clip."""
        if path.is_dir():
            frames = frame_paths(path)
            try:
                with open_image(frames[0]) as image:
                    size, channels = image.size, 1 if image.mode in ("1", "L", "I", "I;16", "I;16B") else 3
            except InputError:
                raise
            except Exception as error:  # so do Pillow's
                raise InputError(f"frame {str(frames[0])!r} cannot be read as an image: {error}.") from None
            return self._task(path, len(frames), size, channels, None)
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

    def read(self, task: Task) -> Iterator[Event]:
        """All frames."""
        if task.path.is_dir():
            frames = read_images(frame_paths(task.path), task.path)
        elif self.options.fps:
            frames = at_rate(decode_video(task.path, threads=1), self.options.fps, task.path)
        else:
            frames = as_stored(decode_video(task.path, threads=1), task.path)
        yield from ((0, frame) for frame in frames)
        yield 0, None

    def _task(self, path: Path, frames: int, size: tuple[int, int], channels: int, fps: float | None) -> Task:
        inside = path / "frame" if path.is_dir() else path
        return Task(path, (Item(self.name(path), frames, self.shipped_split(inside)),), size, channels, fps)
