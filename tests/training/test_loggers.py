"""The tools that a run is logged in, beside metrics.csv: their own files say what came there."""

import json
import sys

import pytest

from runs import tiny
from stochvid import InputError
from stochvid.training.runs import read_metrics
from stochvid.training.train import train


def quiet(monkeypatch, tmp_path):
    """Nothing goes to a network, or into the home of whoever tests."""
    for name, value in {
        "WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_DIR": str(tmp_path), "HOME": str(tmp_path),
        "WANDB_CACHE_DIR": str(tmp_path / "cache"), "WANDB_CONFIG_DIR": str(tmp_path / "config"),
        "MLFLOW_TRACKING_URI": (tmp_path / "mlruns").as_uri(), "MLFLOW_ALLOW_FILE_STORE": "true",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)


def test_mlflow_has_every_number_and_goes_on_in_the_same_run(monkeypatch, tmp_path):
    quiet(monkeypatch, tmp_path)
    run, numbers = tmp_path / "run", {"logger": "mlflow", "validate_every": 2, "log_every": 1, "rollout_clips": 1}
    train(tiny(2, trainer=numbers), run)
    called = json.loads((run / "logger.json").read_text())
    train(tiny(4, trainer=numbers), run, resume=True)
    assert json.loads((run / "logger.json").read_text()) == called

    from mlflow import MlflowClient

    client = MlflowClient()
    logged = client.get_run(called["id"])
    assert logged.data.params["model/z_dim"] == "2"
    for split in ("train", "val"):
        rows = [row for row in read_metrics(run / "metrics.csv") if row["split"] == split]
        for name in ("loss", "mse", "kl", *(("crps", "psnr_best") if split == "val" else ("lr",))):
            history = {point.step: point.value for point in client.get_metric_history(called["id"], f"{split}/{name}")}
            assert history == pytest.approx({int(row["step"]): float(row[name]) for row in rows}, rel=1e-5), name
    pictures = {item.path for item in client.list_artifacts(called["id"], "samples")}
    assert {"samples/step-00000000.png", "samples/step-00000002.png", "samples/step-00000004.png"} == pictures


def test_wandb_has_numbers_and_pictures(monkeypatch, tmp_path):
    quiet(monkeypatch, tmp_path)
    run = tmp_path / "run"
    train(tiny(2, trainer={"logger": "wandb", "validate_every": 2, "log_every": 1, "rollout_clips": 1}), run)
    called = json.loads((run / "logger.json").read_text())
    (folder,) = (run / "wandb").glob("offline-run-*")
    assert folder.name.endswith(called["id"])
    assert len(list((folder / "files" / "media" / "images").rglob("*.png"))) == 2
    (record,) = folder.glob("*.wandb")
    written = record.read_bytes()
    for name in (b"train/loss", b"val/crps", b"val/psnr_best"):
        assert name in written


def test_a_logger_that_is_not_there_is_named_before_training(monkeypatch, tmp_path):
    for module in ("mlflow", "lightning.pytorch.loggers.mlflow"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr("stochvid.training.loggers.MLFlowLogger", _absent, raising=False)
    with pytest.raises(InputError, match=r"pip install 'stochvid\[mlflow\]'"):
        train(tiny(2, trainer={"logger": "mlflow"}), tmp_path / "run")


def _absent(*_, **__):
    raise ModuleNotFoundError("mlflow")
