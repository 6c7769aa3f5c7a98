"""Worker processes that read a source: they probe its files, and decode them into the frames of a store."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import numpy as np

from stochvid.core.errors import InputError
from stochvid.data.tracks import Track
from stochvid.media.clip import fit_frame
from stochvid.prepare.source import Source, SourceFile

AHEAD = 3  # files for each worker that may be done before their turn
TICK = 0.25  # seconds

Y = TypeVar("Y")


@dataclass(frozen=True)
class FrameFormat:
    """What frames become.

    Attributes:
        size: height and width.
        channels: 1 or 3, or as many as the frames have.
        crop: centre: their middle square; none: the whole frame, squashed.
    """

    size: int
    channels: int
    crop: Literal["centre", "none"] = "none"

    @property
    def frame_bytes(self) -> int:
        """Bytes of a stored frame."""
        return self.channels * self.size * self.size

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """(H, W, C) uint8 → (C, size, size) uint8."""
        return fit_frame(frame, self.size, self.channels, "crop" if self.crop == "centre" else "squash")


@dataclass
class Part:
    """What was made of a task.

    Attributes:
        path: the file with the frames of its good clips, one after another.
        lengths: frames of each clip of the task, 0 where it is left out.
        wrong: what is wrong with clips that are left out.
        tracks: of the frames in the file, (frames, …) each.
    """

    path: Path
    lengths: list[int]
    wrong: list[str] = field(default_factory=list)
    tracks: dict[str, np.ndarray] = field(default_factory=dict)


class WorkerPool:
    """So many processes, all of which know the source. To be used in a `with` block.

    Args:
        source: after its `find`.
        workers: processes; 0: everything is done in this one.
    """

    def __init__(self, source: Source, workers: int):
        self.source, self.workers = source, workers
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        self._others = set(multiprocessing.active_children())
        if self.workers:
            spawn = multiprocessing.get_context("spawn")  # no copies of this process's threads
            self._pool = ProcessPoolExecutor(self.workers, spawn, initializer=_start, initargs=(self.source,))
        return self

    def __exit__(self, kind: type | None, *_: Any) -> None:
        if self._pool is None:
            return
        if kind is not None:  # stopped: a long video shall not be waited for
            for child in set(multiprocessing.active_children()) - self._others:
                child.terminate()
        self._pool.shutdown(cancel_futures=True)

    def probe(self, paths: Sequence[Path]) -> Iterator[SourceFile | InputError]:
        """What each file holds, or what is wrong with it, in order."""
        return self._in_order(_probe, [(path,) for path in paths], lambda: None, ahead=64)

    def decode(
        self,
        tasks: Sequence[SourceFile],
        wanted: Sequence[Sequence[bool]],
        frame_format: FrameFormat,
        folder: Path,
        tick: Callable[[], None],
    ) -> Iterator[Part]:
        """The frames of each task's clips, in order; a part's file is deleted when the next part is asked for.

        Args:
            tasks: to decode.
            wanted: which clips of each to take.
            frame_format: what frames become.
            folder: for the parts' files.
            tick: called now and then while waiting.
        """
        pairs = enumerate(zip(tasks, wanted, strict=True))
        calls = [(task, folder / f"{number:08}", flags, frame_format) for number, (task, flags) in pairs]
        for part in self._in_order(_decode, calls, tick, AHEAD):
            yield part
            part.path.unlink()

    def _in_order(
        self, function: Callable[..., Y], calls: Sequence[tuple], tick: Callable[[], None], ahead: int
    ) -> Iterator[Y]:
        if self._pool is None:
            for call in calls:
                yield function(self.source, *call)
                tick()
            return
        running: deque[Future[Y]] = deque()
        done = 0
        try:
            for call in calls:
                with _without_interrupts():  # inherited by the process that this may start
                    running.append(self._pool.submit(_in_worker, function, call))
                if len(running) >= ahead * self.workers:
                    yield _result(running, tick)
                    done += 1
            while running:
                yield _result(running, tick)
                done += 1
        except BrokenProcessPool:
            busy = [repr(str(getattr(call[0], "path", call[0]))) for call in calls[done : done + self.workers]]
            raise InputError(
                f"a worker process was killed while it read one of {', '.join(busy)}. Memory may have run out (use "
                "fewer --workers), or a file crashes the decoder (take it away). A Python script that calls prepare() "
                "must do so under `if __name__ == '__main__':`."
            ) from None


def _result(running: deque[Future[Y]], tick: Callable[[], None]) -> Y:
    while not wait([running[0]], timeout=TICK).done:
        tick()
    tick()
    return running.popleft().result()


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Holds Ctrl-C back for a moment."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# ------------------------------------------------------------------------------------------------- in the workers


class CannotWrite(InputError):
    """The disk is full, or not to be written to: no fault of a clip."""


def cannot_write(path: Path, error: OSError) -> CannotWrite:
    """What to say then."""
    return CannotWrite(
        f"cannot write in {str(path)!r}: {error.strerror or error}. Make room there and run the same command again: it "
        "goes on where it stopped."
    )


class _Held:
    """What a worker process keeps."""

    source: Source


def _start(source: Source) -> None:
    """Ctrl-C is for the process that has the workers; without it, they end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    _Held.source = source
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


def _in_worker(function: Callable[..., Y], call: tuple) -> Y:
    return function(_Held.source, *call)


def _probe(source: Source, path: Path) -> SourceFile | InputError:
    try:
        return source.keyed(source.probe(path))
    except InputError as error:
        return error
    except Exception as error:  # of a file that is broken in a way that its library did not expect
        return _unexpected(path, error)


def _decode(source: Source, task: SourceFile, path: Path, wanted: Sequence[bool], frame_format: FrameFormat) -> Part:
    """Decodes a task into a file.

    Raises:
        CannotWrite: the file cannot be written (what cannot be read is told in the part).
    """
    with _Clips(task, path, wanted, source.tracks) as clips:
        try:
            for number, frame in source.read(task):
                if not clips.wanted[number]:
                    continue
                if frame is None or isinstance(frame, dict):
                    clips.finish(number, frame or {})
                elif isinstance(frame, InputError):
                    clips.drop(number, str(frame))
                else:
                    clips.write(number, frame_format(frame))
        except CannotWrite:
            raise
        except InputError as error:
            clips.drop_rest(str(error))
        except Exception as error:
            clips.drop_rest(str(_unexpected(task.path, error)))
        tracks = {name: np.concatenate(pieces) for name, pieces in clips.tracks.items() if pieces}
        return Part(path, clips.lengths, clips.wrong, tracks)


def _unexpected(path: Path, error: Exception) -> InputError:
    return InputError(f"{str(path)!r} cannot be read: {error!r:.200}.")


class _Clips:
    """The clips of a task as they are written one after another; one that turns out bad is taken back.

    Attributes:
        wanted: which clips are still to come.
        lengths: frames of each clip, 0 where it is left out.
        wrong: what is wrong with those that are left out.
        tracks: of the whole clips, one after another, by name.
    """

    def __init__(self, task: SourceFile, path: Path, wanted: Sequence[bool], tracks: Mapping[str, Track]):
        self.task, self.path, self.wanted, self.kinds = task, path, list(wanted), tracks
        self.tracks: dict[str, list[np.ndarray]] = {name: [] for name in tracks}
        self.lengths = [0] * len(task.items)
        self.wrong: list[str] = []
        self.end = 0  # of the whole clips

    def __enter__(self) -> Self:
        try:
            self.file = open(self.path, "wb")
        except OSError as error:
            raise cannot_write(self.path.parent, error) from None
        return self

    def __exit__(self, *_: Any) -> None:
        try:
            self.file.close()
        except OSError as error:  # what was held in memory did not fit
            raise cannot_write(self.path.parent, error) from None

    def write(self, number: int, frame: np.ndarray) -> None:
        """Adds a frame (C, size, size) to a clip."""
        try:
            self.file.write(frame.data)
        except OSError as error:
            raise cannot_write(self.path.parent, error) from None
        self.lengths[number] += 1

    def finish(self, number: int, tracks: Mapping[str, np.ndarray]) -> None:
        """The clip is whole, with these tracks."""
        clip = f"clip {self.task.items[number].name!r} of {str(self.task.path)!r}"
        try:
            if self.lengths[number] < 2:
                raise InputError(
                    f"{clip} has {'one frame' if self.lengths[number] else 'no frames'}; a clip needs two."
                )
            for name, kind in self.kinds.items():
                kind.check_values(tracks[name], self.lengths[number], f"track {name!r} of {clip}")
        except InputError as error:
            self.drop(number, str(error))
        else:
            for name, pieces in self.tracks.items():
                pieces.append(tracks[name])
        self.wanted[number], self.end = False, self.file.tell()

    def drop(self, number: int, why: str) -> None:
        """Takes back what there is of a clip."""
        self.wrong.append(why)
        self.wanted[number], self.lengths[number] = False, 0
        try:
            self.file.seek(self.end)
            self.file.truncate()
        except OSError as error:
            raise cannot_write(self.path.parent, error) from None

    def drop_rest(self, why: str) -> None:
        """Gives up all clips that are not whole."""
        lost = [number for number, wanted in enumerate(self.wanted) if wanted]
        if lost:
            self.drop(lost[0], why + (f" ({len(lost)} clips are lost by it.)" if len(lost) > 1 else ""))
        for number in lost:
            self.wanted[number], self.lengths[number] = False, 0
