"""Files appear whole or not at all, and the old one stays until the new one is there."""

import os

import pytest

from stochvid import InputError
from stochvid.core.files import replacing, replacing_folder


def test_a_file_that_fails_leaves_the_old_one(tmp_path):
    (tmp_path / "a.txt").write_text("old")

    def fill_the_disk():
        with replacing(tmp_path / "a.txt") as path:
            path.write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match="No space"):
        fill_the_disk()
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_a_folder_is_replaced_whole(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "old").write_text("")
    with replacing_folder(tmp_path / "a") as folder:
        (folder / "new").write_text("")
    assert [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")] == ["a", "a/new"]


@pytest.mark.parametrize("failing", [1, 2])
def test_a_folder_that_is_interrupted_while_it_is_replaced_is_the_old_one(tmp_path, monkeypatch, failing):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "old").write_text("")
    calls, original = [], os.replace

    def interrupted(*paths):
        calls.append(paths)
        if len(calls) == failing:
            raise KeyboardInterrupt
        original(*paths)

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt), replacing_folder(tmp_path / "a") as folder:
        (folder / "new").write_text("")
    assert [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")] == ["a", "a/old"]
