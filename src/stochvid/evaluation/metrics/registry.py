"""The metrics, an entry each: all that scores, results, tables, comparisons and plots know of them.

Imports no torch: the functions do, when they are called. Axes as in `Forecast`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from stochvid.evaluation.metrics.pooling import beside_truth, mean_over_clips, rank_histogram, ratio_over_clips

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from stochvid.evaluation.metrics.forecast import Forecast

Kind = Literal["frame", "average", "samples", "clips"]

HIGHEST_PSNR = 100.0  # dB; equal frames have infinitely many, which no mean survives


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric: how it is computed, and how it is told.

    Four kinds, by what `function` gives of a `Forecast`:

    - frame: (S, T), of each frame of each sample. It counts for the best, the mean and the worst sample.
    - average: (S, T) likewise, of which only the mean over all samples counts.
    - samples: (T,), of all samples together (the first 100 at most).
    - clips: (2, D), features of the true video and of one random sample, of which `pool` makes one number of all clips.

    Attributes:
        name: in files.
        label: in tables and plots; empty: it is in files only.
        digits: after the decimal point; None: four significant ones.
        higher_is_better: None: neither is. Not of kind frame, which has a best sample.
        kind: frame, average, samples or clips.
        function: computes it; one tensor, or, with `parts`, as many as those.
        parts: names under which a clip's values are kept, if they are not one tensor of the metric's own name.
        pool: makes the result of the clips' values, one argument for each part (of kind clips: features of the truth,
            of the samples). Not used of kind frame.
        describe: what the table of one evaluation says of it, of `results["samples"]` and the number of samples drawn,
            None: nothing. Left out: label and mean. Of kinds average and samples.
        track: that clips must have, or it is left out; None: none.
        load: makes the network that it needs of the user's weights and a device; it has an `identity`. None: it needs
            none.
    """

    name: str
    label: str
    digits: int | None
    higher_is_better: bool | None
    kind: Kind
    function: Callable[[Forecast], Any]
    parts: tuple[str, ...] = ()
    pool: Callable[..., dict[str, Any]] = mean_over_clips
    describe: Callable[[dict[str, Any], int], str | None] | None = None
    track: str | None = None
    load: Callable[[Any, torch.device], Any] | None = None

    def __post_init__(self) -> None:
        if self.kind == "frame" and self.higher_is_better is None:
            raise ValueError(f"metric {self.name!r} of kind frame must say which sample is the best: higher_is_better")

    @property
    def title(self) -> str:
        """Label and an arrow to where the better values are."""
        return self.label if self.higher_is_better is None else f"{self.label} {'↑' if self.higher_is_better else '↓'}"

    @property
    def kept(self) -> tuple[str, ...]:
        """Fields of a clip's record that hold its values."""
        return self.parts or (self.name,)

    def values(self, forecast: Forecast) -> dict[str, Tensor]:
        """Its values of samples of a clip, by the names of `kept`."""
        result = self.function(forecast)
        return dict(zip(self.kept, result if self.parts else (result,), strict=True))

    def number(self, value: float | None, sign: bool = False) -> str:
        """A value with as many digits as it has, or a dash."""
        form = ".4g" if self.digits is None else f".{self.digits}f"
        return "–" if value is None else f"{value:{'+' if sign else ''}{form}}"


def of_kind(*kinds: Kind, among: Iterable[Metric] | None = None) -> list[Metric]:
    """Metrics of these kinds, in the order of their entries."""
    return [metric for metric in (METRICS.values() if among is None else among) if metric.kind in kinds]


def mean_of(samples: dict[str, Any], name: str) -> str:
    """The mean of a metric of all samples as it is told, or a dash."""
    return METRICS[name].number(samples.get(name, {}).get("mean"))


def _psnr(forecast: Forecast) -> Tensor:
    return (-10 * forecast.squared_error.log10()).clamp(max=HIGHEST_PSNR).mean(-1)


def _ssim(forecast: Forecast) -> Tensor:
    from stochvid.evaluation.metrics.frames import ssim

    rules = forecast.protocol
    return ssim(
        forecast.samples[None],
        forecast.truth[None],
        window=rules.window,
        sample_covariance=rules.sample_covariance,
        data_range=rules.data_range,
    )[0].mean(-1)


def _lpips(forecast: Forecast) -> Tensor:
    return forecast.networks["lpips"](forecast.samples[None], forecast.truth[None])[0]


def _load_lpips(folder: Any, device: torch.device) -> Any:
    from stochvid.evaluation.metrics.lpips import LPIPS

    return LPIPS.from_folder(folder).to(device)


def _mse(forecast: Forecast) -> Tensor:
    return forecast.squared_error.mean(-1)


def _cross_entropy(forecast: Forecast) -> Tensor:
    """Shi et al. 2015, section 4.1: truth and prediction are probabilities of a lit pixel, which costs 100 at most."""
    truth, drawn = forecast.truth, forecast.samples.clamp(0, 1)
    lit, dark = (p.log().clamp(min=-100) for p in (drawn, 1 - drawn))
    return -(truth * lit + (1 - truth) * dark).sum((-1, -2, -3))


def _gradients(forecast: Forecast) -> tuple[Tensor, Tensor]:
    from stochvid.evaluation.metrics.samples import gradient_energy

    made = gradient_energy(forecast.samples)
    return made, gradient_energy(forecast.truth).expand_as(made)


def _diversity(forecast: Forecast) -> Tensor:
    from stochvid.evaluation.metrics.samples import diversity

    return diversity(forecast.samples)


def _crps(forecast: Forecast) -> Tensor:
    from stochvid.evaluation.metrics.samples import crps

    return crps(forecast.samples, forecast.truth)


def _ranks(forecast: Forecast) -> tuple[Tensor, Tensor]:
    from stochvid.evaluation.metrics.samples import ranks

    return ranks(forecast.samples, forecast.truth)


def _identity(forecast: Forecast) -> tuple[Tensor, Tensor]:
    from stochvid.evaluation.metrics.identity import identity, images_in

    images = images_in(forecast.known, forecast.tracks["boxes"])
    made = identity(forecast.samples, images)
    return made, identity(forecast.truth[None], images).expand_as(made)


def _directions(forecast: Forecast) -> tuple[Tensor, Tensor]:
    from stochvid.evaluation.metrics.directions import directions
    from stochvid.evaluation.metrics.identity import images_in

    boxes = forecast.tracks["boxes"]
    bounces = forecast.tracks.get("digit_bounces")
    if bounces is None:  # things that go where they like
        bounces = boxes.new_zeros(boxes.shape[:2]).bool()
    return directions(forecast.samples, images_in(forecast.known, boxes), boxes, bounces)


def _pooled_directions(made: Any, true: Any) -> dict[str, Any]:
    from stochvid.evaluation.metrics.directions import pooled

    return pooled(made, true)


def _i3d_features(forecast: Forecast) -> Any:
    return forecast.networks["fvd"](forecast.videos())


def _fvd(truths: list[list[float]], samples: list[list[float]]) -> dict[str, Any]:
    from stochvid.evaluation.metrics.fvd import frechet_distance_of_clips

    return frechet_distance_of_clips(truths, samples)


def _load_i3d(file: Any, device: torch.device) -> Any:
    from stochvid.evaluation.metrics.fvd import I3D

    return I3D(file, device)


def _describe_diversity(samples: dict[str, Any], drawn: int) -> str | None:
    if drawn == 1:
        return None
    error = f"their MSE to the truth {mean_of(samples, 'mse')}; equal if calibrated"
    return f"diversity {mean_of(samples, 'diversity')} ({error})"


def _describe_identity(samples: dict[str, Any], drawn: int) -> str:
    truth = METRICS["identity"].number(samples["identity"]["truth"])
    return f"identity {mean_of(samples, 'identity')} (the truth itself {truth})"


def _describe_directions(samples: dict[str, Any], drawn: int) -> str | None:
    found = samples["directions"]
    if found["mean"] is None:
        return None
    distinct = f"{found['distinct']:.1f} different ones of {drawn} (chance: {found['distinct_of_truth']:.1f})"
    variation = f"{mean_of(samples, 'directions')} (at best {METRICS['directions'].number(found['floor'])})"
    return f"directions after {found['bounces']} bounce(s): {distinct}, total variation ↓ {variation}"


def _describe_sharpness(samples: dict[str, Any], drawn: int) -> str:
    return f"sharpness {mean_of(samples, 'sharpness')} of the truth's"


def _describe_crps(samples: dict[str, Any], drawn: int) -> str:
    return f"CRPS ↓ {mean_of(samples, 'crps')}{' (its mean absolute error)' if drawn == 1 else ''}"


def _describe_cross_entropy(samples: dict[str, Any], drawn: int) -> str | None:
    return f"cross-entropy {mean_of(samples, 'cross_entropy')} nats a frame" if drawn == 1 else None


def _describe_ranks(samples: dict[str, Any], drawn: int) -> str | None:
    distance = samples["rank_histogram"]["reliability_index"]
    return None if drawn == 1 else f"rank histogram {METRICS['rank_histogram'].number(distance)} from flat (0 to 2)"


_ENTRIES = (
    Metric(name="psnr", label="PSNR (dB)", digits=2, higher_is_better=True, kind="frame", function=_psnr),
    Metric(name="ssim", label="SSIM", digits=4, higher_is_better=True, kind="frame", function=_ssim),
    Metric(
        name="lpips", label="LPIPS", digits=4, higher_is_better=False, kind="frame", function=_lpips, load=_load_lpips
    ),
    Metric(
        name="fvd", label="FVD", digits=1, higher_is_better=False, kind="clips", function=_i3d_features, pool=_fvd,
        load=_load_i3d,
    ),
    Metric(
        name="diversity", label="diversity", digits=None, higher_is_better=None, kind="samples", function=_diversity,
        describe=_describe_diversity,
    ),
    Metric(name="mse", label="", digits=None, higher_is_better=False, kind="average", function=_mse),
    Metric(
        name="cross_entropy", label="cross-entropy (nats)", digits=1, higher_is_better=False, kind="average",
        function=_cross_entropy, describe=_describe_cross_entropy,
    ),
    Metric(
        name="sharpness", label="sharpness", digits=None, higher_is_better=None, kind="average", function=_gradients,
        parts=("gradient", "true_gradient"), pool=ratio_over_clips, describe=_describe_sharpness,
    ),
    Metric(
        name="identity", label="identity", digits=3, higher_is_better=True, kind="average", function=_identity,
        parts=("identity", "identity_of_truth"), pool=beside_truth, describe=_describe_identity, track="boxes",
    ),
    Metric(
        name="directions", label="directions", digits=2, higher_is_better=False, kind="samples", function=_directions,
        parts=("directions", "true_directions"), pool=_pooled_directions, describe=_describe_directions, track="boxes",
    ),
    Metric(
        name="crps", label="CRPS", digits=None, higher_is_better=False, kind="samples", function=_crps,
        describe=_describe_crps,
    ),
    Metric(
        name="rank_histogram", label="rank histogram", digits=2, higher_is_better=None, kind="samples",
        function=_ranks, parts=("ranks", "alike"), pool=rank_histogram, describe=_describe_ranks,
    ),
)  # fmt: skip
METRICS: dict[str, Metric] = {metric.name: metric for metric in _ENTRIES}
