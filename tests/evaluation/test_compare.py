"""`stochvid compare`: what may stand side by side, and what may not."""

import csv
import json

import imageio.v3 as iio
import numpy as np
import pytest

from stochvid import InputError
from stochvid.cli import main
from stochvid.evaluation.compare import compare
from stochvid.evaluation.evaluate import evaluate
from stochvid.evaluation.results import RESULTS, read_results
from stochvid.prepare.moving_mnist_sets import prepare_moving_mnist


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Evaluations of both baselines on one store."""
    folder = tmp_path_factory.mktemp("runs")
    store = prepare_moving_mnist(folder / "store", num_digits=1, size=32, clips=6, length=7)
    for name in ("copy-last", "mean-of-context"):
        evaluate(name, folder / name, data=str(store.path), context=3, horizon=4)
    return folder


def variant(runs, tmp_path, change):
    """The second evaluation with something changed."""
    results = read_results(runs / "mean-of-context")
    change(results)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / RESULTS).write_text(json.dumps(results))
    return tmp_path / "other"


def test_a_comparison_has_a_table_a_plot_and_paired_differences(runs, tmp_path, capsys):
    words = [str(runs / name) for name in ("copy-last", "mean-of-context")]
    assert main(["compare", *words, "--out", str(tmp_path / "c")]) == 0
    said = capsys.readouterr().out
    assert "Against copy-last, clip by clip:" in said
    a, b = (read_results(word) for word in words)
    with open(tmp_path / "c" / "comparison.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["copy-last", "mean-of-context"]
    assert float(rows[1]["ssim_best"]) == pytest.approx(b["metrics"]["ssim"]["best"]["mean"], rel=1e-5)
    difference = np.array(
        [two["psnr"]["best"] - one["psnr"]["best"] for one, two in zip(a["clips"], b["clips"], strict=True)]
    )
    assert float(rows[1]["psnr_best_minus_first"]) == pytest.approx(difference.mean(), rel=1e-4)
    half = 1.96 * difference.std(ddof=1) / np.sqrt(6)
    assert float(rows[1]["psnr_best_minus_first_ci95"]) == pytest.approx(half, rel=1e-4)
    assert iio.imread(tmp_path / "c" / "comparison.png").std() > 10
    assert main(["compare", *words, "--out", str(tmp_path / "c")]) == 2
    assert "holds results already" in capsys.readouterr().err
    assert main(["compare", *words, "--out", str(tmp_path / "c"), "--overwrite"]) == 0


def test_runs_of_one_name_are_told_apart(runs, tmp_path):
    compare([runs / "copy-last", runs / "copy-last"], tmp_path / "c")
    assert "copy-last (2)" in (tmp_path / "c" / "comparison.csv").read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r["protocol"].update(name="svg2018"), r"protocol.name is 'srvp2020' in .* and 'svg2018' in"),
        (lambda r: r["setting"].update(context=2), "setting.context is 3 in .* and 2 in"),
        (lambda r: r["setting"].update(horizon=3), "are not whole: the curve of psnr has not 3 steps"),
        (lambda r: r["data"].update(sha256="0"), r"data.sha256: the clips of .* have different frames"),
        (lambda r: r["data"].update(sha256="0", name="KTH"), "is on test of .*other' on KTH"),
        (lambda r: r.update(version=99), "are of version 99; this stochvid reads version 1"),
        (lambda r: r.update(format="x"), "holds no results of stochvid evaluate"),
        (lambda r: r.update(version=True), "are of version True"),
        (lambda r: r.pop("curves"), "are not whole: 'curves' is missing"),
        (lambda r: r.update(weights=None), "are not whole"),
        (lambda r: r.update(data={}), "are not whole: 'name' is missing"),
        (lambda r: r.update(setting=[]), "are not whole"),
        (lambda r: r.update(clips=[]), "are not whole: 0 clips are not the 6 of the setting"),
        (lambda r: r.update(name=5), "are not whole: names or counts are of the wrong kind"),
        (lambda r: r["metrics"]["psnr"]["best"].update(mean="much"), "are not whole: a number is none"),
        (lambda r: r["metrics"]["psnr"]["best"].update(mean=float("nan")), "are cut short or broken: NaN is no number"),
        (lambda r: r.update(metrics={}), "hold no scores"),
    ],
)
def test_what_cannot_stand_side_by_side_is_refused_by_field(runs, tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        compare([runs / "copy-last", variant(runs, tmp_path, change)], tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_how_many_samples_were_asked_for_must_agree_only_of_what_draws(runs, tmp_path):
    drew = variant(runs, tmp_path, lambda r: (r["setting"].update(samples=10), r["sampling"].update(drawn=10)))
    compare([runs / "copy-last", drew], tmp_path / "c")  # a baseline draws one, whatever is asked
    (tmp_path / "more").mkdir()
    more = variant(runs, tmp_path / "more", lambda r: r["sampling"].update(drawn=100))
    with pytest.raises(InputError, match=r"setting.samples is 10 in .* and 100 in"):
        compare([drew, more], tmp_path / "d")


def test_networks_that_judge_must_be_the_same(runs, tmp_path):
    one = variant(runs, tmp_path, lambda r: r["weights"].update(lpips="a"))
    compare([runs / "copy-last", one], tmp_path / "c")  # one without LPIPS is no contradiction
    (tmp_path / "more").mkdir()
    two = variant(runs, tmp_path / "more", lambda r: r["weights"].update(lpips="b"))
    with pytest.raises(InputError, match=r"weights.lpips: .* scored with different networks"):
        compare([one, two], tmp_path / "d")


def test_results_that_are_cut_short_or_missing_are_named(runs, tmp_path, capsys):
    whole = (runs / "copy-last" / RESULTS).read_text()
    (tmp_path / "results.json").write_text(whole[: len(whole) // 2])
    assert main(["compare", str(tmp_path / "results.json"), "--out", str(tmp_path / "c")]) == 2
    assert "are cut short or broken" in capsys.readouterr().err
    assert main(["compare", str(tmp_path / "nowhere"), "--out", str(tmp_path / "c")]) == 2
    assert "there are no results in" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()


def test_a_folder_of_something_else_is_never_replaced(runs, tmp_path):
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "thesis.tex").write_text("")
    with pytest.raises(InputError, match="is not an earlier result"):
        compare([runs / "copy-last"], tmp_path / "c", overwrite=True)
