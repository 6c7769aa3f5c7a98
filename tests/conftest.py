"""What pytest itself needs of the tests; what they share is in the modules beside this one."""

import os
import shutil
import sys

import jaxtyping
import pytest
import torch

# Shapes and dtypes that annotations promise are checked in these, in this process: see `core/shapes.py`.
CHECKED = ("stochvid.models", "stochvid.evaluation.metrics")
assert "stochvid" not in sys.modules
jaxtyping.install_import_hook(CHECKED, "beartyped.checked")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Leaves the checks out of tests that are marked `unchecked`."""
    jaxtyping.config.update("jaxtyping_disable", item.get_closest_marker("unchecked") is not None)
    return (yield)


torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 2)))

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
