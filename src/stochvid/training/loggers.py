"""Loggers of other tools, beside `metrics.csv` and TensorBoard: Weights & Biases, and MLflow.

Both are Lightning's, and are told where to log by their own environment variables (`WANDB_MODE`, `WANDB_PROJECT`,
`MLFLOW_TRACKING_URI`, …).
"""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import MLFlowLogger, WandbLogger

from stochvid.config import TrainConfig
from stochvid.core.errors import InputError
from stochvid.core.files import replacing
from stochvid.core.untrusted import read_json, shown
from stochvid.training.runs import LOGGED_AS

PROJECT = "stochvid"


class OtherLogger:
    """A run in another tool.

    Args:
        config: of the run; `trainer.logger` says which tool.
        folder: of the run.
        goes_on: whether the run is continued.

    Raises:
        InputError: the tool is not installed, or refuses.
    """

    def __init__(self, config: TrainConfig, folder: Path, goes_on: bool):
        self.kind, known = config.trainer.logger, _known(folder / LOGGED_AS, config.trainer.logger) if goes_on else None
        try:
            self._logger = self._open(folder, known)
            if not goes_on:  # a longer end is no other run, but MLflow takes no setting twice
                self._logger.log_hyperparams(dataclasses.asdict(config))
            called = self._logger.version
        except ModuleNotFoundError:
            raise InputError(
                f"trainer.logger is {self.kind!r}, which is not installed. Run: pip install 'stochvid[{self.kind}]'."
            ) from None
        except Exception as error:  # of its server, its files, its login: they have no common class
            why = " ".join(str(error).split())
            raise InputError(f"trainer.logger {self.kind!r} cannot log: {why:.300}") from None
        with replacing(folder / LOGGED_AS) as path:
            path.write_text(json.dumps({"logger": self.kind, "id": called}), encoding="utf-8")

    def scalars(self, values: dict[str, float], step: int) -> None:
        """Logs numbers of a step."""
        self._logger.log_metrics(values, step)

    def picture(self, name: str, path: Path, step: int) -> None:
        """Logs a PNG of a step."""
        if isinstance(self._logger, WandbLogger):
            self._logger.log_image(name, [str(path)], step=step)
        else:
            self._logger.experiment.log_artifact(self._logger.run_id, str(path), name)

    def close(self) -> None:
        """Ends the run there."""
        if isinstance(self._logger, WandbLogger):
            self._logger.experiment.finish()
        self._logger.finalize("success")

    def _open(self, folder: Path, known: str | None) -> WandbLogger | MLFlowLogger:
        name = folder.resolve().name
        if self.kind == "wandb":
            project = os.environ.get("WANDB_PROJECT", PROJECT)
            logger = WandbLogger(name=name, save_dir=folder, id=known, project=project, resume="allow")
            logger.experiment  # noqa: B018  (it begins the run)
            return logger
        experiment, place = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT), os.environ.get("MLFLOW_TRACKING_URI")
        return MLFlowLogger(experiment_name=experiment, run_name=name, tracking_uri=place, run_id=known)


def _known(path: Path, kind: str | None) -> str | None:
    """What a tool called the run before; None where it did not have it."""
    try:
        values: Any = read_json(path)
        if values["logger"] != kind:
            return None
        if not isinstance(values["id"], str):
            raise ValueError(shown(values))
        return values["id"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise InputError(f"{str(path)!r} is not as it should be: {error!s:.100}. Delete it to log anew.") from None
