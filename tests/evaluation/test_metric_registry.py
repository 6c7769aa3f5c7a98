"""The registry of metrics: an entry is all that a metric needs; results of earlier versions are read and made again."""

import csv
import json
import shutil

import imageio.v3 as iio
import numpy as np
import pytest
import torch

from metric_networks import Network, alexnet, heads
from paths import EARLIER
from stochvid.cli import main
from stochvid.evaluation.compare import compare
from stochvid.evaluation.evaluate import evaluate
from stochvid.evaluation.metrics.registry import METRICS, Metric
from stochvid.evaluation.results import read_results
from stochvid.evaluation.tables import evaluation_table

OLD = EARLIER / "evaluation"  # written by the version before there was a registry
PARTS = ("name", "protocol", "data", "setting", "metrics", "curves", "samples", "not_finite", "clips", "departures")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to work in, with the futures that the old results are of: 4 clips, 3 samples, 2 → 8 frames, a NaN."""
    for name in ("theirs.npz", "first.npz"):
        shutil.copy(OLD / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows_of(path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def assert_same(new, old, where="", tolerance=1e-5):
    """Checks that plain values have the same keys, and numbers but for rounding."""
    assert type(new) is type(old), where
    if isinstance(old, dict):
        assert new.keys() == old.keys(), where
        for key in old:
            assert_same(new[key], old[key], f"{where}.{key}", tolerance)
    elif isinstance(old, list):
        assert len(new) == len(old), where
        for place, pair in enumerate(zip(new, old, strict=True)):
            assert_same(*pair, f"{where}[{place}]", tolerance)
    elif isinstance(old, float):
        assert new == pytest.approx(old, rel=tolerance, abs=tolerance), where
    else:
        assert new == old, where


# -------------------------------------------------------------------------------------------------- a metric, an entry


def test_a_metric_of_frames_is_one_entry(folder, monkeypatch, capsys):
    def largest_error(forecast):
        return (forecast.samples - forecast.truth).abs().amax((-1, -2, -3))

    entry = Metric(
        name="largest", label="largest error", digits=3, higher_is_better=False, kind="frame", function=largest_error
    )
    monkeypatch.setitem(METRICS, entry.name, entry)
    assert main(["evaluate", "--predictions", "theirs.npz", "--out", "a"]) == 0
    table = capsys.readouterr().out
    evaluate(None, "b", predictions="first.npz")
    results = read_results("a")
    with np.load("theirs.npz") as file:
        error = np.abs(file["predictions"].astype(float) - file["truth"][:, None] / 255).max((-1, -2, -3))  # (N, S, T)
    means = error.mean(-1)
    best = np.nanmin(means, axis=1)
    assert results["metrics"]["largest"]["best"]["mean"] == pytest.approx(best.mean(), abs=1e-6)
    assert [clip["largest"]["best_sample"] for clip in results["clips"]] == np.nanargmin(means, axis=1).tolist()
    assert "largest error ↓" in table
    assert f"{best.mean():.3f} ± " in table
    curve = [float(row["largest_best"]) for row in rows_of("a/curves.csv")]
    assert curve == pytest.approx(results["curves"]["largest"]["best"]["mean"], rel=1e-5)
    old = iio.imread(folder / "a" / "curves.png").shape[1]
    monkeypatch.delitem(METRICS, "largest")
    evaluate(None, "without", predictions="theirs.npz")
    assert old == pytest.approx(3 / 2 * iio.imread("without/curves.png").shape[1], abs=2)  # a third pair of axes
    monkeypatch.setitem(METRICS, entry.name, entry)
    capsys.readouterr()
    compare(["a", "b", OLD / "first"], "c")
    table = capsys.readouterr().out
    assert table.count("largest error ↓") == 1
    _, second, third = rows_of("c/comparison.csv")
    firsts, seconds = ([clip["largest"]["best"] for clip in read_results(run)["clips"]] for run in "ab")
    difference = np.subtract(seconds, firsts).mean()
    assert float(second["largest_best_minus_first"]) == pytest.approx(difference, rel=1e-4)
    assert f"{difference:+.3f} ± " in table
    assert third["largest_best"] == third["largest_best_minus_first"] == ""  # results from before there was the metric


def test_a_metric_of_all_samples_is_one_entry(folder, monkeypatch, capsys):
    def span(forecast):
        return (forecast.samples.amax(0) - forecast.samples.amin(0)).mean((-1, -2, -3))

    entry = Metric(name="span", label="span", digits=4, higher_is_better=None, kind="samples", function=span)
    monkeypatch.setitem(METRICS, entry.name, entry)
    results = evaluate(None, "a", predictions="theirs.npz")
    with np.load("theirs.npz") as file:
        futures = file["predictions"].astype(float)  # (N, S, T, H, W, C)
    expected = (np.nanmax(futures, 1) - np.nanmin(futures, 1)).mean((-1, -2, -3))
    broken = np.isnan(futures).any((2, 3, 4, 5))  # a sample with NaN counts nowhere, not even in its other frames
    for n in np.flatnonzero(broken.any(1)):
        whole = futures[n][~broken[n]]
        expected[n] = (whole.max(0) - whole.min(0)).mean((-1, -2, -3))
    assert results["samples"]["span"]["mean"] == pytest.approx(expected.mean(), abs=1e-6)
    assert f"span {expected.mean():.4f}" in capsys.readouterr().out
    assert [float(row["span"]) for row in rows_of("a/curves.csv")] == pytest.approx(expected.mean(0), rel=1e-4)
    compare(["a", OLD / "first"], "c")
    assert capsys.readouterr().out.splitlines()[1].split()[-1] == "span"
    first, second = rows_of("c/comparison.csv")
    assert float(first["span"]) == pytest.approx(expected.mean(), rel=1e-4)
    assert second["span"] == ""


def test_a_metric_of_which_all_samples_have_a_mean_is_one_entry(folder, monkeypatch, capsys):
    def brightness(forecast):
        return forecast.samples.mean((-1, -2, -3))

    entry = Metric(name="light", label="light", digits=4, higher_is_better=None, kind="average", function=brightness)
    monkeypatch.setitem(METRICS, entry.name, entry)
    results = evaluate(None, "a", predictions="first.npz")
    with np.load("first.npz") as file:
        expected = file["predictions"].astype(float).mean()
    assert results["samples"]["light"]["mean"] == pytest.approx(expected, rel=1e-5)
    assert f"light {expected:.4f}" in capsys.readouterr().out


def test_a_metric_of_all_clips_is_one_entry(folder, monkeypatch, capsys):
    def colours(forecast):
        return forecast.videos().double().mean((1, 3, 4))

    def distance(truths, samples):
        return {"value": float(np.abs(np.mean(truths, 0) - np.mean(samples, 0)).sum())}

    entry = Metric(
        name="hue", label="hue", digits=2, higher_is_better=False, kind="clips", function=colours, pool=distance
    )
    monkeypatch.setitem(METRICS, entry.name, entry)
    results = evaluate(None, "a", predictions="first.npz")
    with np.load("first.npz") as file:
        made, true = np.round(file["predictions"][:, 0].astype(float) * 255), file["truth"]
    expected = abs(made.mean() - true.mean()) * 8 / 10  # the context, 2 frames of 10, is in both
    assert results["hue"] == {"clips": 4, "frames": 10, "value": pytest.approx(expected, rel=1e-4)}
    assert f"hue ↓ {expected:.2f} (4 clips of 10 frames, context included)" in capsys.readouterr().out
    compare(["a", OLD / "first"], "c")
    assert [row["hue"] for row in rows_of("c/comparison.csv")] == [f"{results['hue']['value']:.6g}", ""]
    assert "hue ↓" in capsys.readouterr().out


def test_a_metric_with_a_best_sample_says_which_is_better():
    with pytest.raises(ValueError, match="must say which sample is the best"):
        Metric(name="x", label="x", digits=1, higher_is_better=None, kind="frame", function=len)


def test_no_two_metrics_keep_a_value_under_one_name():
    kept = [name for metric in METRICS.values() for name in metric.kept]
    assert len({"digest", "not_finite", "clipped", "equal", *kept}) == 4 + len(kept)
    assert all(name == metric.name for name, metric in METRICS.items())


# ---------------------------------------------------------------------------------------- results of earlier versions


def test_futures_scored_before_have_the_same_keys_and_numbers(folder):
    (folder / "w").mkdir()
    torch.save(alexnet(), folder / "w" / "a.pth")
    torch.save(heads(), folder / "w" / "b.pth")
    with pytest.warns(DeprecationWarning, match="torch.jit"):
        torch.jit.save(torch.jit.script(Network()), folder / "i3d.pt")
    evaluate(None, "theirs", predictions="theirs.npz", lpips_weights="w", fvd_weights="i3d.pt")
    new, old = read_results("theirs"), read_results(OLD / "theirs")
    assert new["samples"].pop("cross_entropy")["mean"] > 0  # not known then
    assert new.keys() == old.keys()
    assert_same({part: new[part] for part in PARTS}, {part: old[part] for part in PARTS})
    assert_same(new["fvd"], old["fvd"], tolerance=1e-3)  # a small difference of large sums
    assert new["weights"].keys() == old["weights"].keys()
    new_rows, old_rows = rows_of("theirs/curves.csv"), rows_of(OLD / "theirs" / "curves.csv")
    new_rows = [{name: v for name, v in row.items() if not name.startswith("cross_entropy")} for row in new_rows]
    for new_row, old_row in zip(new_rows, old_rows, strict=True):
        assert_same(
            {name: float(value) for name, value in new_row.items()},
            {name: float(value) for name, value in old_row.items()},
            tolerance=1e-4,
        )


def test_a_model_scored_before_has_the_same_keys_and_numbers(folder):
    evaluate("one-digit", "model", clips=3, samples=3, horizon=6, protocol="svg2018")
    new, old = read_results("model"), read_results(OLD / "one-digit")
    assert new["samples"].pop("identity")["truth"] == pytest.approx(1, abs=1e-3)  # not known then; there is one digit
    assert new["samples"].pop("cross_entropy")["mean"] > 0  # likewise
    assert new["samples"].pop("directions")["bounces"] == 1  # likewise
    assert new.keys() == old.keys()
    parts = [part for part in PARTS if part != "name"]
    assert_same({part: new[part] for part in parts}, {part: old[part] for part in parts}, tolerance=1e-3)


def test_old_results_give_the_same_tables(folder, capsys):
    assert evaluation_table(read_results(OLD / "theirs")) + "\n" == (OLD / "theirs" / "table.txt").read_text()
    compare([OLD / "theirs", OLD / "first"], "c")
    assert capsys.readouterr().out.startswith((OLD / "comparison.txt").read_text())
    assert (folder / "c" / "comparison.csv").read_bytes() == (OLD / "comparison.csv").read_bytes()


def test_an_old_evaluation_that_was_stopped_goes_on(folder):
    shutil.copytree(OLD / "stopped.evaluating", folder / "stopped.evaluating")
    lines = (folder / "stopped.evaluating" / "clips.jsonl").read_text()
    marked = lines.replace('"clipped": 0', '"clipped": 7', 1)
    (folder / "stopped.evaluating" / "clips.jsonl").write_text(marked)
    evaluate(None, "stopped", predictions="theirs.npz", resume=True)
    new, old = read_results("stopped"), read_results(OLD / "theirs")
    assert new["not_finite"]["values_clipped"] == 7  # what was kept is used, not made again
    assert_same(new["samples"], old["samples"])
    assert_same(new["metrics"], {name: old["metrics"][name] for name in ("psnr", "ssim")})
    assert not (folder / "stopped.evaluating").exists()


def test_a_metric_that_came_after_a_stop_is_left_out_of_what_goes_on(folder, monkeypatch):
    """Its values of the first clips were never kept; a second stop and a second --resume work, too."""
    entry = Metric(
        name="light", label="light", digits=2, higher_is_better=True, kind="frame",
        function=lambda forecast: forecast.samples.mean((-1, -2, -3)),
    )  # fmt: skip
    monkeypatch.setitem(METRICS, entry.name, entry)
    evaluate(None, "whole", predictions="theirs.npz")
    assert "light" in read_results("whole")["metrics"]
    shutil.copytree(OLD / "stopped.evaluating", folder / "stopped.evaluating")
    lines = folder / "stopped.evaluating" / "clips.jsonl"
    records = [json.loads(line) for line in lines.read_text().splitlines()]
    later = {**records[1], "light": records[1]["psnr"]}  # as this version keeps a third clip
    lines.write_text("".join(json.dumps(record) + "\n" for record in (*records, later)))
    evaluate(None, "stopped", predictions="theirs.npz", resume=True)
    assert list(read_results("stopped")["metrics"]) == ["psnr", "ssim"]
