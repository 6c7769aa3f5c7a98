"""The command, as people run it."""

import contextlib
import fcntl
import os
import struct
import sys
import termios
import threading
from pathlib import Path

from stochvid.cli import main

STOCHVID = [str(Path(sys.executable).parent / "stochvid")]  # the real entry point


def in_terminal(words: list[str]) -> str:
    """The last line that a command writes to a terminal as its standard error; it must succeed."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 200, 0, 0))
    pieces: list[bytes] = []

    def read() -> None:
        with contextlib.suppress(OSError):  # how a terminal says that nobody writes to it any more
            while piece := os.read(ours, 65536):
                pieces.append(piece)

    reader = threading.Thread(target=read)
    reader.start()
    with open(theirs, "w", encoding="utf-8") as terminal, contextlib.redirect_stderr(terminal):
        code = main(words)
    reader.join(60)
    os.close(ours)
    written = b"".join(pieces).decode()
    assert code == 0, written
    return written.replace("\r", "\n").strip().splitlines()[-1]
