"""Ctrl-C and SIGTERM. While training, the first asks to stop after the step, the second stops at once."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Self


class Interrupted(BaseException):
    """A signal that stopped the work where it was.

    Attributes:
        number: the signal.
        advice: how to go on, a sentence, or "".
    """

    def __init__(self, number: signal.Signals):
        super().__init__(number.name)
        self.number, self.advice = number, ""


@contextmanager
def advice(text: str) -> Iterator[None]:
    """Says how to go on with the work within a `with` block, where a signal stops it."""
    try:
        yield
    except Interrupted as error:
        error.advice = text
        raise


@contextmanager
def interruptible() -> Iterator[None]:
    """Turns SIGINT and SIGTERM within a `with` block into `Interrupted`, for work that may stop anywhere."""

    def stop(number: int, _: Any) -> None:
        raise Interrupted(signal.Signals(number))

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class StopSignals:
    """Notes SIGINT and SIGTERM within a `with` block.

    Attributes:
        received: the signal that asked to stop, or None.
    """

    NUMBERS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.getsignal(number) for number in self.NUMBERS}
            self.take_over()
        return self

    def __exit__(self, *_: Any) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def take_over(self) -> None:
        """Sets the handlers, once more after another library has set its own."""
        if self._previous:
            for number in self.NUMBERS:
                signal.signal(number, self._note)

    def _note(self, number: int, _: Any) -> None:
        if self.received is not None:
            raise Interrupted(signal.Signals(number))
        self.received = signal.Signals(number)
        text = f"\n{self.received.name}: stopping after this step, with a checkpoint; again: now.\n"
        with suppress(OSError):  # nobody may be there to read it
            os.write(2, text.encode())  # not through a stream: the signal may have come in the middle of a write to it
