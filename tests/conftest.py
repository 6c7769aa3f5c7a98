"""What the tests share."""

import contextlib
import fcntl
import os
import shutil
import struct
import subprocess
import sys
import termios
from pathlib import Path

import jaxtyping
import pytest
import torch

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]  # for `oracle` and `benchmarks`

# Shapes and dtypes that annotations promise are checked in these, in this process: see `core/shapes.py`.
CHECKED = ("stochvid.models", "stochvid.evaluation.metrics")
assert "stochvid" not in sys.modules
jaxtyping.install_import_hook(CHECKED, "beartyped.checked")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Leaves the checks out of tests that are marked `unchecked`."""
    jaxtyping.config.update("jaxtyping_disable", item.get_closest_marker("unchecked") is not None)
    return (yield)


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


CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
)  # fmt: skip


@pytest.fixture(scope="session")
def browser():
    path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    assert path, f"these tests need a browser, one of {', '.join(CHROMIUM)}: apt-get install chromium"
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=path, args=list(QUIET))
        yield opened
        opened.close()
