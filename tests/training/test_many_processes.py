"""Two processes do what one does: the same gradients, the same scores, and a run that survives a kill."""

import json
import os
import subprocess
import sys

import pytest
import torch

from runs import outcome, tiny, write_config
from stochvid.training.train import train

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
# torchrun shares a store between restarts, whose old addresses a new process may read (pytorch issue 135712)
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}


def run(words: list[str], **options) -> str:
    done = subprocess.run(
        [str(word) for word in words], env=ENVIRONMENT, capture_output=True, text=True, timeout=500, **options
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


GRADIENTS = """
import sys, torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from stochvid import SVG, SVGConfig, TrainConfig
from stochvid.config import DataConfig
from stochvid.data.opening import open_clips
from stochvid.training.datamodule import _Steps, _add_noise
from stochvid.core.processes import ProcessGroup
from stochvid.training.objectives import WeightedTerms

class Loss(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model
    def forward(self, batch):
        return WeightedTerms(self.model.config.term_weights)(self.model, batch["clips"], batch["noise"])["loss"]

config = TrainConfig(SVGConfig(base_channels=4, g_dim=16, z_dim=4, rnn_size=16), DataConfig(batch_size=8))
torch.manual_seed(0)
model = SVG(config.model).to(getattr(torch, sys.argv[2])).eval()  # batch-norm with its running statistics
clips = open_clips(config.data, config.model, "train", config.model.frames, 0)
with ProcessGroup() as team:
    loss = Loss(model) if team.size == 1 else DistributedDataParallel(Loss(model))
    (indices,) = _Steps(0, 1, 8 // team.size, team.rank, team.size)
    batch = _add_noise(clips.__getitems__(indices), 0, config.model.frames - 1, (config.model.z_dim,))
    loss(batch).backward()
    if team.main:
        torch.save({name: p.grad for name, p in model.named_parameters()}, sys.argv[1])
    del loss  # before its process group
    if team.size > 1:
        distributed.barrier()
"""


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("float64", 1e-14)])
def test_a_batch_has_the_same_gradient_on_two_processes_as_on_one(tmp_path, dtype, tolerance):
    (tmp_path / "gradients.py").write_text(GRADIENTS)
    run([sys.executable, tmp_path / "gradients.py", tmp_path / "one.pt", dtype])
    run([*TORCHRUN, tmp_path / "gradients.py", tmp_path / "two.pt", dtype])
    one, two = (torch.load(tmp_path / name, weights_only=True) for name in ("one.pt", "two.pt"))
    norm, distance = (
        torch.cat([gradient.flatten() for gradient in gradients]).norm()
        for gradients in (one.values(), [one[name] - two[name] for name in one])
    )
    print(f"{dtype}: gradients of norm {norm:.4g} differ by {distance / norm:.3g} of it")
    assert 0 < distance <= tolerance * norm


@pytest.mark.slow
def test_two_processes_share_an_evaluation_and_find_the_same_numbers(tmp_path):
    train(tiny(2), tmp_path / "run")
    words = ["-m", "stochvid", "evaluate", tmp_path / "run", "--clips", 13, "--samples", 6, "--memory", 0.001]
    run([sys.executable, *words, "--out", tmp_path / "one"])
    text = run([*TORCHRUN, *words, "--out", tmp_path / "two"])
    assert text.count("samples: diversity") == 1, text  # one of them speaks
    one, two = (json.loads((tmp_path / name / "results.json").read_text()) for name in ("one", "two"))
    for results in (one, two):
        del results["made_by"]
    assert one == two
    assert len(two["clips"]) == 13


KILLED = """
import os, signal, sys
from stochvid.cli import main
from stochvid.training.module import Training
step = Training.optimizer_step
def until_killed(self, *args, **kwargs):
    number = self.global_step
    if os.environ["RANK"] == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0" and number == 11:
        os.kill(os.getpid(), signal.SIGKILL)
    step(self, *args, **kwargs)
    if os.environ["RANK"] == "0":
        with open(os.environ["STEPS"], "a") as file:
            file.write(f"{number}\\n")
Training.optimizer_step = until_killed
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_killed_process_is_restarted_and_the_run_ends_as_if_undisturbed(tmp_path, monkeypatch):
    config, steps = write_config(tmp_path / "config.yaml", 20, 3), tmp_path / "steps.txt"
    words = ["train", "--config", config, "--trainer.devices", 2, "--resume", "auto", "--out"]
    (tmp_path / "killed.py").write_text(KILLED)
    monkeypatch.setitem(ENVIRONMENT, "STEPS", str(steps))
    text = run([*TORCHRUN, "--max-restarts", "1", tmp_path / "killed.py", *words, tmp_path / "killed"])
    assert "4 clips a step = 2 processes × 2, learning rate 0.002" in text
    done = [int(line) for line in steps.read_text().split()]
    assert sorted(set(done)) == list(range(20))
    assert 0 < len(done) - 20 <= 3, done  # at most a checkpoint's interval was done again
    run([*TORCHRUN, "-m", "stochvid", *words, tmp_path / "whole"])
    assert outcome(tmp_path / "killed") == outcome(tmp_path / "whole")


@pytest.mark.slow
def test_processes_that_slurm_started_train_together(tmp_path):
    """SLURM itself is not here: its variables are, as `srun` sets them for two tasks on a node."""
    config = write_config(tmp_path / "config.yaml", 20, 3)
    words = [sys.executable, "-m", "stochvid", "train", "--config", str(config), "--trainer.devices", "2", "--out"]
    job = {"JOB_ID": "4711", "JOB_NAME": "svg", "NTASKS": "2", "NTASKS_PER_NODE": "2", "NODELIST": "localhost"}
    tasks = []
    for rank in range(2):
        task = job | {"PROCID": str(rank), "LOCALID": str(rank), "NODEID": "0"}
        environment = ENVIRONMENT | {f"SLURM_{name}": value for name, value in task.items()}
        tasks.append(subprocess.Popen([*words, str(tmp_path / "slurm")], env=environment, stdout=subprocess.PIPE))
    assert [task.communicate(timeout=300)[0].count(b"2 processes") for task in tasks] == [1, 0]
    assert [task.returncode for task in tasks] == [0, 0]
    run([*TORCHRUN, *words[1:], tmp_path / "torchrun"])
    assert outcome(tmp_path / "slurm") == outcome(tmp_path / "torchrun")


@pytest.mark.slow
def test_processes_whose_loss_is_no_number_any_more_end_together(tmp_path):
    config = tiny(6, optim={"lr": 1e30}, trainer={"devices": 2})
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    words = [sys.executable, "-m", "stochvid", "train", "--config", tmp_path / "config.yaml", "--out", tmp_path / "run"]
    done = subprocess.run(list(map(str, words)), env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
    said = done.stdout + done.stderr
    assert done.returncode not in (0, 143), said
    assert said.count("lower --optim.lr") == 1, said
    assert "Traceback" not in said, said
    assert not (tmp_path / "run" / "model").exists()
