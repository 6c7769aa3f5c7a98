"""Protocols: everything that has to be the same before two numbers may stand side by side. Imports no torch."""

from dataclasses import dataclass
from typing import Literal

from stochvid.core.errors import InputError, nearest


@dataclass(frozen=True)
class ForecastTask:
    """How much of a clip of a data set is given, and how much is predicted.

    Attributes:
        context: frames K that are given.
        horizon: frames that are predicted.
    """

    context: int
    horizon: int


@dataclass(frozen=True)
class Protocol:
    """What a published evaluation measures. All average over channels, then frames, then clips; PSNR has range 1.

    Attributes:
        name: on the command line.
        source: where it is from.
        window: of SSIM, uniform (7×7) or gaussian (11×11, σ = 1.5), inside the frame only.
        sample_covariance: whether SSIM divides by N − 1.
        data_range: of SSIM's constants, for values in [0, 1].
        best_by: ssim: the sample with the best mean SSIM counts in every metric; each: every metric has its own best.
        tasks: of each data set, by its name here.
    """

    name: str
    source: str
    window: Literal["uniform", "gaussian"]
    sample_covariance: bool
    data_range: float
    best_by: Literal["ssim", "each"]
    tasks: dict[str, ForecastTask]


CLIPS, SAMPLES = 256, 100  # of both, unless told otherwise; BAIR's test set has 256 clips

SVG2018 = Protocol(
    name="svg2018",
    source="Denton & Fergus, ICML 2018, section 4, as the authors' generation script reads",
    window="uniform",
    sample_covariance=True,
    data_range=2.0,  # its SSIM ran in a library version that took the range of a float image as −1 … 1
    best_by="ssim",
    tasks={"smmnist": ForecastTask(5, 25), "kth": ForecastTask(10, 20), "bair": ForecastTask(2, 28)},
)
SRVP2020 = Protocol(
    name="srvp2020",
    source="Franceschi et al., ICML 2020, section 4 and appendix; also Akan et al. (SLAMP), ICCV 2021",
    window="gaussian",
    sample_covariance=False,
    data_range=1.0,
    best_by="each",
    tasks={"smmnist": ForecastTask(5, 20), "kth": ForecastTask(10, 30), "bair": ForecastTask(2, 28)},
)
PROTOCOLS = {protocol.name: protocol for protocol in (SVG2018, SRVP2020)}

BASELINES = ("copy-last", "mean-of-context")  # what can be tested without any training

DATA_SETS = {"smmnist": "Stochastic Moving MNIST", "kth": "KTH", "bair": "BAIR robot pushing"}

SHOWN_BY = "ssim"  # the metric by which the clip and the samples of best.gif are chosen
PUBLISHED_CLIPS = {"smmnist": 5000, "kth": 1000, "bair": 256}  # of the test sets that the numbers below are of

# Akan et al. (SLAMP), ICCV 2021, tables 4 to 6: best of 100 samples by the protocol srvp2020, mean over the test set
PUBLISHED: dict[str, dict[str, dict[str, dict[str, float]]]] = {
    "srvp2020": {
        "smmnist": {
            "SVG": {"psnr": 14.50, "ssim": 0.7090},
            "SRVP": {"psnr": 16.93, "ssim": 0.7799},
            "SLAMP": {"psnr": 18.07, "ssim": 0.7736},
        },
        "kth": {
            "SV2P": {"psnr": 28.19, "ssim": 0.8141, "lpips": 0.2049},
            "SAVP": {"psnr": 26.51, "ssim": 0.7564, "lpips": 0.1120},
            "SVG": {"psnr": 28.06, "ssim": 0.8438, "lpips": 0.0923},
            "SRVP": {"psnr": 29.69, "ssim": 0.8697, "lpips": 0.0736},
            "SLAMP": {"psnr": 29.39, "ssim": 0.8646, "lpips": 0.0795},
        },
        "bair": {
            "SV2P": {"psnr": 20.39, "ssim": 0.8169, "lpips": 0.0912},
            "SAVP": {"psnr": 18.44, "ssim": 0.7887, "lpips": 0.0634},
            "SVG": {"psnr": 18.95, "ssim": 0.8058, "lpips": 0.0609},
            "SRVP": {"psnr": 19.59, "ssim": 0.8196, "lpips": 0.0574},
            "SLAMP": {"psnr": 19.67, "ssim": 0.8161, "lpips": 0.0639},
        },
    }
}


def find_protocol(name: str) -> Protocol:
    """The protocol of a name.

    Raises:
        InputError: there is none.
    """
    if name not in PROTOCOLS:
        raise InputError(f"there is no protocol {name!r}. {nearest(name, PROTOCOLS)}")
    return PROTOCOLS[name]
