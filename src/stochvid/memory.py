"""How the C library hands out memory."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def keep_freed_memory() -> bool:
    """Keeps memory that tensors leave behind, instead of giving it back to the system after every use.

    By default glibc maps every large block anew, and the system then clears it page by page, which takes longer than
    much of the arithmetic on it. `stochvid evaluate` calls this when it begins; so may other programs on a CPU.
    A process keeps its highest use of memory then, but does not use more.

    Returns:
        Whether it was done: on Linux with glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt  # other C libraries have none
    except (OSError, AttributeError):
        return False
    return bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, -1))
