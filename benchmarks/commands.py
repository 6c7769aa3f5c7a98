"""How long a user waits for a command, from the start of the process."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.models import TINY
from benchmarks.race import Row, take_turns
from stochvid import SVG, SVGConfig
from stochvid.core.threads import SET_OUTSIDE

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


def threads(options) -> list[Row]:
    """`predict` with all threads, and with as many as it chooses: alone, and on a busy machine."""
    most, rows = os.cpu_count() or 1, []
    environment = {name: value for name, value in os.environ.items() if name not in SET_OUTSIDE}
    with tempfile.TemporaryDirectory() as folder:
        words = [STOCHVID, "predict", "two-digits", "moving-mnist:1", "--overwrite", "--device", "cpu"]
        words += ["--samples", "1" if options.tiny else "50", "--out", folder]
        contenders = {
            f"--threads {most}": (lambda: _seconds(*words, "--threads", str(most), env=environment), 1),
            "as it chooses": (lambda: _seconds(*words, env=environment), 1),
        }
        for others in (0, most):
            busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(others)]
            try:
                what = f"predict two-digits, beside {others} busy processes"
                rows += take_turns(what, "runs/s", contenders, options.rounds)
            finally:
                for process in busy:
                    process.kill()
                    process.wait()
    return rows


def _seconds(*words: str, env: dict[str, str] | None = None) -> float:
    begun = time.perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, env=env)
    return time.perf_counter() - begun
