"""How many threads: what is tried, what wins, and who overrules it."""

import pytest
import torch

from stochvid.cli import main
from stochvid.core.threads import SET_OUTSIDE, candidates, fastest, fastest_threads


@pytest.fixture
def threads():
    """Eight, as on a larger machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(8)
    yield torch.get_num_threads
    torch.set_num_threads(before)


@pytest.fixture
def nothing_set(monkeypatch):
    for name in SET_OUTSIDE:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("most", "tried"), [(1, [1]), (2, [2, 1]), (3, [3, 1]), (6, [6, 3, 1]), (64, [64, 32, 16, 8, 4, 2, 1])]
)
def test_all_halves_and_one_are_tried(most, tried):
    assert candidates(most) == tried


@pytest.mark.parametrize(
    ("seconds", "wins"),
    [
        ({1: 1.0}, 1),
        ({2: 0.5, 1: 1.0}, 2),
        ({2: 1.0, 1: 0.95}, 2),  # not clearly faster
        ({2: 8.0, 1: 1.0}, 1),
        ({8: 2.0, 4: 0.5, 2: 0.7, 1: 1.2}, 4),
    ],
)
def test_fewer_win_if_they_are_clearly_faster(seconds, wins):
    assert fastest(seconds) == wins


def test_what_is_chosen_and_why_is_said_on_a_busy_machine(threads, nothing_set, capsys):
    assert fastest_threads("cpu", lambda numbers: {n: float(n) for n in numbers}) == 1
    said = capsys.readouterr().err
    assert said.startswith("note: computes with 1 of 8 threads: this machine is busy")
    assert "8.0 times as long (--threads N takes N)" in said
    assert threads() == 8  # it was only asked


def test_nothing_is_said_on_an_idle_machine(threads, nothing_set, capsys):
    assert fastest_threads("cpu", lambda numbers: {n: 1 / n for n in numbers}) == 8
    assert capsys.readouterr().err == ""


def test_the_real_measurement_tries_each_and_leaves_the_number_as_it_was(threads, nothing_set):
    assert fastest_threads("cpu") in candidates(8)
    assert threads() == 8


@pytest.mark.parametrize("name", SET_OUTSIDE)
def test_a_number_from_outside_is_kept(threads, nothing_set, monkeypatch, name):
    monkeypatch.setenv(name, "3")
    assert fastest_threads("cpu", lambda numbers: pytest.fail("it was measured")) is None


def test_commands_take_a_number(threads, tmp_path, capsys):
    words = ["predict", "one-digit", "moving-mnist:7", "--samples", "1", "--threads", "3", "--out", str(tmp_path)]
    assert main(words) == 0
    assert threads() == 3
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("words", [["predict", "m", "c"], ["train"], ["app", "m"]])
def test_no_thread_is_too_few(words, capsys):
    assert main([*words, "--threads", "0"]) == 2
    assert "--threads must be from 1 to 4,096, got 0" in capsys.readouterr().err
