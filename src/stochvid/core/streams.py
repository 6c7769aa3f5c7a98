"""Standard output and error that never stop the work: whoever reads them may leave, and a locale may lack letters."""

import codecs
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

PLAIN = "stochvid.plain"  # the error handler below
SPELLED = {
    "→": "->", "×": "x", "−": "-", "–": "-", "…": "...", "≤": "<=", "≥": ">=", "½": "1/2", "²": "^2", "·": "*",
    "σ": "sigma", "β": "beta", "μ": "mu", "∥": "||", "‖": "||", "₁": "1", "₂": "2", "∞": "inf",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'", "\N{NO-BREAK SPACE}": " ", "\N{THIN SPACE}": " ",
}  # fmt: skip


def spell_plainly(error: UnicodeError) -> tuple[str | bytes, int]:
    """An error handler of codecs: spells out the signs that we print, and escapes every other letter."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    if error.object[error.start] in SPELLED:
        return SPELLED[error.object[error.start]], error.start + 1
    one = UnicodeEncodeError(error.encoding, error.object, error.start, error.start + 1, error.reason)
    return codecs.backslashreplace_errors(one)


codecs.register_error(PLAIN, spell_plainly)


class _Lasting(io.FileIO):
    """A standard stream that goes on into nothing when its reader has gone, for C libraries and children, too."""

    def __init__(self, number: int):
        super().__init__(number, "wb", closefd=False)
        self.was_terminal = os.isatty(number)

    def write(self, data: "ReadableBuffer") -> int:
        """Writes, or drops what nobody can read any more."""
        try:
            return super().write(data)
        except ConnectionError:  # a pipe to `head`, a socket
            pass
        except OSError:
            if not self.was_terminal:  # a full disk is told; a terminal that was closed misses nothing
                raise
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
        return memoryview(data).nbytes


@contextmanager
def lasting_streams() -> Iterator[None]:
    """Standard output and error, within a `with` block, that take every letter and outlive their readers.

    Streams that somebody has put in their place, as a notebook does, only take every letter.

    Raises:
        OSError: at the end, what was written last could not be, as on a full disk.
    """
    _open_missing()
    before = {name: getattr(sys, name) for name in ("stdout", "stderr")}
    for name, stream in before.items():
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  (restored below)
        elif stream is getattr(sys, f"__{name}__") and isinstance(stream, io.TextIOWrapper):
            setattr(sys, name, _lasting(stream))
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=PLAIN)
    try:
        try:
            yield
        except SystemExit:  # of --help and --version, which have been said by then
            sys.stdout.flush()
            raise
        sys.stdout.flush()
    finally:
        for name, stream in before.items():
            current = getattr(sys, name)
            setattr(sys, name, stream)
            if current is not stream:
                _end(current)


def _open_missing() -> None:
    """Occupies the numbers of closed standard streams: a file of ours would get one, and then all that is said."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, this one


def _lasting(stream: io.TextIOWrapper) -> TextIO:
    stream.flush()
    raw = _Lasting(stream.fileno())
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=stream.encoding, errors=PLAIN, line_buffering=stream.line_buffering
    )


def _end(stream: TextIO) -> None:
    """Writes out what is left; it has been tried, and told, before."""
    with suppress(OSError, ValueError):
        stream.flush()
