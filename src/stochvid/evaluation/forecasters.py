"""What is tested: a model, a baseline that needs no training, or futures that another tool has made.

Axes: `N` clips of the test, `B` of them, `S` samples, `T` time, `K` context, `C H W` image.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stochvid.core.clips import Clips
from stochvid.core.devices import DTYPES
from stochvid.core.errors import InputError
from stochvid.core.untrusted import check_archive, check_directory, check_frame, check_npy
from stochvid.evaluation.held_out import TestClips
from stochvid.inference.trained import Trained

BATCH = 100  # clips whose batch-norm statistics are taken together: the batch of the published code
MARGIN = 0.5  # values so little outside [0, 1] are clipped; farther, they are on another scale


class Forecaster(ABC):
    """Something that draws futures.

    Attributes:
        name: for tables.
        about: its identity, for the record.
        stochastic: whether its samples differ; if not, one is drawn.
        precision: in which it computes.
        clipped: how many values were outside [0, 1] so far, and clipped.
        batch_size: how many clips have to be drawn together; None: as many as is convenient.
    """

    name: str
    about: dict[str, Any]
    stochastic: bool = True
    precision: str = "fp32"
    clipped: int = 0
    batch_size: int | None = None

    @abstractmethod
    def draw(self, numbers: Sequence[int], clips: Clips, horizon: int, first: int, count: int) -> Tensor:
        """Samples first … first + count − 1 of clips.

        Args:
            numbers: which clips of the test they are.
            clips: what is given, (B, K, C, H, W) uint8, and the tracks of K + T frames.
            horizon: frames to predict, T.
            first: number of the first sample.
            count: samples to draw, S.

        Returns:
            (B, S, T, C, H, W) float32 in [0, 1], on the clips' device.
        """


class Model(Forecaster):
    """A trained model of any family.

    Args:
        trained: the model.
        seed: of the latents.
        precision: fp32 or bf16.
        compile: compile the steps of the future.
        batch_statistics: take batch-norm statistics of many clips together.
    """

    def __init__(
        self,
        trained: Trained,
        seed: int,
        precision: str,
        *,
        compile: bool = False,
        batch_statistics: bool = False,
    ):
        self.network = trained.network.for_inference(DTYPES[precision], compile, batch_statistics)
        self.seed, self.precision = seed, precision
        self.batch_size = BATCH if batch_statistics else None
        self.name, self.stochastic = trained.label, self.network.stochastic
        self.about = {"kind": "model", "path": trained.name, "sha256": trained.sha256()}
        self.about["prior"] = trained.config.prior_kind
        if batch_statistics:
            self.about["batch_statistics"] = True

    def draw(self, numbers: Sequence[int], clips: Clips, horizon: int, first: int, count: int) -> Tensor:
        """As `Forecaster.draw`; a future depends on what is given, the seed and the sample's number alone."""
        return self.network.predict(clips, horizon, count, self.seed, first_sample=first, chunk=count).frames


class Baseline(Forecaster):
    """copy-last: the last given frame stays. mean-of-context: the mean of the given frames stays.

    Args:
        name: one of `protocols.BASELINES`.
    """

    stochastic = False

    def __init__(self, name: str):
        self.name, self.about = name, {"kind": "baseline", "name": name}

    def draw(self, numbers: Sequence[int], clips: Clips, horizon: int, first: int, count: int) -> Tensor:
        """As `Forecaster.draw`."""
        frames = clips.frames.float() / 255
        still = frames[:, -1] if self.name == "copy-last" else frames.mean(1)
        return still[:, None, None].expand(-1, count, horizon, -1, -1, -1)


class Predictions(Forecaster):
    """Futures from a file: (N, S, T, H, W, C), uint8 or float in [0, 1].

    An `.npy` file holds that array and is read piece by piece. An `.npz` archive holds it as `predictions`, perhaps
    with the truth, and is read whole.

    Args:
        path: of the file.

    Attributes:
        shape: N, S, T, H, W, C.
        clips: the truth that the file holds, or None: `truth` (N, T, H, W, C), and `context` (N, K, H, W, C) if there.

    Raises:
        InputError: the file cannot be read, or its arrays are of another shape or dtype.
    """

    def __init__(self, path: str | Path):
        self.path, self.name = Path(path), Path(path).stem
        arrays = _load(self.path)
        self._array = arrays["predictions"]
        for name, array in arrays.items():
            self._check(name, array, 6 if name == "predictions" else 5)
        self.shape = self._array.shape
        self.stochastic = self.shape[1] > 1
        with open(self.path, "rb") as file:
            self.about = {"kind": "predictions", "path": str(path)}
            self.about["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
        self.clips = FileClips(self.path, arrays) if "truth" in arrays else None
        if "context" in arrays and self.clips is None:
            raise InputError(f"predictions {str(path)!r} has a 'context' but no 'truth'. Save both, or use --data.")

    def draw(self, numbers: Sequence[int], clips: Clips, horizon: int, first: int, count: int) -> Tensor:
        """As `Forecaster.draw`."""
        array = np.array(self._array[list(numbers), first : first + count, :horizon])
        if array.dtype == np.uint8:
            frames = torch.from_numpy(array).to(clips.frames.device).float() / 255
        else:
            finite = array[np.isfinite(array)]
            if len(finite) and (finite.min() < -MARGIN or finite.max() > 1 + MARGIN):
                raise InputError(
                    f"predictions {str(self.path)!r} have float values from {finite.min():.3g} to {finite.max():.3g}; "
                    "expected [0, 1]. Scale them, or save uint8."
                )
            self.clipped += int(((finite < 0) | (finite > 1)).sum())
            frames = torch.from_numpy(array.astype(np.float32)).to(clips.frames.device)
            frames = frames.clamp(0, 1).where(frames.isfinite(), torch.nan)
        return frames.permute(0, 1, 2, 5, 3, 4).contiguous()

    def _check(self, name: str, array: np.ndarray, axes: int) -> None:
        wanted = "(clips, samples, T, H, W, C)" if axes == 6 else "(clips, T, H, W, C)"
        if array.ndim != axes or 0 in array.shape:
            raise InputError(f"'{name}' in {str(self.path)!r} has shape {array.shape}; expected {wanted}.")
        check_frame(f"'{name}' in {str(self.path)!r}", array.shape[-2], array.shape[-3] * array.shape[-1])
        if array.dtype != np.uint8 and array.dtype.kind != "f":
            raise InputError(
                f"'{name}' in {str(self.path)!r} has dtype {array.dtype}; expected uint8 or float in [0, 1]."
            )


class FileClips(TestClips):
    """Clips whose truth came with the predictions.

    Attributes:
        context: frames of each before those that are predicted.
    """

    data_set = None

    def __init__(self, path: Path, arrays: dict[str, np.ndarray]):
        self.departures = []
        truth, shape = _as_bytes(path, "truth", arrays["truth"]), arrays["predictions"].shape
        if truth.shape != (shape[0], *shape[2:]):
            raise InputError(
                f"'truth' in {str(path)!r} has shape {truth.shape}; of these predictions, it must have "
                f"{(shape[0], *shape[2:])}."
            )
        self.context = 0
        if "context" in arrays:
            context = _as_bytes(path, "context", arrays["context"])
            if context.shape[0] != shape[0] or context.shape[2:] != shape[3:]:
                raise InputError(
                    f"'context' in {str(path)!r} has shape {context.shape}; expected {(shape[0], 'K', *shape[3:])}."
                )
            truth, self.context = np.concatenate([context, truth], axis=1), context.shape[1]
        self._frames, self.count = truth.transpose(0, 1, 4, 2, 3), len(truth)
        self.about = {"source": "predictions", "path": str(path)}

    def __str__(self) -> str:
        return f"the truth in {self.about['path']}, {self.count:,} clip(s)"

    def read(self, numbers: Sequence[int]) -> dict[str, np.ndarray]:
        return {"frames": np.ascontiguousarray(self._frames[list(numbers)])}


def _load(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise InputError(f"there are no predictions {str(path)!r}. Give an .npy or .npz file.")
    try:
        with open(path, "rb") as file:
            if file.peek(6).startswith(b"\x93NUMPY"):
                check_npy(file)
        check_directory(path)
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"predictions": loaded}
        with loaded:
            check_archive(loaded.zip, path)
            if "predictions" not in loaded.files:
                raise InputError(
                    f"predictions {str(path)!r} holds {', '.join(loaded.files[:6]) or 'nothing':.200}; name the array "
                    "'predictions' (and the true frames, if they are in the file, 'truth')."
                )
            return {name: loaded[name] for name in ("predictions", "truth", "context") if name in loaded.files}
    except InputError:
        raise
    except Exception as error:  # NumPy's and zip's readers raise nearly anything on broken files
        why = "it is neither" if "pickle" in str(error) else str(error) or type(error).__name__
        raise InputError(f"predictions {str(path)!r} cannot be read as .npy or .npz: {why:.150}.") from None


def _as_bytes(path: Path, name: str, array: np.ndarray) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
        raise InputError(
            f"'{name}' in {str(path)!r} has values outside [0, 1], or not finite. Scale it, or save uint8."
        )
    return np.round(array * 255).astype(np.uint8)
