"""Worker processes that read a source: they probe its files, and decode them into the frames of a store."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal, Self, TypeVar

import numpy as np

from stochvid.data.source import Source, Task
from stochvid.errors import InputError
from stochvid.io.clip import fit_frame

AHEAD = 3  # files per worker that may be done before their turn
TICK = 0.25  # seconds

X, Y = TypeVar("X"), TypeVar("Y")


@dataclass(frozen=True)
class Fitting:
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
    """

    path: Path
    lengths: list[int]
    wrong: list[str] = field(default_factory=list)


class Crew:
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

    def probe(self, paths: Sequence[Path]) -> Iterator[Task | InputError]:
        """What each file holds, or what is wrong with it, in order."""
        return self._in_order(_probe, [(path,) for path in paths], lambda: None, ahead=64)

    def decode(
        self, tasks: Iterable[Task], wanted: set[str], fitting: Fitting, folder: Path, tick: Callable[[], None]
    ) -> Iterator[Part]:
        """The frames of each task's clips, in order; a part's file is deleted when the next part is asked for.

        Args:
            tasks: to decode.
            wanted: names of the clips to take.
            fitting: what frames become.
            folder: for the parts' files, `part-…`.
            tick: called now and then while waiting.
        """
        decode = partial(_decode, wanted=wanted, fitting=fitting)
        calls = [(task, folder / f"part-{number:08}") for number, task in enumerate(tasks)]
        for part in self._in_order(decode, calls, tick, AHEAD):
            yield part
            part.path.unlink()

    def _in_order(
        self, function: Callable[..., Y], calls: Iterable[tuple], tick: Callable[[], None], ahead: int
    ) -> Iterator[Y]:
        if self._pool is None:
            for call in calls:
                yield function(*call, source=self.source)
                tick()
            return
        try:
            running: deque[Future[Y]] = deque()
            for call in calls:
                running.append(self._pool.submit(_in_worker, function, call))
                if len(running) >= ahead * self.workers:
                    yield _result(running, tick)
            while running:
                yield _result(running, tick)
        except BrokenProcessPool:
            raise InputError(
                "a worker process was killed, probably because memory ran out. Use fewer --workers."
            ) from None


def _result(running: deque[Future[Y]], tick: Callable[[], None]) -> Y:
    while not wait([running[0]], timeout=TICK).done:
        tick()
    tick()
    return running.popleft().result()


# ------------------------------------------------------------------------------------------------- in the workers


def _start(source: Source) -> None:
    """Ctrl-C is for the process that has the workers; without it, they end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _in_worker.source = source
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def _in_worker(function: Callable[..., Y], call: tuple) -> Y:
    return function(*call, source=_in_worker.source)


def _probe(path: Path, source: Source) -> Task | InputError:
    try:
        return source.keyed(source.probe(path))
    except InputError as error:
        return error


def _decode(task: Task, path: Path, source: Source, wanted: set[str], fitting: Fitting) -> Part:
    """Decodes a task into a file.

    Raises:
        InputError: the file cannot be written (what cannot be read is told in the part).
    """
    try:
        with open(path, "wb") as file:
            clips = _Clips(task, file, wanted)
            try:
                for number, frame in source.read(task):
                    if not clips.wanted[number]:
                        continue
                    if frame is None:
                        clips.finish(number)
                    elif isinstance(frame, InputError):
                        clips.drop(number, str(frame))
                    else:
                        file.write(fitting(frame).data)
                        clips.lengths[number] += 1
            except InputError as error:
                clips.drop_rest(str(error))
        return Part(path, clips.lengths, clips.wrong)
    except OSError as error:
        raise cannot_write(path.parent, error) from None


class _Clips:
    """The clips of a task as they are written one after another; one that turns out bad is taken back.

    Attributes:
        wanted: which clips are still to come.
        lengths: frames of each clip, 0 where it is left out.
        wrong: what is wrong with those that are left out.
    """

    def __init__(self, task: Task, file: BinaryIO, wanted: set[str]):
        self.task, self.file = task, file
        self.wanted = [item.name in wanted for item in task.items]
        self.lengths, self.wrong = [0] * len(task.items), []
        self.end = 0  # of the whole clips

    def finish(self, number: int) -> None:
        """The clip is whole."""
        if self.lengths[number] < 2:
            frames = "one frame" if self.lengths[number] else "no frames"
            name = self.task.items[number].name
            self.drop(number, f"clip {name!r} of {str(self.task.path)!r} has {frames}; a clip needs two.")
        self.wanted[number], self.end = False, self.file.tell()

    def drop(self, number: int, why: str) -> None:
        """Takes back what there is of a clip."""
        self.wrong.append(why)
        self.wanted[number], self.lengths[number] = False, 0
        self.file.seek(self.end)
        self.file.truncate()

    def drop_rest(self, why: str) -> None:
        """Gives up all clips that are not whole."""
        lost = [number for number, wanted in enumerate(self.wanted) if wanted]
        for number in lost:
            self.drop(number, why + (f" ({len(lost)} clips are lost by it.)" if len(lost) > 1 else ""))
        self.wrong[len(self.wrong) - len(lost) :] = self.wrong[-1:] if lost else []


def cannot_write(path: Path, error: OSError) -> InputError:
    """What to say when the disk is full or not to be written to."""
    return InputError(
        f"cannot write in {str(path)!r}: {error.strerror or error}. Make room there and run the same command again: it "
        "goes on where it stopped."
    )
