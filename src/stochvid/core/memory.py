"""How the C library hands out memory, and how much of it there is."""

import ctypes
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the command line calls this before it knows whether torch is needed
    import torch

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h
SWITCH = "STOCHVID_KEEP_MEMORY"  # an environment variable; 0: leave the C library as it is

GIB = 1 << 30
ROLLOUT = {"cpu": 1 * GIB, "cuda": 8 * GIB}  # rolling more futures at once makes nothing faster


def keep_freed_memory() -> bool:
    """Keeps memory that tensors leave behind, instead of giving it back to the system after every use.

    By default glibc maps every large block anew, and the system then clears it page by page, which can take as long as
    all arithmetic of a training step. The commands that compute call this when they begin; so may other programs on a
    CPU. A process keeps its highest use of memory then, and blocks may fit less closely.

    Returns:
        Whether it was done: on Linux with glibc, unless the environment says STOCHVID_KEEP_MEMORY=0.
    """
    if not sys.platform.startswith("linux") or os.environ.get(SWITCH) == "0":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt  # other C libraries have none
    except (OSError, AttributeError):
        return False
    return bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, -1))


def rollout_bytes(device: "torch.device") -> int:
    """About how much memory futures that are rolled together should take: at most a quarter of what is free."""
    most = ROLLOUT.get(device.type, GIB)
    if device.type == "cuda":
        import torch

        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # by torch, to be used again
        return min(most, (torch.cuda.mem_get_info(device)[0] + kept) // 4)
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")) * 1024
    except (OSError, StopIteration, ValueError):  # not Linux
        return most
    return min(most, free // 4)
