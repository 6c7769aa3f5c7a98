"""Results as tables that are read in a terminal. Imports no torch."""

from collections.abc import Sequence
from typing import Any

from stochvid.evaluation.protocols import DATA_SETS, HIGHER_IS_BETTER, METRICS, PUBLISHED

DIGITS = {"psnr": 2, "ssim": 4, "lpips": 4, "fvd": 1}


def evaluation_table(results: dict[str, Any]) -> str:
    """One evaluation: best, mean and worst sample, what the samples are worth, and the published numbers."""
    protocol, setting, drawn = results["protocol"], results["setting"], results["sampling"]["drawn"]
    names = list(results["metrics"])
    best = f"best of {drawn} by {_chosen(protocol)}" if drawn > 1 else "one prediction"
    lines = [
        f"{results['name']}: {protocol['name']}, {setting['clips']:,} clips, {setting['context']} → "
        f"{setting['horizon']} frames, {best}; ± is the 95 % interval over clips",
    ]
    if not names:
        return lines[0] + f"\nNo clip has a sample without NaN or infinity: nothing to score.{_warnings(results)}"
    kinds = {f"best of {drawn}": "best", "mean of samples": "mean", "worst": "worst"} if drawn > 1 else {"": "best"}
    rows = [["", *(f"{METRICS[name]} {_arrow(name)}" for name in names)]]
    for label, kind in kinds.items():
        rows.append([label or results["name"], *(_number(name, results["metrics"][name][kind]) for name in names)])
    data_set = results["data"]["data_set"]
    published = PUBLISHED.get(protocol["name"], {}).get(data_set, {})
    for model, numbers in published.items():
        rows.append([f"  {model}, published", *(_number(name, {"mean": numbers.get(name)}) for name in names)])
    lines += _aligned(rows)
    lines.append(_sample_line(results["samples"], drawn))
    if results["samples"]["equal_frames"]:
        lines.append(f"{results['samples']['equal_frames']:.1%} of its frames equal the truth, and count as 100 dB")
    if results.get("fvd"):
        fvd = results["fvd"]
        value = "none" if fvd["value"] is None else f"{fvd['value']:.1f}"
        lines.append(f"FVD ↓ {value} ({fvd['clips']:,} clips of {fvd['frames']} frames, context included)")
    if published:
        of = f"Published: best of 100 by each metric on the test set of {DATA_SETS[data_set]} (Akan et al. 2021)."
        differences = "; ".join(results["departures"])
        lines.append(of + (f" Not the same here: {differences}." if differences else ""))
    elif protocol["name"] in PUBLISHED and results["departures"]:
        lines.append(f"No published numbers stand beside these: {'; '.join(results['departures'])}.")
    elif protocol["name"] not in PUBLISHED:
        lines.append("Nothing to stand beside: that paper shows curves and no numbers. srvp2020 has published numbers.")
    return "\n".join(lines) + _warnings(results)


def comparison_table(runs: Sequence[dict[str, Any]], differences: Sequence[dict[str, dict[str, float]]]) -> str:
    """Several evaluations of one protocol on the same clips, and how far each is from the first, clip by clip.

    Args:
        runs: as `read_results` gives them.
        differences: of each run, metric → mean and ci95 of its difference from the first.
    """
    protocol, setting = runs[0]["protocol"], runs[0]["setting"]
    names = [name for name in METRICS if any(name in run["metrics"] for run in runs)]
    fvd, drawn = any(run.get("fvd") for run in runs), max(run["sampling"]["drawn"] for run in runs)
    head = ["", *(f"{METRICS[name]} {_arrow(name)}" for name in names), *(["FVD ↓"] if fvd else [])]
    rows = [[*head, "diversity", "sharpness", "CRPS ↓"]]
    for run in runs:
        best = [_number(name, run["metrics"].get(name, {}).get("best", {})) for name in names]
        video = [_number("fvd", {"mean": run["fvd"]["value"]} if run.get("fvd") else {})] if fvd else []
        s = run["samples"]
        rest = [_plain(s[name]["mean"]) for name in ("diversity", "sharpness", "crps")]
        rows.append([run["name"], *best, *video, *rest])
    lines = [
        f"{protocol['name']}, {setting['clips']:,} clips, {setting['context']} → {setting['horizon']} frames, best of "
        f"{drawn} by {_chosen(protocol)} (or the one, of what draws nothing); ± is the 95 % interval",
        *_aligned(rows),
        f"Against {runs[0]['name']}, clip by clip:",
    ]
    paired = [
        [run["name"], *(_number(name, difference.get(name, {}), sign=True) for name in names)]
        for run, difference in zip(runs[1:], differences[1:], strict=True)
    ]
    return "\n".join([*lines, *_aligned(paired)])


def _sample_line(samples: dict[str, Any], drawn: int) -> str:
    sharpness = f"sharpness {_plain(samples['sharpness']['mean'])} of the truth's"
    crps = f"CRPS ↓ {samples['crps']['mean']:.4g}"
    if drawn == 1:
        return f"one prediction: {sharpness}, {crps} (its mean absolute error)"
    diversity, error = (samples[name]["mean"] for name in ("diversity", "mse"))
    return (
        f"samples: diversity {diversity:.4g} (their MSE to the truth {error:.4g}; equal if calibrated), {sharpness},\n"
        f"         {crps}, rank histogram {samples['rank_histogram']['reliability_index']:.2f} from flat (0 to 2)"
    )


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
    if (results.get("fvd") or {}).get("warning"):
        lines.append(f"WARNING: {results['fvd']['warning']}")
    return "".join("\n" + line for line in lines)


def _chosen(protocol: dict[str, Any]) -> str:
    return "each metric" if protocol["best_by"] == "each" else "SSIM"


def _arrow(name: str) -> str:
    return "↑" if HIGHER_IS_BETTER[name] else "↓"


def _number(name: str, value: dict[str, float | None], sign: bool = False) -> str:
    if value.get("mean") is None:
        return "–"
    digits = DIGITS[name]
    text = f"{value['mean']:+.{digits}f}" if sign else f"{value['mean']:.{digits}f}"
    return text if value.get("ci95") is None else f"{text} ± {value['ci95']:.{digits}f}"


def _plain(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


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
