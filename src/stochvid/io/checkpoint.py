"""Checkpoints of running training: written beside their place, flushed, renamed; read without unpickling objects."""

import pickle
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import CheckpointIO

from stochvid.errors import InputError
from stochvid.files import replacing


class AtomicCheckpointIO(CheckpointIO):
    """Lightning's way to disk. A checkpoint is there whole or not at all, and holds tensors and plain values only."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Writes to a temporary name in the same folder, flushes it to disk, then renames."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            torch.save(checkpoint, temporary)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Reads with torch's restricted unpickler, always.

        Raises:
            InputError: the file is broken or holds anything but tensors and plain values.
        """
        try:
            return torch.load(path, map_location=map_location, weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, ValueError, KeyError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(f"checkpoint {str(path)!r} cannot be read: {reason}") from None

    def remove_checkpoint(self, path: str | Path) -> None:
        """Deletes a checkpoint."""
        Path(path).unlink(missing_ok=True)
