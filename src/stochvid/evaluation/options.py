"""What `evaluate`, `compare`, `uncertainty`, `doctor` and `card` take. Imports no torch."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from stochvid.command_options import DATA, MODEL, DeviceOptions, DrawingOptions, Options, argument, option
from stochvid.core.errors import InputError
from stochvid.evaluation.protocols import BASELINES, CLIPS, PROTOCOLS, SAMPLES, find_protocol

MOST_HORIZON = 100_000  # of --horizons
EVENT_CLIPS = 400  # of `uncertainty`, unless told otherwise


@dataclass
class EvaluateOptions(DrawingOptions):
    """What `stochvid evaluate` takes."""

    model: str | Path | None = argument(f"{MODEL}; or {' or '.join(BASELINES)}", None)
    out: str | Path | None = option(None, "folder of the results (default: evaluations/NAME)")
    _: KW_ONLY
    data: str | Path | None = option(None, DATA)
    predictions: str | Path | None = option(
        None,
        "futures of another tool: .npy (clips, samples, T, H, W, C), uint8 or float in [0, 1]; or .npz with "
        "predictions, truth and context",
        metavar="FILE",
    )
    protocol: str = option("srvp2020", " or ".join(PROTOCOLS))
    samples: int | None = option(None, f"futures of each clip (default: {SAMPLES}, or all of the file)", least=1)
    clips: int | None = option(
        None, f"how many, or all if there are fewer (default: {CLIPS}, or all of the file)", least=1
    )
    context: int | None = option(
        None, "frames to give (default: the protocol's for that data, else as trained)", least=1
    )
    horizon: int | None = option(None, "frames to predict (default: the protocol's, else twice as trained)", least=1)
    horizons: str | None = option(
        None,
        "a table of how good the 1st, 10th, … predicted frame is; the largest is the horizon",
        metavar="1,10,100",
    )
    seed: int = option(0, "of the futures")
    lpips_weights: str | Path | None = option(
        None, "AlexNet's weights and the LPIPS heads; adds LPIPS", metavar="FOLDER"
    )
    fvd_weights: str | Path | None = option(None, "an I3D network as TorchScript; adds FVD", metavar="FILE")
    mnist: str | Path | None = option(None, "folder of MNIST's IDX files (default: as trained)")
    name: str | None = option(None, "name in tables and plots (default: the run's)")
    memory: float | None = option(
        None, "memory for samples drawn at once (default: 0.5, on a GPU 4)", metavar="GIB", above=0
    )
    resume: bool = option(False, "continue an evaluation that was stopped")
    overwrite: bool = option(False, "replace earlier results")

    def check(self) -> None:
        """Checks that there is something to test, by a protocol that there is."""
        super().check()
        find_protocol(self.protocol)
        if (self.model is None) == (self.predictions is None):
            raise InputError(f"give either a model (a run, a baseline: {', '.join(BASELINES)}) or --predictions FILE.")
        if self.places and self.horizon not in (None, self.places[-1]):
            raise InputError(f"--horizons ends at {self.places[-1]}, --horizon is {self.horizon}. Leave out --horizon.")

    @property
    def places(self) -> tuple[int, ...]:
        """The predicted frames that `horizons` names, counted from 1.

        Raises:
            InputError: it is no list of them.
        """
        parts = [] if self.horizons is None else [part.strip() for part in self.horizons.split(",")]
        if not all(part.isdecimal() and len(part) < 7 and 0 < int(part) <= MOST_HORIZON for part in parts):
            raise InputError(
                f"--horizons must be numbers of predicted frames from 1 to {MOST_HORIZON:,}, with commas between them, "
                f"as 1,10,100; got {self.horizons!r:.80}."
            )
        return tuple(sorted({int(part) for part in parts}))

    @property
    def tested(self) -> str:
        """What is tested: a model or a baseline, or the name of the file of predictions."""
        return Path(self.predictions).stem if self.predictions is not None else str(self.model)


@dataclass
class CompareOptions(Options):
    """What `stochvid compare` takes."""

    runs: Sequence[str | Path] = argument("folders that stochvid evaluate made", metavar="RUN")
    out: str | Path = option("comparison", "folder for comparison.csv and .png")
    _: KW_ONLY
    overwrite: bool = option(False, "replace an earlier comparison")


@dataclass
class UncertaintyOptions(DeviceOptions):
    """What `stochvid uncertainty` takes."""

    model: str | Path = argument(f"{MODEL}; with a learned prior")
    out: str | Path | None = option(None, "folder of the results (default: uncertainty/NAME)")
    _: KW_ONLY
    data: str | Path | None = option(None, DATA)
    mnist: str | Path | None = option(None, "folder of MNIST's IDX files (default: as trained)")
    clips: int | None = option(None, f"how many, or all if there are fewer (default: {EVENT_CLIPS})", least=2)
    length: int | None = option(None, "frames of a clip (default: the context and twice the horizon of training)")
    seed: int = option(0, "of the bootstrap")
    overwrite: bool = option(False, "replace earlier results")


@dataclass
class DoctorOptions(DeviceOptions):
    """What `stochvid doctor` takes."""

    model: str | Path = argument(MODEL)
    _: KW_ONLY
    data: str | Path | None = option(None, DATA)
    mnist: str | Path | None = option(None, "folder of MNIST's IDX files (default: as trained)")


@dataclass
class CardOptions(Options):
    """What `stochvid card` takes."""

    model: str | Path = argument("the folder of a run or of a model")
    evaluations: Sequence[str | Path] = argument("folders that stochvid evaluate made of it", metavar="EVALUATION")
