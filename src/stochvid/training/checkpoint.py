"""Checkpoints of running training: written beside their place, flushed, renamed; read without unpickling objects."""

from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import CheckpointIO

from stochvid.core.errors import InputError
from stochvid.core.files import replacing
from stochvid.interop.torch_files import check_torch_file

NEEDED = {
    "state_dict": dict, "optimizer_states": list, "lr_schedulers": list, "loops": dict, "callbacks": dict,
    "global_step": int, "config": dict, "data": str, "log": dict,
}  # fmt: skip
FIRST_NAMES = ("loss", "mse", "kl")  # of a log that names none: there were no others


class AtomicCheckpointIO(CheckpointIO):
    """Lightning's way to disk. A checkpoint is there whole or not at all, and holds tensors and plain values only."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Writes to a temporary name in the same folder, flushes it to disk, then renames."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            try:
                torch.save(checkpoint, temporary)
            except RuntimeError as error:  # how torch says that the disk is full
                raise OSError(str(error).splitlines()[0]) from error

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Reads with torch's restricted unpickler, always.

        Raises:
            InputError: the file is broken or holds anything but tensors and plain values.
        """
        try:
            check_torch_file(path)
            checkpoint = torch.load(path, map_location=map_location, weights_only=True)
            missing = [name for name, kind in NEEDED.items() if not isinstance(checkpoint.get(name), kind)]
        except Exception as error:  # torch's reader raises nearly anything
            raise InputError(
                f"checkpoint {str(path)!r} is damaged, or holds more than tensors and plain values "
                f"({type(error).__name__})."
            ) from None
        if missing:
            raise InputError(f"{str(path)!r} is not a checkpoint of a training run: it has no {missing[0]!r}.")
        return checkpoint

    def remove_checkpoint(self, path: str | Path) -> None:
        """Deletes a checkpoint."""
        Path(path).unlink(missing_ok=True)


def check_log(log: dict[str, Any]) -> None:
    """Checks what `RunLog` put into a checkpoint; raises nearly anything if it is not as it should be."""
    step, loss = log["best"]
    sums, names = torch.tensor(log["sums"]), log.get("names", FIRST_NAMES)
    whole = sums.ndim == 2 and sums.shape[1] == len(names) + 1
    if not whole or {type(step), type(log["validated"])} != {int} or type(loss) is not float:
        raise ValueError(log)
