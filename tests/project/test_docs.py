"""What the documents promise: links, pictures, commands and options that exist, code that runs."""

import re
import shlex
import subprocess
import sys
from importlib.util import find_spec

import pytest

from made_data import moving, write_kth, write_video
from paths import ROOT
from stochvid import SVG, __all__, load_config
from stochvid.cli.commands import COMMANDS, load
from stochvid.cli.parsers import option_names
from stochvid.cli.train import make_train_parser
from stochvid.config import shipped_configs
from stochvid.prepare.preparation import prepare

OUTSIDE = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "benchmarks/README.md", "examples/README.md"]
PAGES = OUTSIDE + sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([\w-]+))?\)")


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def prose(page: str) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", read(page), flags=re.DOTALL | re.MULTILINE)


def commands(page: str, tool: str) -> list[list[str]]:
    """The words of every command of a tool that the page has in indented or fenced blocks, or between backticks."""
    text = read(page)
    fenced = re.findall(r"^```(\w*)\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    blocks = [block for language, block in fenced if language in ("", "bash")]
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    blocks += re.findall(r"^    .*$", text, flags=re.MULTILINE)
    blocks += [span.replace("\n", " ") for span in re.findall(rf"`({tool} [^`]+)`", text)]
    lines = re.sub(r" *\\\n *", " ", "\n".join(blocks)).splitlines()
    starts = rf"^ *(?:\.venv/bin/|srun |torchrun [^\n]*-m )?({tool} .*)"
    pieces = [piece.strip() for line in lines for piece in line.split(" && ")]
    found = [re.match(starts, piece) for piece in pieces]
    return [shlex.split(match[1], comments=True) for match in found if match and match[1][len(tool) + 1] != "…"]


def all_options() -> dict[str, set[str]]:
    """The options of every command."""
    return {
        name: set(make_train_parser(command=name)._option_string_actions)
        if name in ("train", "search")
        else option_names(load(command.options))
        for name, command in COMMANDS.items()
    }


def anchors(page: str) -> set[str]:
    """What headings are called in links, by the rule of GitHub."""
    titles = re.findall(r"^#+ (.*)$", read(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.replace("`", "")).strip().lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_and_picture_leads_somewhere(page):
    for target, anchor in LINK.findall(prose(page)):
        path = ((ROOT / page).parent / target).resolve() if target else ROOT / page
        assert path.exists(), target
        assert not path.is_file() or path.stat().st_size > 0, target
        if anchor and path.suffix == ".md":
            assert anchor in anchors(path.relative_to(ROOT).as_posix()), f"{target}#{anchor}"
        if page.startswith("docs/") and path.suffix == ".md":  # a page of the site leads to others of it
            on_site = [ROOT / other for other in PAGES if other != "README.md"]
            assert path in on_site, f"{target} is no page of the site"


@pytest.mark.parametrize("page", PAGES)
def test_every_command_has_the_options_and_configs_that_are_named(page):
    options = all_options()
    for tool, name, *words in commands(page, "stochvid"):
        assert name in options, (tool, name)
        named = {re.sub(r"=.*", "", word) for word in words if re.match(r"--[a-z]", word)} - {"--group.field"}
        assert named <= set(options[name]), (name, named - set(options[name]))
        for config in re.findall(r"--config ([\w/.-]+)", shlex.join(words)):
            if config != "mine.yaml":
                assert config in shipped_configs() or (ROOT / config).is_file(), config
    known = set().union(*options.values()) | {"--group.field", "--logdir"}
    for path in [*(ROOT / "examples").glob("*.py"), *(ROOT / "benchmarks").glob("*.py"), ROOT / "docs" / "figures.py"]:
        known |= set(re.findall(r'"(--[\w-]+)"', path.read_text(encoding="utf-8")))
    ours = [code for code in re.findall(r"`(--[a-z][\w.-]*)", prose(page)) if page != "docs/scale.md"]
    assert set(ours) <= known, set(ours) - known


@pytest.mark.parametrize("page", PAGES)
def test_every_script_and_make_target_that_is_named_exists(page):
    for _, script, *words in commands(page, "python"):
        if script.endswith(".py"):
            source = read(script)
            for word in words:
                assert not word.startswith("--") or f'"{word}"' in source, (script, word)
    for _, *targets in commands(page, "make"):
        for target in targets:
            assert re.search(rf"^{target}:", read("Makefile"), flags=re.MULTILINE), target


def test_every_command_is_used_somewhere_in_the_docs():
    used = {words[1] for page in PAGES for words in commands(page, "stochvid")}
    assert set(COMMANDS) <= used, set(COMMANDS) - used


def test_every_page_is_in_the_navigation_and_every_public_name_in_the_api():
    site = read("mkdocs.yml")
    for page in PAGES:
        if page.startswith("docs/"):
            assert page.removeprefix("docs/") in site, page
    api = "".join(read(page) for page in PAGES if page.startswith("docs/api/"))
    for name in set(__all__) - {"__version__"}:
        assert re.search(rf"^::: stochvid\.([\w.]+\.)?{name}$", api, flags=re.MULTILINE), name


@pytest.mark.parametrize("page", PAGES)
def test_every_file_of_ours_that_is_named_is_there(page):
    """From the root, or below `src/stochvid`."""
    for name in re.findall(r"`((?:[\w-]+/)+[\w-]+\.py)`", read(page)):
        assert (ROOT / name).is_file() or (ROOT / "src" / "stochvid" / name).is_file(), name


def test_the_script_that_draws_the_figures_loads():
    subprocess.run(
        [sys.executable, ROOT / "docs" / "figures.py", "--help"], check=True, capture_output=True, timeout=200
    )


def test_figures_are_small():
    for path in (ROOT / "docs" / "figures").iterdir():
        assert path.stat().st_size < 150_000, path.name


def test_the_store_example_of_the_docs_runs(tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", read("docs/data.md"), flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    prepare(write_kth(tmp_path / "KTH"), "data/kth64", workers=0)
    names = {}
    exec(code, names)
    assert names["clip"].shape == (30, 1, 64, 64)
    assert names["everything"].shape == (448, 1, 64, 64)


def test_the_code_of_how_svg_works_runs_and_says_what_it_gives(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", read("docs/how-it-works.md"), flags=re.DOTALL)
    exec(code, {})
    printed = re.findall(r"\[(.*?)\]", capsys.readouterr().out)
    said = re.findall(r"# \((.*?)\)", code)
    assert printed == said


def test_the_code_of_the_tutorial_runs(tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", read("docs/tutorial.md"), flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    config = load_config(ROOT / "examples" / "balls.yaml").model
    config.base_channels = 2
    SVG(config).save_pretrained("runs/balls/model")
    write_video(tmp_path / "data" / "ball-videos" / "ball-007.mp4", moving(30))
    names = {}
    exec(code, names)
    assert names["futures"].frames.shape == (1, 8, 20, 3, 32, 32)
    assert 0 <= names["share"] <= 1


@pytest.mark.slow
@pytest.mark.skipif(
    find_spec("mkdocs") is None, reason="mkdocs is not here; `make docs` and `make test-slow` install it"
)
def test_the_site_is_built_without_warnings_and_fetches_nothing(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(
        command, cwd=ROOT, env={"PATH": "", "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr, done.stderr
    fetched = re.compile(r"<(?:script|img|link|iframe)[^>]+(?:src|href)=.?https?://[^\s>]+")
    for page in (tmp_path / "site").rglob("*.html"):
        found = [tag for tag in fetched.findall(page.read_text(encoding="utf-8")) if 'rel="canonical"' not in tag]
        assert not found, (page, found)
