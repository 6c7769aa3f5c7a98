"""How long a user waits for a command, from the start of the process."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.models import TINY
from benchmarks.race import Row, take_turns
from stochvid import SVG, SVGConfig

STOCHVID = str(Path(sys.executable).with_name("stochvid"))


def commands(options) -> list[Row]:
    """`--help`, and `predict` until its results are there: 5 futures of 20 frames, GIF, MP4, figures and arrays."""
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        SVG(SVGConfig(**TINY) if options.tiny else SVGConfig()).save_pretrained(f"{folder}/model")
        numbers = iter(range(10**6))

        def predict() -> float:
            out = Path(folder) / f"futures-{next(numbers)}"
            seconds = _seconds(STOCHVID, "predict", f"{folder}/model", "moving-mnist:1", "--out", str(out))
            if not (out / "moving-mnist-1" / "futures.gif").is_file():
                raise SystemExit("benchmark: stochvid predict left no GIF.")
            return seconds

        contenders = {
            "python -c 'import torch'": (lambda: _seconds(sys.executable, "-c", "import torch"), 1),
            "stochvid --help": (lambda: _seconds(STOCHVID, "--help"), 1),
            "stochvid predict, DCGAN-64, to its files": (predict, 1),
        }
        return take_turns("from process start", "runs/s", contenders, options.rounds)


def _seconds(*words: str) -> float:
    begun = time.perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun
