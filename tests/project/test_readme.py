"""What the README promises, beside what all documents do (`test_docs.py`)."""

import re

from paths import ROOT
from stochvid.config import shipped_configs

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_example_runs_and_prints_what_it_says(tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    printed = re.findall(r"\[(.*?)\]", capsys.readouterr().out)
    said = re.findall(r"\((.*?)\)", code.split("#")[1])
    assert printed == said


def test_every_config_is_in_the_readme():
    for name in shipped_configs():
        assert name in README or f"`-{name.split('-')[-1]}`" in README
