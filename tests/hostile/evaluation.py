"""Results, journals and metrics, with attacks on them."""

import json
from pathlib import Path

from hostile.text import VALUES, device, json_attacks, pipe, setting, writing


def _record(clip: int, horizon: int = 4) -> dict:
    curve = [1.0 + clip + t for t in range(horizon)]
    metric = {"best_sample": 0, "best": curve, "worst_sample": 1, "worst": curve, "mean": curve}
    return {
        "digest": f"{clip:016x}", "not_finite": [], "psnr": metric, "ssim": metric, "equal": 0.0, "mse": curve,
        "gradient": curve, "true_gradient": curve, "diversity": curve, "crps": curve, "ranks": [1, 2, 3], "alike": 0,
        "clipped": 0,
    }  # fmt: skip


IDENTITY = {"name": "mine", "setting": {"context": 3}}


def make_results(folder: Path) -> list[Path]:
    from stochvid.evaluation.results import FORMAT, VERSION, summarise, write_results

    results = {
        "format": FORMAT, "version": VERSION, "name": "mine", "departures": [],
        "protocol": {"name": "srvp2020", "best_by": "each"}, "weights": {"lpips": None, "fvd": None},
        "data": {"name": "a store", "sha256": "0", "data_set": None},
        "setting": {"context": 3, "horizon": 4, "clips": 3, "samples": 2}, "sampling": {"drawn": 2, "seed": 0},
    }  # fmt: skip
    results |= summarise([_record(clip) for clip in range(3)])
    write_results(folder / "results.json", results)
    return [folder / "results.json"]


def load_results(folder: Path) -> None:
    from stochvid.evaluation.compare import compare

    compare([folder, folder], folder.parent / "comparison", overwrite=True)


RESULTS = json_attacks(
    "results.json", ("name",), ("version",), ("protocol",), ("protocol", "name"), ("protocol", "best_by"), ("data",),
    ("data", "name"), ("setting",), *(("setting", name) for name in ("context", "horizon", "clips", "samples")),
    ("sampling", "drawn"), ("weights",), ("weights", "lpips"), ("metrics",), ("curves",), ("samples",), ("clips",),
    ("fvd",), ("departures",), ("metrics", "psnr", "best"), ("metrics", "psnr", "best", "mean"),
    ("metrics", "psnr", "best", "ci95"), ("curves", "psnr", "best", "mean"), ("curves", "psnr", "best", "mean", 0),
    ("curves", "psnr", "best", "ci95", 0), ("clips", 0), ("clips", 0, "psnr"), ("clips", 0, "psnr", "best"),
    ("samples", "diversity", "mean"), ("samples", "crps"), ("samples", "equal_frames"),
) | {
    f"name {name[:12]!r}": setting("results.json", ("name",), name)
    for name in ("$x^{$", "../../etc/passwd", "_hidden", "\x1b[2J", "\ud800", "\n\n", "x" * 1_000_000)
}  # fmt: skip


def make_journal(folder: Path) -> list[Path]:
    work = folder / "out.evaluating"
    work.mkdir()
    (work / "about.json").write_text(json.dumps({"identity": IDENTITY, "chunk": 2}))
    (work / "clips.jsonl").write_text("".join(json.dumps(_record(clip)) + "\n" for clip in range(3)))
    return [work / "about.json", work / "clips.jsonl"]


def load_journal(folder: Path) -> None:
    from stochvid.evaluation.journal import Journal
    from stochvid.evaluation.results import summarise

    with Journal(folder / "out", IDENTITY, resume=True, overwrite=False) as journal:
        summarise(journal.records)
        assert sum(record.get("clipped", 0) for record in journal.records) >= 0


def _line(change):
    def attack(folder: Path) -> None:
        made = _record(1)
        change(made)
        with open(folder / "out.evaluating" / "clips.jsonl", "a") as file:
            file.write(json.dumps(made) + "\n")

    return attack


JOURNAL = {f"about: {k}": v for k, v in json_attacks("out.evaluating/about.json", ("chunk",), ("identity",)).items()}
JOURNAL |= {f"lines: {k}": v for k, v in json_attacks("out.evaluating/clips.jsonl").items()}
JOURNAL |= {
    f"{name} is {value}": _line(lambda r, n=name, v=value: r.update({n: VALUES[v]}))
    for name in _record(0)
    for value in VALUES
}
JOURNAL |= {
    f"best is {value}": _line(lambda r, v=value: r["psnr"].update(best=VALUES[v]))
    for value in VALUES
}  # fmt: skip
JOURNAL |= {
    "a line of 40 MB": lambda f: (f / "out.evaluating" / "clips.jsonl").write_text("[" + "[]," * 13_000_000 + "1]\n"),
}


def make_metrics(folder: Path) -> list[Path]:
    lines = ["step,split,loss,mse,kl,lr,clips_per_s", *(f"{n},train,0.1,0.2,3,0.001,5" for n in range(1, 9))]
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
    return [folder / "metrics.csv"]


def load_metrics(folder: Path) -> None:
    """As a run that goes on."""
    from stochvid.training.runs import read_metrics

    read_metrics(folder / "metrics.csv")


METRICS = {
    "NUL": writing("metrics.csv", b"step,split\n1,\0\n"),
    "long field": writing("metrics.csv", "step,split\n1," + "x" * 200_000 + "\n"),
    "more columns": writing("metrics.csv", "step,split\n1,train,2,3,4,5,6,7,8,9\n"),
    "other columns": writing("metrics.csv", "step,spilt\n1,train\n"),
    "many columns": writing("metrics.csv", ",".join(f"c{n}" for n in range(300_000)) + "\n"),
    "digits": writing("metrics.csv", "step,split\n" + "9" * 5_000 + ",train\n"),
    "a quote": writing("metrics.csv", 'step,split\n1,"train\n'),
    "long": writing("metrics.csv", "step,split\n" + "1,train\n" * 5_000_000),
    "a pipe": lambda f: pipe(f / "metrics.csv"),
    "without an end": lambda f: device(f / "metrics.csv"),
    "a folder": lambda f: ((f / "metrics.csv").unlink(), (f / "metrics.csv").mkdir()),
}
