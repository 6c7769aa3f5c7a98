"""What a search found: the best config, a table of all trials, what mattered, and how the trials went."""

import csv
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from stochvid.config import TrainConfig
from stochvid.core.files import replacing
from stochvid.training.space import Space, shown_value, with_values

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

BEST = "best.yaml"
SHOWN = 10  # trials in the table of the report


def report(study: "Study", base: TrainConfig, space: Space, out: Path) -> list[str]:
    """Writes `best.yaml`, `trials.csv`, `report.md`, `curves.png` and `importance.png`; what was found in a few lines.

    Args:
        study: with its trials.
        base: the config that was varied.
        space: by what.
        out: folder.
    """
    trials = study.get_trials(deepcopy=False)
    by = measure(base)
    done = sorted((t for t in trials if t.state.name in ("COMPLETE", "PRUNED") and t.value is not None), key=_value)
    _write_trials(out / "trials.csv", trials, space)
    if not done:
        return [f"No trial came to an end. What they said: {out}/trials/*.log"]
    whole = [trial for trial in done if trial.state.name == "COMPLETE"] or done
    best, importance = whole[0], importances(study)
    told = f"trial {best.number}: {by} {best.value:.5g} of held-out clips"
    config = with_values(base, best.params)
    with replacing(out / BEST) as path:
        path.write_text(f"# {told}, the best of {len(done)}\n{config.to_yaml()}", encoding="utf-8")
    _draw_curves(out / "curves.png", done, by)
    if importance:
        _draw_importance(out / "importance.png", importance)
    ended = sum(trial.state.name == "PRUNED" for trial in done)
    failed = sum(trial.state.name == "FAIL" for trial in trials)
    text = [
        "# What the search found", "",
        f"{len(done)} trials, {ended} of them ended early, {failed} failed or begun anew. Best is {told}: `{BEST}`.",
        "",
        f"| trial | {by} ↓ | {' | '.join(space)} | | minutes |", f"|{'---|' * (len(space) + 4)}",
        *(_row(trial, space) for trial in done[:SHOWN]), "",
        *(["What mattered (fANOVA; shares of the variance between trials):", ""] if importance else []),
        *(f"- {name}: {share:.0%}" for name, share in importance.items()),
        *(["", "![importance](importance.png)"] if importance else []), "", "![curves](curves.png)", "",
    ]  # fmt: skip
    with replacing(out / "report.md") as path:
        path.write_text("\n".join(text), encoding="utf-8")
    values = ", ".join(f"{name} {shown_value(value)}" for name, value in best.params.items())
    lines = [f"Best of {len(done)}: {told}, with {values}"]
    if importance:
        lines.append("What mattered: " + ", ".join(f"{name} {share:.0%}" for name, share in importance.items()))
    return [*lines, f"{out}: {BEST}, report.md, trials.csv, curves.png. Train it: stochvid train --config {out / BEST}"]


def measure(config: TrainConfig) -> str:
    """What trials are compared by."""
    return "CRPS" if config.trainer.rollout_clips else "loss"


def importances(study: "Study") -> dict[str, float]:
    """The share of each field in how trials differ; none where there are too few trials, or all are alike."""
    from optuna.importance import get_param_importances

    complete = [trial for trial in study.get_trials(deepcopy=False) if trial.state.name == "COMPLETE"]
    if len(complete) < 4 or len({trial.value for trial in complete}) < 2:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = get_param_importances(study)
    return {name: share for name, share in found.items() if share == share}  # NaN where nothing varied


def _value(trial: "FrozenTrial") -> float:
    assert trial.value is not None
    return trial.value


def _row(trial: "FrozenTrial", space: Space) -> str:
    values = " | ".join(shown_value(trial.params.get(name, "")) for name in space)
    ended = "ended early" if trial.state.name == "PRUNED" else ""
    return f"| {trial.number} | {trial.value:.5g} | {values} | {ended} | {trial.user_attrs.get('minutes', 0):.1f} |"


def _write_trials(path: Path, trials: "list[FrozenTrial]", space: Space) -> None:
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["trial", "state", "value", *space, "best_step", "minutes", "process", "why"])
        for trial in trials:
            told = [trial.user_attrs.get(name, "") for name in ("best_step", "minutes", "process", "why")]
            values = [trial.params.get(name, "") for name in space]
            rows.writerow([trial.number, trial.state.name.lower(), trial.value, *values, *told])


def _draw_curves(path: Path, done: "list[FrozenTrial]", by: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for rank, trial in enumerate(reversed(done)):
        steps = sorted(trial.intermediate_values)
        last = rank == len(done) - 1
        colour, line = ("tab:orange", 2.0) if last else ("0.6", 1.0)
        style = ":" if trial.state.name == "PRUNED" else "-"
        left.plot(steps, [trial.intermediate_values[s] for s in steps], style, color=colour, lw=line, marker=".")
    left.set(xlabel="step", ylabel=f"{by} of held-out clips", title="each trial; dotted: ended early", yscale="log")
    order = sorted(done, key=lambda trial: trial.number)
    best = [min(_value(t) for t in order[: i + 1]) for i in range(len(order))]
    right.plot([trial.number for trial in order], [_value(t) for t in order], "o", color="0.6", ms=4)
    right.plot([trial.number for trial in order], best, color="tab:orange", drawstyle="steps-post")
    right.set(xlabel="trial", ylabel=by, title="the best so far", yscale="log")
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def _draw_importance(path: Path, importance: dict[str, float]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 0.4 * len(importance) + 1), layout="constrained")
    ax = figure.subplots()
    names = list(importance)[::-1]
    ax.barh(names, [importance[name] for name in names], color="tab:blue")
    ax.set(xlabel="share of the variance between trials", xlim=(0, 1))
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
