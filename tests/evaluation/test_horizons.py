"""`evaluate --horizons`: how good the 1st, 10th, … predicted frame is."""

import math

import pytest

from stochvid.cli import main
from tiny import made_store


def test_what_frames_are_worth_one_by_one(tmp_path, capsys):
    made_store(tmp_path / "store", [25, 25])  # frame t is t grey levels brighter than the first
    words = ["evaluate", "copy-last", "--data", str(tmp_path / "store"), "--context", "5", "--out", str(tmp_path / "e")]
    assert main([*words, "--horizons", "20, 1,10,1"]) == 0
    told = capsys.readouterr().out
    rows = [line.split() for line in told[told.index("predicted frame by") :].splitlines()[1:]]
    places = [int(row[0]) for row in rows[1:4]]
    assert places == [1, 10, 20]
    for place, row in zip(places, rows[1:4], strict=True):
        assert float(row[1]) == pytest.approx(20 * math.log10(255 / place), abs=0.006)  # PSNR
        assert float(row[-1]) == pytest.approx(place / 255, rel=1e-3)  # CRPS of one prediction: its absolute error
    assert main([*words, "--horizons", "5,20", "--resume"]) == 0  # of results that are there already
    assert "\n5 " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (["--horizons", "1,0"], "--horizons must be numbers of predicted frames from 1 to 100,000"),
        (["--horizons", "1,,2"], "with commas between them, as 1,10,100; got '1,,2'"),
        (["--horizons", "9" * 5000], "from 1 to 100,000"),
        (["--horizons", "1,10", "--horizon", "5"], "--horizons ends at 10, --horizon is 5"),
        (["--horizons", "1,21"], "no clip of 26 frames"),
    ],
)
def test_horizons_that_make_no_sense_are_said(tmp_path, capsys, asked, told):
    made_store(tmp_path / "store", [25])
    words = ["evaluate", "copy-last", "--data", str(tmp_path / "store"), "--context", "5", "--out", str(tmp_path / "e")]
    assert main([*words, *asked]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "e").exists()
