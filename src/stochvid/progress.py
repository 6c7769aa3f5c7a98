"""How far the decoding of a data set is: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from typing import Any, Self

from tqdm import tqdm

LINE_EVERY = 10.0  # seconds


class FrameProgress:
    """Clips, frames per second and the time that is left, on standard error.

    Args:
        total: frames there will be, about.
        done: of them, those that were there before.
    """

    def __init__(self, total: int, done: int = 0):
        self.total, self.before, self.frames, self.clips = total, done, done, 0
        self.began = self.said = time.monotonic()
        self.bar = None
        if sys.stderr.isatty():
            self.bar = tqdm(total=total, initial=done, unit=" frames", dynamic_ncols=True)

    @property
    def rate(self) -> float:
        """Frames per second since the beginning."""
        return (self.frames - self.before) / max(time.monotonic() - self.began, 1e-9)

    def show(self, frames: int, clips: int) -> None:
        """Shows how many frames and clips there are by now."""
        self.frames, self.clips = frames, clips
        if self.bar is not None:
            self.bar.total = max(self.total, frames)
            self.bar.set_postfix_str(f"{clips:,} clips", refresh=False)
            self.bar.update(frames - self.bar.n)
        elif time.monotonic() - self.said > LINE_EVERY:
            self.said = time.monotonic()
            left = max(self.total - frames, 0) / max(self.rate, 1e-9)
            line = (
                f"{clips:,} clips, {frames:,} of {self.total:,} frames, {self.rate:,.0f} frames/s, {left:,.0f} s left"
            )
            print(line, file=sys.stderr, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        if self.bar is not None:
            self.bar.close()
