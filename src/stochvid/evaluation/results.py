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
from stochvid.evaluation.metrics.pooling import mean
from stochvid.evaluation.metrics.registry import METRICS, Kind, Metric, of_kind

FORMAT, VERSION = "stochvid evaluation", 1
RESULTS, CURVES = "results.json", "curves.csv"
WHICH = ("best", "mean", "worst")
LONGEST = 5_000  # letters of a name: paths have up to 4,096
MOST_COUNTED, LARGEST = 1 << 40, 1e100  # of clips, frames and samples; of any metric: its square is a number still


def summarise(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The metrics, curves, sample statistics and per-clip values of clips' records (`ClipScores.record`)."""
    scored = [record for record in records if is_scored(record)]
    if not scored:
        return {"metrics": {}, "curves": {}, "samples": {}, "not_finite": _not_finite(records), "clips": []}
    kept = set.intersection(*map(set, scored))  # records of an earlier version may lack a metric
    present = [metric for metric in METRICS.values() if kept.issuperset(metric.kept)]
    names = [metric.name for metric in of_kind("frame", among=present)]
    metrics: dict[str, dict[str, Any]] = {}
    curves: dict[str, dict[str, Any]] = {}
    for name in names:
        metrics[name], curves[name] = {}, {}
        for which in WHICH:
            values = np.array([record[name][which] for record in scored])  # (N, T)
            metrics[name][which], curves[name][which] = mean(values.mean(1)), mean(values)
    statistics = {
        metric.name: metric.pool(*([record[part] for record in scored] for part in metric.kept))
        for metric in of_kind("average", "samples", among=present)
    }
    return {
        "metrics": metrics,
        "curves": curves,
        "samples": statistics | {"equal_frames": float(np.mean([record["equal"] for record in scored]))},
        "not_finite": _not_finite(records),
        "clips": [{"clip": number} | _clip(record, names) for number, record in enumerate(records)],
    }


def summarise_videos(records: Sequence[dict[str, Any]], metric: Metric, frames: int) -> dict[str, Any]:
    """The result of a metric of kind clips, and how many clips of so many frames it rests on."""
    features = [record[metric.name] for record in records if metric.name in record]
    pooled = metric.pool([f["truth"] for f in features], [f["prediction"] for f in features])
    return {"clips": len(features), "frames": frames} | pooled


def result_of(results: dict[str, Any], metric: Metric) -> dict[str, Any]:
    """What results say of a metric; nothing if they do not have it."""
    place = {"frame": results["metrics"], "clips": results}.get(metric.kind, results["samples"])
    return place.get(metric.name) or {}


def numbered(runs: Sequence[dict[str, Any]], *kinds: Kind) -> list[Metric]:
    """Metrics of these kinds of which any run has a number."""
    number = {"frame": "best", "clips": "value"}
    return [
        metric
        for metric in of_kind(*kinds)
        if any(number.get(metric.kind, "mean") in result_of(run, metric) for run in runs)
    ]


def is_scored(record: dict[str, Any]) -> bool:
    """Whether any sample of a clip was finite."""
    return "equal" in record


def _clip(record: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """A clip's values of metrics of kind frame, and its best and worst samples."""
    return {
        name: {which: float(np.mean(record[name][which])) for which in WHICH}
        | {f"{which}_sample": record[name][f"{which}_sample"] for which in ("best", "worst")}
        for name in names
        if name in record
    }


def write_curves(path: Path, results: dict[str, Any]) -> None:
    """The curves as CSV, a row for each predicted frame, counted from 1 with the context."""
    columns: dict[str, list[float]] = {}
    for name, values in results["curves"].items():
        for which in WHICH:
            columns[f"{name}_{which}"] = values[which]["mean"]
            columns[f"{name}_{which}_ci95"] = values[which]["ci95"]
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
    if not isinstance(results["weights"], dict):
        raise ValueError("weights are of the wrong kind")
    if len(results["clips"]) != setting["clips"]:
        raise ValueError(f"{len(results['clips'])} clips are not the {setting['clips']} of the setting")
    numbers: list[Any] = []
    for name, values in results["metrics"].items():
        for which in WHICH:
            curve = results["curves"][name][which]
            if {len(curve["mean"]), len(curve["ci95"])} != {setting["horizon"]}:
                raise ValueError(f"the curve of {name} has not {setting['horizon']} steps")
            numbers += [values[which]["mean"], values[which]["ci95"], *curve["mean"], *curve["ci95"]]
    if results["metrics"]:
        for statistic in (result_of(results, metric) for metric in of_kind("average", "samples")):
            numbers += [statistic.get("mean"), statistic.get("ci95")]
            numbers += [value for value in statistic.values() if not isinstance(value, list | dict)]
        numbers.append(results["samples"]["equal_frames"])
        bests = [clip[name]["best"] for clip in results["clips"] for name in results["metrics"] if name in clip]
        if None in bests:
            raise ValueError("a clip has no score")
        numbers += bests
    videos = [result_of(results, metric) for metric in of_kind("clips")]
    numbers += [result[part] for result in videos if result for part in ("value", "clips", "frames")]
    if not {type(number) for number in numbers} <= {float, int, type(None)}:
        raise ValueError("a number is none")
    if not all(number is None or -LARGEST < number < LARGEST for number in numbers):
        raise ValueError("a number is out of range")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _not_finite(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    clips = [number for number, record in enumerate(records) if record["not_finite"]]
    return {
        "samples": sum(len(record["not_finite"]) for record in records),
        "clips": clips,
        "clips_left_out": [number for number, record in enumerate(records) if not is_scored(record)],
    }
