"""Results as tables that are read in a terminal. Imports no torch."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from stochvid.evaluation.metrics.registry import METRICS, Metric, of_kind
from stochvid.evaluation.protocols import DATA_SETS, PUBLISHED
from stochvid.evaluation.results import numbered, result_of

WIDTH = 120  # letters in a line


def evaluation_table(results: dict[str, Any], places: Sequence[int] = ()) -> str:
    """One evaluation: best, mean and worst sample, what the samples are worth, and the published numbers.

    Args:
        results: as `read_results` gives them.
        places: predicted frames, from 1, to be told of one by one.
    """
    protocol, setting, drawn = results["protocol"], results["setting"], results["sampling"]["drawn"]
    metrics = numbered([results], "frame")
    best = f"best of {drawn} by {_chosen(protocol)}" if drawn > 1 else "one prediction"
    lines = [
        f"{results['name']}: {protocol['name']}, {setting['clips']:,} clips, {setting['context']} → "
        f"{setting['horizon']} frames, {best}; ± is the 95 % interval over clips",
    ]
    if not metrics:
        return lines[0] + f"\nNo clip has a sample without NaN or infinity: nothing to score.{_warnings(results)}"
    kinds = {f"best of {drawn}": "best", "mean of samples": "mean", "worst": "worst"} if drawn > 1 else {"": "best"}
    rows = [["", *(metric.title for metric in metrics)]]
    for label, kind in kinds.items():
        rows.append([label or results["name"], *(_number(m, results["metrics"][m.name][kind]) for m in metrics)])
    data_set = results["data"]["data_set"]
    published = PUBLISHED.get(protocol["name"], {}).get(data_set, {})
    for model, numbers in published.items():
        rows.append([f"  {model}, published", *(metric.number(numbers.get(metric.name)) for metric in metrics)])
    lines += _aligned(rows)
    lines.append(_sample_line(results["samples"], drawn))
    if results["samples"]["equal_frames"]:
        lines.append(f"{results['samples']['equal_frames']:.1%} of its frames equal the truth, and count as 100 dB")
    lines += [_videos_line(metric, result_of(results, metric)) for metric in numbered([results], "clips")]
    lines += _by_frame(results, metrics, places)
    if published:
        of = f"Published: best of 100 by each metric on the test set of {DATA_SETS[data_set]} (Akan et al. 2021)."
        differences = "; ".join(results["departures"])
        lines.append(of + (f" Not the same here: {differences}." if differences else ""))
    elif protocol["name"] in PUBLISHED and results["departures"]:
        lines.append(f"No published numbers are comparable with these: {'; '.join(results['departures'])}.")
    elif protocol["name"] not in PUBLISHED:
        lines.append("Nothing to compare with: that paper shows curves, not numbers. srvp2020 has published numbers.")
    return "\n".join(lines) + _warnings(results)


def comparison_table(runs: Sequence[dict[str, Any]], differences: Sequence[dict[str, dict[str, float]]]) -> str:
    """Several evaluations of one protocol on the same clips, and how far each is from the first, clip by clip.

    Args:
        runs: as `read_results` gives them.
        differences: of each run, metric → mean and ci95 of its difference from the first.
    """
    protocol, setting = runs[0]["protocol"], runs[0]["setting"]
    drawn = max(run["sampling"]["drawn"] for run in runs)
    frame, clips = numbered(runs, "frame"), numbered(runs, "clips")
    others = [metric for metric in numbered(runs, "average", "samples") if metric.label]
    rows = [["", *(metric.title for metric in (*frame, *clips, *others))]]
    for run in runs:
        best = [_number(metric, result_of(run, metric).get("best", {})) for metric in frame]
        videos = [metric.number(result_of(run, metric).get("value")) for metric in clips]
        rest = [metric.number(result_of(run, metric).get("mean")) for metric in others]
        rows.append([run["name"], *best, *videos, *rest])
    lines = [
        f"{protocol['name']}, {setting['clips']:,} clips, {setting['context']} → {setting['horizon']} frames, best of "
        f"{drawn} by {_chosen(protocol)} (or the one, of what draws nothing); ± is the 95 % interval",
        *_aligned(rows),
        f"Against {runs[0]['name']}, clip by clip:",
    ]
    paired = [
        [run["name"], *(_number(metric, difference.get(metric.name, {}), sign=True) for metric in frame)]
        for run, difference in zip(runs[1:], differences[1:], strict=True)
    ]
    return "\n".join([*lines, *_aligned(paired)])


def _by_frame(results: dict[str, Any], metrics: Sequence[Metric], places: Sequence[int]) -> list[str]:
    """What predicted frames are worth, one by one; of those of the best sample, by its whole future."""
    if not places:
        return []
    kinds = ("best", "mean") if results["sampling"]["drawn"] > 1 else ("best",)
    columns = [
        (f"{metric.title}{f', {kind}' if len(kinds) > 1 else ''}", metric, results["curves"][metric.name][kind])
        for metric in metrics
        for kind in kinds
    ]
    for metric in of_kind("average", "samples"):
        curve = result_of(results, metric).get("curve")
        if metric.label and curve:
            columns.append((metric.title, metric, curve))
    rows = [["frame", *(title for title, _, _ in columns)]]
    for place in places:
        values = [metric.number(curve["mean"][place - 1]) for _, metric, curve in columns]
        rows.append([f"{place:,}", *values])
    return ["predicted frame by predicted frame:", *_aligned(rows)]


def _sample_line(samples: dict[str, Any], drawn: int) -> str:
    """What the samples are worth, in phrases that are not broken over lines."""
    phrases = [_phrase(metric, samples, drawn) for metric in of_kind("average", "samples") if metric.name in samples]
    head = "samples: " if drawn > 1 else "one prediction: "
    text = head + ", ".join(phrase.replace(" ", "\0") for phrase in phrases if phrase)
    wrapped = textwrap.fill(
        text, WIDTH, subsequent_indent=" " * len(head), break_long_words=False, break_on_hyphens=False
    )
    return wrapped.replace("\0", " ")


def _phrase(metric: Metric, samples: dict[str, Any], drawn: int) -> str | None:
    if metric.describe:
        return metric.describe(samples, drawn)
    return f"{metric.title} {metric.number(samples[metric.name]['mean'])}" if metric.label else None


def _videos_line(metric: Metric, result: dict[str, Any]) -> str:
    value = "none" if result["value"] is None else metric.number(result["value"])
    return f"{metric.title} {value} ({result['clips']:,} clips of {result['frames']} frames, context included)"


def _warnings(results: dict[str, Any]) -> str:
    broken, lines = results["not_finite"], []
    if broken["samples"]:
        out = len(broken["clips_left_out"])
        lines.append(
            f"WARNING: {broken['samples']:,} sample(s) of {len(broken['clips']):,} clip(s) hold NaN or infinity and "
            f"are left out{f'; so are {out:,} clip(s) without any other' if out else ''}."
        )
    if broken.get("values_clipped"):
        lines.append(f"{broken['values_clipped']:,} values were outside [0, 1], and clipped.")
    warnings = [result_of(results, metric).get("warning") for metric in of_kind("clips")]
    lines += [f"WARNING: {warning}" for warning in warnings if warning]
    return "".join("\n" + line for line in lines)


def _chosen(protocol: dict[str, Any]) -> str:
    by = protocol["best_by"]
    return "each metric" if by == "each" else METRICS[by].label if by in METRICS else by


def _number(metric: Metric, value: Mapping[str, float | None], sign: bool = False) -> str:
    """A mean with its interval, if it has one, or a dash."""
    text, half = metric.number(value.get("mean"), sign), value.get("ci95")
    return text if value.get("mean") is None or half is None else f"{text} ± {metric.number(half)}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines: the first column to the left, the others to the right."""
    if not rows:
        return []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
