"""Where things are that tests need: this repository, what earlier versions made, real MNIST."""

from pathlib import Path

import pytest

TESTS = Path(__file__).parent
ROOT = TESTS.parent
EARLIER = TESTS / "earlier_versions"  # by the commands of those versions; nothing here makes it again

MNIST = ROOT.parent / "shared" / "data" / "mnist"
needs_mnist = pytest.mark.skipif(
    not MNIST.is_dir(), reason="real MNIST is not here (looked in ../shared/data/mnist); the built-in digits are tested"
)
