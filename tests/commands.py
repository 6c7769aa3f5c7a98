"""The command, as people run it."""

import contextlib
import fcntl
import os
import struct
import subprocess
import sys
import termios
from pathlib import Path

STOCHVID = [str(Path(sys.executable).parent / "stochvid")]  # the real entry point


def in_terminal(words: list[str]) -> str:
    """The last line that a command writes to a terminal as its standard error; it must succeed."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 200, 0, 0))
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    written = b""
    with contextlib.suppress(OSError):  # how a terminal says that nobody writes to it any more
        while piece := os.read(ours, 65536):
            written += piece
    os.close(ours)
    assert process.wait(60) == 0, written.decode()
    return written.decode().replace("\r", "\n").strip().splitlines()[-1]
