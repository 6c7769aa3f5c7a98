"""What an evaluation found: `results.json` and `curves.csv`, written and read. Imports no torch.

Axes: `N` clips, `T` predicted frames.
"""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stochvid.core.errors import InputError
from stochvid.core.untrusted import MOST_RECORDS, read_json, shown
from stochvid.evaluation.protocols import METRICS

FORMAT, VERSION = "stochvid evaluation", 1
RESULTS, CURVES = "results.json", "curves.csv"
KINDS = ("best", "mean", "worst")
LONGEST = 5_000  # letters of a name: paths have up to 4,096
MOST_COUNTED, LARGEST = 1 << 40, 1e100  # of clips, frames and samples; of any metric: its square is a number still


def interval(values: np.ndarray) -> float:
    """Half the 95 % interval of the mean of N values, 1.96 s / √N, along the first axis; NaN of a single one."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return 1.96 * values.std(axis=0, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else values[0] * np.nan


def reliability_index(histogram: np.ndarray) -> float:
    """How far a rank histogram is from flat: Σ_k |f_k − 1 / n| of its n frequencies (Delle Monache et al. 2006).

    0 is flat; 2 − 2 / n, the most, if all is in one rank.
    """
    total = histogram.sum()
    return float(np.abs(histogram / total - 1 / len(histogram)).sum()) if total else 0.0


def summarise(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The metrics, curves, sample statistics and per-clip values of clips' records (`ClipScores.record`)."""
    scored = [record for record in records if "psnr" in record]
    if not scored:
        return {"metrics": {}, "curves": {}, "samples": {}, "not_finite": _not_finite(records), "clips": []}
    names = [name for name in METRICS if name in scored[0]]
    metrics, curves = {}, {}
    for name in names:
        metrics[name], curves[name] = {}, {}
        for kind in KINDS:
            values = np.array([record[name][kind] for record in scored])  # (N, T)
            metrics[name][kind] = _mean(values.mean(1))
            curves[name][kind] = _mean(values)
    statistics = {}
    for name in ("mse", "diversity", "crps"):
        values = np.array([record[name] for record in scored])
        statistics[name] = _mean(values.mean(1)) | {"curve": _mean(values)}
    made, true = (np.array([record[name] for record in scored]) for name in ("gradient", "true_gradient"))
    statistics["sharpness"] = _ratio(made.mean(1), true.mean(1)) | {"curve": _ratio(made, true)}
    most = max(len(record["ranks"]) for record in scored)  # clips that lack a sample have fewer ranks
    statistics["equal_frames"] = float(np.mean([record["equal"] for record in scored]))
    histogram = np.sum([record["ranks"] for record in scored if len(record["ranks"]) == most], axis=0)
    statistics["rank_histogram"] = {
        "counts": histogram.tolist(),
        "reliability_index": reliability_index(histogram),
        "pixels_all_alike": int(sum(record["alike"] for record in scored)),
    }
    clips = [
        {"clip": number}
        | {
            name: {kind: float(np.mean(record[name][kind])) for kind in KINDS}
            | {f"{kind}_sample": record[name][f"{kind}_sample"] for kind in ("best", "worst")}
            for name in names
            if name in record
        }
        for number, record in enumerate(records)
    ]
    return {
        "metrics": metrics,
        "curves": curves,
        "samples": statistics,
        "not_finite": _not_finite(records),
        "clips": clips,
    }


def write_curves(path: Path, results: dict[str, Any]) -> None:
    """The curves as CSV, a row for each predicted frame, counted from 1 with the context."""
    columns: dict[str, list[float]] = {}
    for name, kinds in results["curves"].items():
        for kind in KINDS:
            columns[f"{name}_{kind}"] = kinds[kind]["mean"]
            columns[f"{name}_{kind}_ci95"] = kinds[kind]["ci95"]
    for name, statistic in results["samples"].items():
        if isinstance(statistic, dict) and "curve" in statistic:
            columns[name] = statistic["curve"]["mean"]
            columns[f"{name}_ci95"] = statistic["curve"]["ci95"]
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["frame", *columns])
        first = results["setting"]["context"] + 1
        for step, row in enumerate(zip(*columns.values(), strict=True)):
            writer.writerow([first + step, *("" if value is None else f"{value:.6g}" for value in row)])


def write_results(path: Path, results: dict[str, Any]) -> None:
    """The results as JSON; what is not a number is null."""
    path.write_text(json.dumps(results, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read_results(run: str | Path) -> dict[str, Any]:
    """Reads the results of an evaluation.

    Args:
        run: its folder, or its `results.json`.

    Raises:
        InputError: there are none, or they are cut short or of another version.
    """
    path = Path(run)
    path = path / RESULTS if path.is_dir() else path
    if not path.is_file():
        raise InputError(
            f"there are no results in {str(run)!r} (no {RESULTS}). Make them: stochvid evaluate … --out {run}."
        )
    try:
        results = read_json(path, MOST_RECORDS, parse_constant=_refuse)
    except (OSError, ValueError) as error:
        raise InputError(f"results {str(path)!r} are cut short or broken: {error!s:.100}. Evaluate again.") from None
    if not isinstance(results, dict) or results.get("format") != FORMAT:
        raise InputError(f"{str(path)!r} holds no results of stochvid evaluate.")
    if type(results.get("version")) is not int or results["version"] != VERSION:
        raise InputError(
            f"results {str(path)!r} are of version {shown(results.get('version'))}; this stochvid reads version "
            f"{VERSION}. Evaluate again, or update stochvid."
        )
    try:
        _check_whole(results)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        missing = f"{error} is missing" if isinstance(error, LookupError) else str(error)
        raise InputError(f"results {str(path)!r} are not whole: {missing:.100}. Evaluate again.") from None
    return results


def _check_whole(results: dict[str, Any]) -> None:
    """Checks that all is there which tables, plots and comparisons use; raises nearly anything if not."""
    setting, sampling = results["setting"], results["sampling"]
    counts = [setting[name] for name in ("context", "horizon", "clips", "samples")] + [sampling["drawn"]]
    texts = [results["name"], results["data"]["name"], results["data"]["sha256"]]
    texts += [results["protocol"]["name"], results["protocol"]["best_by"]]
    if {type(count) for count in counts} != {int} or {type(text) for text in texts} != {str}:
        raise ValueError("names or counts are of the wrong kind")
    if not all(0 <= count <= MOST_COUNTED for count in counts) or max(map(len, texts)) > LONGEST:
        raise ValueError("a count or a name is out of range")
    if len(results["clips"]) != setting["clips"] or not results["weights"].keys() >= {"lpips", "fvd"}:
        raise ValueError(f"{len(results['clips'])} clips are not the {setting['clips']} of the setting")
    numbers: list[Any] = []
    for name, kinds in results["metrics"].items():
        for kind in KINDS:
            curve = results["curves"][name][kind]
            if {len(curve["mean"]), len(curve["ci95"])} != {setting["horizon"]}:
                raise ValueError(f"the curve of {name} has not {setting['horizon']} steps")
            numbers += [kinds[kind]["mean"], kinds[kind]["ci95"], *curve["mean"], *curve["ci95"]]
    if results["metrics"]:
        for name in ("diversity", "mse", "sharpness", "crps"):
            numbers += [results["samples"][name]["mean"], results["samples"][name]["ci95"]]
        bests = [clip[name]["best"] for clip in results["clips"] for name in results["metrics"] if name in clip]
        if None in bests:
            raise ValueError("a clip has no score")
        numbers += bests
    if results.get("fvd"):
        numbers.append(results["fvd"]["value"])
    if not {type(number) for number in numbers} <= {float, int, type(None)}:
        raise ValueError("a number is none")
    if not all(number is None or -LARGEST < number < LARGEST for number in numbers):
        raise ValueError("a number is out of range")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _mean(values: np.ndarray) -> dict[str, Any]:
    """Mean over the first axis and half its 95 % interval, null where there is none."""
    return {"mean": _plain(values.mean(axis=0)), "ci95": _plain(interval(values))}


def _ratio(a: np.ndarray, b: np.ndarray) -> dict[str, Any]:
    """Ratio of the means of a and b over the first axis, with a linearised 95 % interval."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = a.mean(axis=0) / b.mean(axis=0)
        return {"mean": _plain(ratio), "ci95": _plain(interval((a - ratio * b) / b.mean(axis=0)))}


def _plain(values: np.ndarray | float) -> Any:
    """Floats for JSON, null for what is not finite."""
    values = np.asarray(values, dtype=np.float64)
    return np.where(np.isfinite(values), values, None).tolist()


def _not_finite(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    clips = [number for number, record in enumerate(records) if record["not_finite"]]
    return {
        "samples": sum(len(record["not_finite"]) for record in records),
        "clips": clips,
        "clips_left_out": [number for number, record in enumerate(records) if "psnr" not in record],
    }
