"""`stochvid watch`: frames as they come, each with how much it surprised, as lines of JSON; in constant memory."""

import json
import statistics
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from stochvid.command_options import takes
from stochvid.core.errors import InputError
from stochvid.core.threads import use_threads
from stochvid.inference.live import Live, Surprise
from stochvid.inference.options import WatchOptions
from stochvid.inference.sources import open_source
from stochvid.inference.surprise import OUTSTANDING
from stochvid.inference.trained import Trained
from stochvid.media.containers import frames_of_device
from stochvid.media.pictures import FPS

REMEMBERED = 200  # values of KL that say what is usual
LEAST = 20  # before so many, nothing is a peak


@takes(WatchOptions)
def watch(options: WatchOptions) -> dict[str, int]:
    """Watches frames as they come, and prints a line of JSON for each that the model saw.

    Frames are taken at their own pace. While the model is busy, only the newest is kept: what came in between is
    dropped and counted, so that nothing ever lags behind.

    Args:
        options: `WatchOptions`, or their fields: the model, with latents, and the source.

    Returns:
        How many frames were `seen`, how many `dropped`.

    Raises:
        InputError: a model without latents, a source that does not exist, breaks off or ends within a frame.
    """
    o = options
    use_threads(o.threads)
    trained = Trained.open(o.model, o.device)
    if not trained.network.stochastic:
        raise InputError(f"model {str(o.model)!r} is deterministic: it has no KL to measure surprise with.")
    live, usual, seen = Live(trained.network, fit=o.fit or trained.fit), Usual(), 0
    newest = Newest(_frames(o, trained))
    for number, seconds, frame in newest:
        told = live.see(frame)
        seen += 1
        if told is not None:
            print(_line(number, seconds, told, usual.is_outstanding(told.kl), newest.dropped), flush=True)
    print(f"{seen:,} frames seen, {newest.dropped:,} dropped", file=sys.stderr)
    return {"seen": seen, "dropped": newest.dropped}


def _line(number: int, seconds: float, told: Surprise, peak: bool, dropped: int) -> str:
    measured = {"kl": told.kl, "sigma": told.std, "mse": told.mse}
    rounded = {name: float(f"{value:.5g}") for name, value in measured.items()}
    return json.dumps({"frame": number, "seconds": round(seconds, 3)} | rounded | {"peak": peak, "dropped": dropped})


class Usual:
    """What values were lately: one is outstanding that lies far above their median, in robust standard deviations."""

    def __init__(self) -> None:
        self.last = deque[float](maxlen=REMEMBERED)

    def is_outstanding(self, value: float) -> bool:
        """Whether it is; and remembers it."""
        high = False
        if len(self.last) >= LEAST:
            middle = statistics.median(self.last)
            deviation = 1.4826 * statistics.median(abs(x - middle) for x in self.last)
            high = value > middle + OUTSTANDING * max(deviation, 1e-3)
        self.last.append(value)
        return high


class Newest:
    """The newest frame of a source, which is read in a thread of its own; older ones are dropped, and counted.

    Args:
        frames: numbers, seconds, and (H, W, C) uint8. An error of theirs is raised once the frames before it are seen.
    """

    def __init__(self, frames: Iterator[tuple[int, float, np.ndarray]]):
        self.dropped, self._ended = 0, False
        self._waiting: tuple[int, float, np.ndarray] | None = None
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        threading.Thread(target=self._read, args=(frames,), daemon=True).start()

    def _read(self, frames: Iterator[tuple[int, float, np.ndarray]]) -> None:
        try:
            for frame in frames:
                with self._changed:
                    self.dropped += self._waiting is not None
                    self._waiting = frame
                    self._changed.notify()
        except BaseException as error:  # for the thread that sees the frames
            self._error = error
        with self._changed:
            self._ended = True
            self._changed.notify()

    def __iter__(self) -> Iterator[tuple[int, float, np.ndarray]]:
        while True:
            with self._changed:
                while self._waiting is None and not self._ended:
                    self._changed.wait(0.2)  # not for ever: a signal has to be noticed
                frame, self._waiting = self._waiting, None
            if frame is None:
                if self._error is not None:
                    raise self._error
                return
            yield frame


def _frames(options: WatchOptions, trained: Trained) -> Iterator[tuple[int, float, np.ndarray]]:
    """Numbers from 1, seconds since the first, and frames, when they are there."""
    source = options.source
    if source == "-":
        return _stamped(raw_frames(sys.stdin.buffer, options.raw_size))
    if Path(source).is_char_device():
        return _stamped(frames_of_device(Path(source)))
    return _in_real_time(options, trained)


def _stamped(frames: Iterator[np.ndarray]) -> Iterator[tuple[int, float, np.ndarray]]:
    begun = None
    for number, frame in enumerate(frames, 1):
        now = time.monotonic()
        begun = now if begun is None else begun
        yield number, now - begun, frame


def raw_frames(stream: IO[bytes], size: tuple[int, int, int]) -> Iterator[np.ndarray]:
    """Frames of raw bytes, row by row.

    Raises:
        InputError: the stream ends within a frame.
    """
    width, height, channels = size
    length, number = width * height * channels, 0
    while data := stream.read(length):
        if len(data) < length:
            raise InputError(
                f"standard input ended within frame {number + 1}: {len(data):,} of {length:,} bytes of "
                f"{width}×{height}×{channels}. Check --raw against what is written."
            )
        number += 1
        yield np.frombuffer(data, np.uint8).reshape(height, width, channels)


def _in_real_time(options: WatchOptions, trained: Trained) -> Iterator[tuple[int, float, np.ndarray]]:
    """A clip, each frame when it is due."""
    how = trained.preprocessing
    fps, limits, axes = options.fps or how["fps"], options.limits, options.axes
    source = open_source(
        options.source, trained.folder, trained.config, 1, None, fps, how["stride"], limits, axes, how["range"]
    )
    trained.config.check_tracks({}, f"clip {options.source!r}")
    rate = source.fps or fps or FPS

    def when_due() -> Iterator[tuple[int, float, np.ndarray]]:
        begun, first = time.monotonic(), None
        for number, (frame, shown) in enumerate(source.frames.pairs, 1):
            at = (number - 1) / rate if shown is None else shown
            first = at if first is None else first
            time.sleep(max(0.0, begun + at - first - time.monotonic()))
            yield number, at - first, frame

    return when_due()
