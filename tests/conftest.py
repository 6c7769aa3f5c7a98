"""What the tests share."""

import contextlib
import fcntl
import os
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]  # for `oracle` and `benchmarks`

STOCHVID = [str(Path(sys.executable).parent / "stochvid")]  # the real entry point

MNIST = ROOT.parent / "shared" / "data" / "mnist"
needs_mnist = pytest.mark.skipif(
    not MNIST.is_dir(), reason="real MNIST is not here (looked in ../shared/data/mnist); the built-in digits are tested"
)

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 2)))


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
