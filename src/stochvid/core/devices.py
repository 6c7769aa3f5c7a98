"""Where and how precisely to compute."""

import os
import platform
import shutil
import sys
from importlib.util import find_spec
from typing import Literal

import torch

from stochvid.core.errors import InputError

Precision = Literal["fp32", "bf16"]
DTYPES: dict[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}


def pick_device(device: str) -> torch.device:
    """The device of `--device`: auto, cpu or cuda. On a GPU, fp32 convolutions do without TF32 from here on.

    Raises:
        InputError: it is cuda, and there is none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device is cuda, but torch finds no CUDA GPU here. Use --device auto or cpu.")
    place = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    if place.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False  # its 10 bits would let a future change with its batch mates
    return place


def pick_precision(precision: Literal["auto"] | Precision, device: torch.device) -> Precision:
    """What a precision of auto means on a device: bf16 where the hardware computes it, fp32 elsewhere.

    On a CPU without bf16 instructions, bf16 convolutions run 7 to 35 times slower than fp32 ones.
    """
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    # torch says that oneDNN "supports" bf16 where it emulates it, so ask for the instructions
    questions = (getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("avx512_bf16", "amx_tile"))
    return "bf16" if any(ask() for ask in questions if ask) else "fp32"


def prefer_speed(device: torch.device) -> None:
    """On a GPU, lets products use TF32, as torch lets convolutions anyway."""
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")


def check_compiler(device: torch.device, option: str) -> None:
    """Makes sure that `torch.compile` can work.

    Args:
        device: to compile for.
        option: that asked for it.

    Raises:
        InputError: it needs a C++ compiler for a CPU, or Triton for a GPU, and there is none.
    """
    if device.type == "cuda":
        missing = None if find_spec("triton") else "Triton"
    else:
        usual = {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
        compiler = os.environ.get("CXX", usual)
        missing = None if shutil.which(compiler) else f"a C++ compiler ({compiler})"
    if missing:
        raise InputError(f"{option} needs {missing}, and there is none. Install it, or leave {option} out.")


def machine(device: torch.device) -> str:
    """What it computes on, in a few words."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    isa = torch.backends.cpu.get_cpu_capability()
    amx = ", AMX" if getattr(torch.cpu, "_is_amx_tile_supported", bool)() else ""
    return f"{platform.machine()}, {torch.get_num_threads()} thread(s), {isa}{amx}, torch {torch.__version__}"
