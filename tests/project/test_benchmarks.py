"""Every part of the benchmarks runs, at tiny shapes; what it finds is looked at, not how long it took.

A contender is a process of its own, which takes seconds to begin: the parts of many contenders are slow.
"""

import functools
import json
import os
import re
import shutil

import pytest

from benchmarks.__main__ import PARTS, main, table
from benchmarks.models import precisions
from benchmarks.race import Contender, Row, race
from paths import ROOT

pytestmark = pytest.mark.unchecked  # what is timed, and what is exported

COMPILER = shutil.which(os.environ.get("CXX", "g++"))
FEW = ("metrics", "moving-mnist")
MARKED = [pytest.param(part, marks=[] if part in FEW else pytest.mark.slow) for part in PARTS if part != "compiling"]


@pytest.fixture(scope="module")
def find(tmp_path_factory):
    """What a part finds, once."""
    path = tmp_path_factory.mktemp("benchmarks") / "results.json"

    @functools.cache
    def run(part: str) -> list[dict]:
        main([part, "--tiny", "--results", str(path)])
        return json.loads(path.read_text(encoding="utf-8"))[f"cpu: {part}"]["rows"]

    return run


@pytest.mark.parametrize("part", MARKED)
def test_every_part_finds_rates_and_ratios(find, part):
    rows = find(part)
    assert len(rows) >= 2
    assert all(row["rate"] > 0 for row in rows)
    cases = {row["case"]: row["name"] for row in reversed(rows)}
    for row in rows:
        assert (row["ratio"] is None) == (row["name"] == cases[row["case"]])


@pytest.mark.slow
def test_compiling_finds_rates_and_ratios(tmp_path):
    assert COMPILER, "this needs a C++ compiler: install g++, or set CXX"
    rows = main(["compiling", "--tiny", "--results", str(tmp_path / "results.json")])
    assert [row.ratio is None for row in rows] == [True, False] * (len(rows) // 2)


@pytest.mark.slow
@pytest.mark.parametrize("part", ["training", "sampling"])
def test_ours_and_the_loop_are_counted_in_the_same_work(find, part):
    rows = find(part)
    names = [row["name"] for row in rows if row["case"] == rows[0]["case"]]
    assert names[0] == "loop"
    assert names[1:] == precisions("cpu")
    assert all(row["more"]["of_ceiling"] > 0 for row in rows if row["name"] != "loop")
    per_work = [row["more"]["tflops"] / row["rate"] for row in rows[:2]]
    assert per_work[0] > 1.2 * per_work[1]  # the loop encodes twice, and convolves every skip anew


@pytest.mark.slow
def test_what_is_wrong_is_not_timed():
    spec = {"task": "train", "device": "cpu", "precision": "fp32", "batch": 2}
    spec["model"] = {"image_size": 32, "base_channels": 2, "g_dim": 4, "rnn_size": 4, "context": 2, "horizon": 3}
    other = spec | {"model": spec["model"] | {"future_skip": "previous"}}
    contenders = [Contender("loop", spec | {"who": "loop"}, 2), Contender("other", other | {"who": "stochvid"}, 2)]
    with pytest.raises(SystemExit, match="'other' is off by"):
        race("two rules for skips", "clips/s", contenders, 1)
    contenders[1].spec = spec | {"who": "stochvid"}
    assert len(race("one rule", "clips/s", contenders, 1)) == 2


def test_the_readme_names_every_part_and_shows_the_kept_results():
    text = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    results = json.loads((ROOT / "benchmarks" / "results.json").read_text(encoding="utf-8"))
    assert set(PARTS) <= set(re.findall(r"`([a-z-]+)`", text))
    for part in results.values():
        for line in table([Row(**row) for row in part["rows"]]).splitlines()[2:]:
            assert line in text
