"""What the README promises."""

import re

from conftest import ROOT
from stochvid import SVG, load_config
from stochvid.cli import _parsers
from stochvid.config import shipped_configs

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_example_runs_and_prints_what_it_says(tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    config = load_config(shipped_configs()["laptop"]).model
    config.base_channels = 2
    SVG(config).save_pretrained("demo/run/model")
    exec(code, {})
    printed = re.findall(r"\[(.*?)\]", capsys.readouterr().out)
    said = re.findall(r"\((.*?)\)", code.split("#")[1])
    assert printed == said


def test_every_option_and_config_in_the_readme_exists():
    _, options = _parsers()
    known = set().union(*options.values())
    named = set(re.findall(r"(?<![\w-])--[a-z][\w.]*", README)) - {"--group.field", "--logdir"}
    assert named
    assert named <= known, named - known
    assert set(re.findall(r"--config ([\w-]+)(?!\S)", README)) <= set(shipped_configs())


def test_every_picture_in_the_readme_is_there():
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", README):
        assert (ROOT / picture).stat().st_size > 1000
