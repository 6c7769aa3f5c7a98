"""Short runs of training, and what they leave."""

import csv
import hashlib
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file

from stochvid import DataConfig, OptimConfig, SVGConfig, TrainConfig, TrainerConfig
from stochvid.cli import main
from stochvid.config import AdversarialConfig, LossConfig
from stochvid.training.runs import Run

SIZES = [  # a run of a second or two, on the command line
    *("--model.image_size", "32", "--model.base_channels", "2", "--model.g_dim", "6", "--model.z_dim", "2"),
    *("--model.rnn_size", "6", "--model.context", "3", "--model.horizon", "2"),
    *("--data.num_digits", "1", "--data.batch_size", "4", "--data.val_clips", "4"),
    *("--trainer.device", "cpu", "--trainer.log_every", "2"),
    *("--trainer.validate_every", "4", "--trainer.checkpoint_every", "2", "--trainer.rollout_clips", "0"),
]


def tiny(steps=6, seed=0, **groups) -> TrainConfig:
    """A run of a second or two."""
    model = {"image_size": 32, "base_channels": 2, "g_dim": 6, "z_dim": 2, "rnn_size": 6, "context": 2, "horizon": 2}
    trainer = {"max_steps": steps, "seed": seed, "log_every": 1, "validate_every": 4, "checkpoint_every": 2}
    return TrainConfig(
        SVGConfig(**model | groups.get("model", {})),
        DataConfig(**{"num_digits": 1, "batch_size": 4, "val_clips": 6} | groups.get("data", {})),
        OptimConfig(**groups.get("optim", {})),
        TrainerConfig(**trainer | {"device": "cpu", "sample_clips": 1, "rollout_clips": 0} | groups.get("trainer", {})),
        LossConfig(**groups.get("loss", {})),
        AdversarialConfig(**groups.get("adversarial", {})),
    )


def write_config(path: Path, steps: int, checkpoint_every: int) -> Path:
    """A run in which lines of metrics, checkpoints and validations fall on different steps."""
    each = {"log_every": 7, "validate_every": 15, "checkpoint_every": checkpoint_every}
    config = tiny(steps, optim={"ema": 0.9, "warmup_steps": 3, "decay": "cosine", "clip_norm": 1.0}, trainer=each)
    path.write_text(config.to_yaml())
    return path


def rows(folder: Path, split: str) -> list[dict[str, str]]:
    """The metrics of a run, of training or of validation."""
    with open(folder / "metrics.csv", newline="") as file:
        return [row for row in csv.DictReader(file) if row["split"] == split]


def goes_on_exactly(run: Path, copy: Path, last: int) -> bool:
    """Whether a copy of a finished run without its model and its last checkpoint ends as the run did."""
    shutil.copytree(run, copy)
    Run(copy).checkpoint_at(last).unlink()
    shutil.rmtree(copy / "model")
    return main(["train", "--resume", str(copy)]) == 0 and same_weights(run, copy)


def same_weights(a: Path, b: Path) -> bool:
    """Whether two runs ended with the same model, to the bit."""
    one, two = (load_file(folder / "model" / "model.safetensors") for folder in (a, b))
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def outcome(run: Path) -> dict[str, object]:
    """Everything that a run leaves that could tell it from another: hashes of weights and states, and the metrics."""
    last = torch.load(Run(run).checkpoints()[-1], weights_only=True)
    hashes = {name: hashlib.sha256() for name in ("weights and averages", "optimiser")}
    for name, tensor in last["state_dict"].items():
        hashes["weights and averages"].update(name.encode() + tensor.numpy().tobytes())
    for number, state in last["optimizer_states"][0]["state"].items():
        for name, tensor in state.items():
            hashes["optimiser"].update(f"{number} {name}".encode() + tensor.numpy().tobytes())
    found = {name: value.hexdigest() for name, value in hashes.items()}
    for name in ("model", "best"):
        found[name] = hashlib.sha256((run / name / "model.safetensors").read_bytes()).hexdigest()
    with open(run / "metrics.csv", newline="") as file:
        found["metrics"] = [{k: v for k, v in row.items() if k != "clips_per_s"} for row in csv.DictReader(file)]
    found["files"] = sorted(str(path.relative_to(run)) for path in run.rglob("*") if "tensorboard" not in path.parts)
    drawn = {f"step-{int(row['step']):08d}" for row in found["metrics"] if row["split"] == "val"} | {"step-00000000"}
    after_a_minute = [path for path in found["files"] if path.startswith("samples/") and Path(path).stem not in drawn]
    found["files"] = [path for path in found["files"] if path not in after_a_minute]  # the clock says at which step
    return found
