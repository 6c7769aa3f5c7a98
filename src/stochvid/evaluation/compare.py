"""Several evaluations side by side, if they may stand side by side. Imports no torch."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stochvid.command_options import takes
from stochvid.core.errors import InputError
from stochvid.core.files import check_free, replacing_folder
from stochvid.evaluation.curves import plot_curves
from stochvid.evaluation.metrics.pooling import interval
from stochvid.evaluation.metrics.registry import of_kind
from stochvid.evaluation.options import CompareOptions
from stochvid.evaluation.results import WHICH, numbered, read_results, result_of
from stochvid.evaluation.tables import comparison_table

TABLE, PLOT = "comparison.csv", "comparison.png"


@takes(CompareOptions)
def compare(options: CompareOptions) -> None:
    """Puts evaluations of one protocol on the same clips into a table and a plot, with paired differences.

    Args:
        options: `CompareOptions`, or their fields: the folders of results, of which differences are from the first, the
            folder for `comparison.csv` and `comparison.png`, and whether an earlier comparison is replaced.

    Raises:
        InputError: results that are not there, or that are not of the same protocol, setting, clips or weights.
    """
    runs, out = options.runs, Path(options.out)
    check_free(out, TABLE, options.overwrite)
    results = [read_results(run) for run in runs]
    for run, result in zip(runs, results, strict=True):
        if not numbered([result], "frame"):
            raise InputError(f"results {str(run)!r} hold no scores: every sample had NaN or infinity.")
        _check_alike(runs[0], results[0], run, result)
    _name_apart(results)
    differences = [_paired(results[0], result) for result in results]
    with replacing_folder(out) as folder:
        _write_table(folder / TABLE, results, differences)
        plot_curves(folder / PLOT, results)
    print(f"{comparison_table(results, differences)}\n\n{out}: {TABLE}, {PLOT}")


def _check_alike(first: str | Path, a: dict[str, Any], other: str | Path, b: dict[str, Any]) -> None:
    """Checks that two results are of the same protocol, setting and clips, and judged by the same networks."""
    fields = [("protocol", a["protocol"], b["protocol"]), ("setting", a["setting"], b["setting"])]
    if a["protocol"]["name"] != b["protocol"]["name"]:  # all of its fields differ, then
        fields = [("protocol", {"name": a["protocol"]["name"]}, {"name": b["protocol"]["name"]})]
    one_drawn = 1 in (a["sampling"]["drawn"], b["sampling"]["drawn"])  # of what draws nothing, one sample is all
    different = [
        f"{group}.{name} is {one.get(name)!r} in {str(first)!r} and {two.get(name)!r} in {str(other)!r}"
        for group, one, two in fields
        for name in {**one, **two}
        if one.get(name) != two.get(name) and not (name == "samples" and one_drawn)
    ]
    if not different and a["data"]["sha256"] != b["data"]["sha256"]:
        different = [f"data: {str(first)!r} is on {a['data']['name']}, {str(other)!r} on {b['data']['name']}"]
        if a["data"]["name"] == b["data"]["name"]:
            different = [f"data.sha256: the clips of {str(first)!r} and {str(other)!r} have different frames"]
    for name, one in a["weights"].items():
        two = b["weights"].get(name)
        if one and two and one != two:
            different.append(f"weights.{name}: {str(first)!r} and {str(other)!r} were scored with different networks")
    if different:
        raise InputError(f"these cannot be compared: {'; '.join(different)}. Evaluate them with the same settings.")


def _name_apart(results: Sequence[dict[str, Any]]) -> None:
    """Numbers runs of one name."""
    seen: dict[str, int] = {}
    for result in results:
        name = result["name"]
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            result["name"] = f"{name} ({seen[name]})"


def _paired(a: dict[str, Any], b: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Mean difference b − a over the clips that both have scored, and half its 95 % interval, of each metric."""
    differences = {}
    for name in (metric.name for metric in of_kind("frame")):
        pairs = [
            (one[name]["best"], two[name]["best"])
            for one, two in zip(a["clips"], b["clips"], strict=True)
            if name in one and name in two
        ]
        if len(pairs) > 1:
            difference = np.diff(np.array(pairs), axis=1)[:, 0]
            differences[name] = {"mean": float(difference.mean()), "ci95": float(interval(difference))}
    return differences


def _write_table(
    path: Path, results: Sequence[dict[str, Any]], differences: Sequence[dict[str, dict[str, float]]]
) -> None:
    rows = []
    for result, difference in zip(results, differences, strict=True):
        row: dict[str, Any] = {"name": result["name"]}
        for metric in numbered(results, "frame"):
            for which in WHICH:
                row |= _columns(f"{metric.name}_{which}", result_of(result, metric).get(which, {}))
            row |= _columns(f"{metric.name}_best_minus_first", difference.get(metric.name, {}))
        for metric in numbered(results, "average", "samples"):
            row |= _columns(metric.name, result_of(result, metric))
        row |= {metric.name: result_of(result, metric).get("value") for metric in of_kind("clips")}
        rows.append(row)
    with open(path, "w", newline="", encoding="utf-8", errors="backslashreplace") as file:  # names are any bytes
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(
            {key: f"{value:.6g}" if isinstance(value, float) else value for key, value in row.items()} for row in rows
        )


def _columns(name: str, value: dict[str, float]) -> dict[str, float | None]:
    return {name: value.get("mean"), f"{name}_ci95": value.get("ci95")}
