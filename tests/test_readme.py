"""What the README promises."""

import re

import pytest
from made_data import write_kth

from conftest import ROOT
from stochvid.config import shipped_configs
from stochvid.parsers import make_parser
from stochvid.prepare import prepare

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_example_runs_and_prints_what_it_says(tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    printed = re.findall(r"\[(.*?)\]", capsys.readouterr().out)
    said = re.findall(r"\((.*?)\)", code.split("#")[1])
    assert printed == said


@pytest.mark.parametrize("name", ["README.md", "docs/data.md", "docs/evaluation.md", "docs/export.md", "docs/app.md"])
def test_every_option_config_and_file_that_is_named_exists(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    _, options = make_parser()
    known = set().union(*options.values())
    named = set(re.findall(r"(?<![\w-])--[a-z][\w.-]*", text)) - {"--group.field", "--logdir"}
    assert named
    assert named <= known, named - known
    configs = set(re.findall(r"--config ([\w-]+)(?![\w.-])", text)) - {"mine"}
    assert configs or "--config" not in text
    assert configs <= set(shipped_configs())
    for link in re.findall(r"\]\(([\w./-]+?)(?:#[\w-]+)?\)", text):
        assert ((ROOT / name).parent / link).exists(), link


def test_every_config_is_in_the_readme():
    for name in shipped_configs():
        assert name in README or f"`-{name.split('-')[-1]}`" in README


def test_the_store_example_of_the_docs_runs(tmp_path, monkeypatch):
    (code,) = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / "data.md").read_text(encoding="utf-8"), flags=re.DOTALL
    )
    monkeypatch.chdir(tmp_path)
    prepare(write_kth(tmp_path / "KTH"), "data/kth64", workers=0)
    names = {}
    exec(code, names)
    assert names["clip"].shape == (30, 1, 64, 64)
    assert names["everything"].shape == (448, 1, 64, 64)


def test_every_picture_in_the_readme_is_there():
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", README):
        assert (ROOT / picture).stat().st_size > 1000
