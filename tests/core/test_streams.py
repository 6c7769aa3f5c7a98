"""What is printed and read in any locale, and by readers that leave early."""

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from commands import STOCHVID
from paths import ROOT
from stochvid.config import load_config
from stochvid.core.streams import PLAIN

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
PREDICT = ["predict", "one-digit", "moving-mnist:1", "moving-mnist:2", "--samples", "1", "--horizon", "2"]
SMALL = [
    *("--model.image_size", "32", "--model.base_channels", "2", "--model.g_dim", "6", "--model.rnn_size", "6"),
    *("--model.context", "3", "--model.horizon", "2", "--data.num_digits", "1", "--data.batch_size", "4"),
    *("--data.val_clips", "4", "--trainer.device", "cpu", "--trainer.log_every", "1", "--trainer.sample_clips", "0"),
]


def run(words: list[str], cwd: Path, **env: str) -> subprocess.CompletedProcess:
    return subprocess.run([*STOCHVID, *words], capture_output=True, cwd=cwd, env=os.environ | env, timeout=300)


def unread(words: list[str], cwd: Path, both: bool = False) -> int:
    """The exit code of a command whose output nobody reads: the pipe is closed at its other end."""
    ours, theirs = os.pipe()
    process = subprocess.Popen(
        [*STOCHVID, *words], stdout=theirs, stderr=theirs if both else subprocess.PIPE, cwd=cwd, text=True
    )
    os.close(theirs)
    os.close(ours)
    _, said = process.communicate(timeout=300)
    assert not said or "roken pipe" not in said
    return process.returncode


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["train", "--config", "laptop", "--print_config"]])
def test_what_is_only_printed_may_go_unread(words, tmp_path):
    assert unread(words, tmp_path, both=True) == 0


def test_all_results_are_written_though_nobody_reads_the_output(tmp_path):
    assert unread([*PREDICT, "--out", "out"], tmp_path) == 0
    for clip in ("moving-mnist-1", "moving-mnist-2"):
        assert (tmp_path / "out" / clip / "futures.npz").is_file()


@pytest.mark.slow
def test_training_goes_on_though_nobody_reads_its_output(tmp_path):
    assert unread(["train", *SMALL, "--trainer.max_steps", "3", "--out", "run"], tmp_path, both=True) == 0
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()


@pytest.mark.slow
def test_closed_standard_streams_do_not_matter(tmp_path):
    words = " ".join([*STOCHVID, *PREDICT, "--out", "out"])
    assert subprocess.run(["bash", "-c", f"{words} >&- 2>&-"], cwd=tmp_path, timeout=300).returncode == 0
    assert (tmp_path / "out" / "moving-mnist-2" / "futures.npz").is_file()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("words", [["--help"], ["train", "--config", "laptop", "--print_config"]])
def test_an_output_on_a_full_disk_is_said(words, tmp_path):
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*STOCHVID, *words], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 2
    assert re.fullmatch("stochvid: .*standard output.*No space left on device.*\n", done.stderr)


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_a_signal_may_come_when_nobody_reads_errors_any_more(tmp_path):
    code = (
        "import os, signal, sys\n"
        "from stochvid.core.signals import StopSignals\n"
        "ours, theirs = os.pipe(); os.dup2(theirs, 2); os.close(theirs); os.close(ours)\n"
        "with StopSignals() as signals:\n"
        f"    os.kill(os.getpid(), {int(signal.SIGINT)})\n"
        "sys.exit(signals.received == signal.SIGINT)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 1


# ------------------------------------------------------------------------------------------------------------- locales


def test_an_ascii_terminal_gets_our_signs_spelt_out(tmp_path):
    words = [word for word in PREDICT if word != "moving-mnist:2"]
    done = run([*words, "--out", "out"], tmp_path, **ASCII)
    assert done.returncode == 0, done.stderr
    assert b"32x32 grey" in done.stdout
    assert b"-> out/moving-mnist-1" in done.stdout


def test_any_other_letter_is_escaped():
    assert "σ² ≤ 3, é→\udcff".encode("ascii", PLAIN) == b"sigma^2 <= 3, \\xe9->\\udcff"


def test_strict_encodings_do_not_stop_a_command(tmp_path):
    done = run(["uncertainty", "--help"], tmp_path, PYTHONIOENCODING="ascii:strict")
    assert done.returncode == 0, done.stderr
    assert b"the prior's sigma with" in done.stdout


@pytest.fixture(params=["ja_JP EUC-JP", "de_DE ISO-8859-1", "C"])
def locale(request, tmp_path) -> dict[str, str]:
    """What sets a locale that is not UTF-8."""
    if request.param == "C":
        return ASCII
    language, charset = request.param.split()
    if shutil.which("localedef") is None:
        pytest.skip("localedef is not here")
    name = f"{language}.{charset.replace('-', '').lower()}"
    made = subprocess.run(["localedef", "-i", language, "-f", charset, str(tmp_path / name)], capture_output=True)
    if made.returncode > 1 or not (tmp_path / name).exists():
        pytest.skip("the sources of this locale are not here")
    return ASCII | {"LOCPATH": str(tmp_path), "LC_ALL": name}


def test_configs_are_utf8_in_every_locale(locale, tmp_path):
    text = "# β of the KL, σ → größer\ndata:\n  store: /daten/größe\noptim:\n  lr: 2e-3\n"
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "optim.yaml").write_text("clip_norm: 1e0  # ≤ 1\n", encoding="utf-8")
    words = ["train", "--config", "svg-two-digits", "--config", "mine.yaml", "--optim", "optim.yaml", "--print_config"]
    done = run(words, tmp_path, **locale)
    assert done.returncode == 0, done.stderr
    (tmp_path / "printed.yaml").write_bytes(done.stdout)
    config = load_config(tmp_path / "printed.yaml")
    assert (config.data.store, config.optim.lr, config.optim.clip_norm) == ("/daten/größe", 0.002, 1.0)
    assert config.model.image_size == 64


@pytest.mark.slow
def test_a_folder_may_have_a_name_that_the_locale_cannot_say(tmp_path):
    words = ["train", *SMALL, "--trainer.max_steps", "2", "--out", "größe"]
    done = run(words, tmp_path, **ASCII)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "größe" / "model" / "README.md").is_file()
    assert b"TensorBoard cannot write to a folder of this name" in done.stderr


def test_every_text_file_is_opened_with_its_encoding():
    unsaid = []
    for path in sorted((ROOT / "src").rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call) or any(word.arg == "encoding" for word in call.keywords):
                continue
            name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", None)
            if name == "open" and isinstance(call.func, ast.Name):
                mode = [word.value for word in call.keywords if word.arg == "mode"] + call.args[1:2]
                binary = mode and isinstance(mode[0], ast.Constant | ast.IfExp) and "b" in ast.unparse(mode[0])
                unsaid += [] if binary else [f"{path.name}:{call.lineno}"]
            method = isinstance(call.func, ast.Attribute)
            if name in ("read_text", "write_text") and method:
                unsaid.append(f"{path.name}:{call.lineno}")
    assert not unsaid, unsaid
