"""What the tests share."""

import sys
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

torch.set_num_threads(2)
