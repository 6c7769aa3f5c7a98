"""How far long work is: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from typing import Any, Self

from tqdm import tqdm

LINE_EVERY = 10.0  # seconds


def duration(seconds: float) -> str:
    """How long something takes, as people say it: 50 s, 12 min, 3.4 h."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"


class Progress:
    """What is done, how fast, and the time that is left, on standard error.

    Args:
        total: how much there will be, about.
        unit: what is counted, in the plural.
        done: of it, what was there before.
    """

    def __init__(self, total: int, unit: str, done: int = 0):
        self.total, self.unit, self.before, self.done = total, unit, done, done
        self.began = self.said = time.monotonic()
        self.bar, self.lines = None, 0
        if sys.stderr.isatty():
            self.bar = tqdm(total=total, initial=done, unit=f" {unit}", dynamic_ncols=True)

    @property
    def rate(self) -> float:
        """How much a second since the beginning."""
        return (self.done - self.before) / max(time.monotonic() - self.began, 1e-9)

    def show(self, done: int, note: str = "") -> None:
        """Shows how much there is by now, and a word on it."""
        self.done = done
        if self.bar is not None:
            self.bar.total = max(self.total, done)
            self.bar.set_postfix_str(note, refresh=False)
            self.bar.update(done - self.bar.n)
        else:
            left = max(self.total - done, 0) / max(self.rate, 1e-9)
            begins = not self.lines and done > self.before and left > LINE_EVERY  # how long it takes, as soon as known
            if not begins and time.monotonic() - self.said <= LINE_EVERY:
                return
            self.said, self.lines = time.monotonic(), self.lines + 1
            rate = f"{self.rate:,.0f}" if self.rate >= 100 else f"{self.rate:.3g}"
            note = f"{note}, " if note else ""
            line = f"{note}{done:,} of {self.total:,} {self.unit}, {rate} {self.unit}/s, {duration(left)} left"
            print(line, file=sys.stderr, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        if self.bar is not None:
            self.bar.close()
