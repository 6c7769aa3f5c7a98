"""Shared set-up: one thread per test process is plenty for these sizes, and two cores are all there may be."""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
torch.set_num_threads(2)
