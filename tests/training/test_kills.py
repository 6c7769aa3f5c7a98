"""A run that is killed anywhere, and continued, is the run that was never killed: weights, averages and metrics."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from commands import STOCHVID
from runs import outcome, write_config
from stochvid.cli import main
from stochvid.core.files import LEFTOVER
from stochvid.training.runs import Run

KILLS = 30
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}  # as many threads in every process: sums depend on it


def command(config: Path, out: Path) -> list[str]:
    return [*STOCHVID, "train", "--config", str(config), "--out", str(out), "--resume", "auto"]


KILLED_IN_WRITING = """
import os, signal, sys, torch
from stochvid.cli import main
save = torch.save
def half(checkpoint, path):
    save(checkpoint, path)
    if "step-00000012" in str(path):
        os.truncate(path, os.path.getsize(path) // 2)
        os.kill(os.getpid(), signal.SIGKILL)
torch.save = half
main(sys.argv[1:])
"""


def test_a_run_killed_while_it_writes_a_checkpoint_continues_exactly(tmp_path):
    """And in the middle of a line of metrics: the checkpoint at step 9 holds two steps of the line of step 14."""
    words = command(write_config(tmp_path / "config.yaml", 20, 3), tmp_path / "run")[1:]
    same = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    process = subprocess.run([sys.executable, "-c", KILLED_IN_WRITING, *words], env=same, capture_output=True)
    assert process.returncode == -signal.SIGKILL, process.stderr
    checkpoints = tmp_path / "run" / "checkpoints"
    assert len(list(checkpoints.glob(".step-00000012.*.ckpt"))) == 1
    assert Run(tmp_path / "run").checkpoints()[-1].name == "step-00000009.ckpt"
    for run in ("run", "whole"):
        assert main(command(tmp_path / "config.yaml", tmp_path / run)[1:]) == 0
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


@pytest.mark.slow
def test_thirty_kills_at_random_moments_change_nothing(tmp_path):
    """With a checkpoint at every step, so that many a kill hits one that is being written."""
    config, out = write_config(tmp_path / "config.yaml", 1200, 1), tmp_path / "killed"
    subprocess.run(command(config, tmp_path / "whole"), env=ENVIRONMENT, check=True, capture_output=True, timeout=600)
    moments, in_writing, steps = random.Random(0), 0, []
    for kill in range(KILLS):
        with subprocess.Popen(command(config, out), env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as process:
            for line in process.stderr:
                if line.startswith("step "):  # training goes on; to start takes ten times as long
                    break
            time.sleep(moments.uniform(0, 0.3))
            process.kill()
            assert process.wait() == -signal.SIGKILL, f"done after {kill} kills: the run is too short"
        steps.append(Run(out).checkpoints()[-1].name)
        in_writing += any(LEFTOVER.fullmatch(path.name) for path in out.rglob(".*"))
    subprocess.run(command(config, out), env=ENVIRONMENT, check=True, capture_output=True, timeout=600)
    assert outcome(out) == outcome(tmp_path / "whole")
    print(f"{KILLS} kills, {in_writing} of them in writing, after {', '.join(steps)}")
    print({name: value for name, value in outcome(out).items() if isinstance(value, str)})
