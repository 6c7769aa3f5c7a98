"""What commands take: dataclasses that the command line and Python share."""

import dataclasses
import subprocess
import sys
from contextlib import suppress
from typing import Literal, get_args, get_origin

import pytest

from stochvid import InputError
from stochvid.cli.commands import COMMANDS, load, main, parse
from stochvid.cli.train import make_train_parser
from stochvid.command_options import Options, argument, is_by_place, option, option_name, shown_name, takes
from stochvid.config import shipped_models
from stochvid.evaluation.options import EvaluateOptions
from stochvid.inference.options import PredictOptions
from stochvid.prepare.options import EnvironmentOptions, MovingMNISTOptions, PrepareOptions, VerifyOptions

OF_CONFIGS = {"train", "search"}  # whose options are the fields of a config, too
KINDS = {name: load(command.options) for name, command in COMMANDS.items()}


def help_of(command: str, capsys) -> str:
    """What its `--help` says, in a line."""
    with suppress(SystemExit):  # as jsonargparse ends
        assert main([command, "--help"]) == 0
    return " ".join(capsys.readouterr().out.split())


def all_fields(kind: type[Options]) -> list[dataclasses.Field]:
    return [spec for part in (kind, *kind.others.values()) for spec in dataclasses.fields(part)]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_field_has_a_help_text_that_help_shows(command, capsys):
    said = help_of(command, capsys).replace("- ", "-")
    for spec in all_fields(KINDS[command]):
        text = spec.metadata["help"]
        if (command in OF_CONFIGS, spec.name) != (True, "config"):  # its fields stand there one by one
            assert text.strip(), spec.name
            assert text.replace("- ", "-") in said, spec.name
            called = shown_name(spec) if is_by_place(spec) else option_name(spec)
            assert (called if command not in OF_CONFIGS else f"--{spec.name}") in said, spec.name


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - OF_CONFIGS))
def test_the_defaults_in_help_are_those_of_the_dataclass(command, capsys):
    said = help_of(command, capsys).replace("- ", "-")
    for spec in all_fields(KINDS[command]):
        if isinstance(spec.default, str | int | float) and not isinstance(spec.default, bool) and spec.default != "":
            assert f"{spec.metadata['help']} (default: {spec.default})".replace("- ", "-") in said, spec.name


@pytest.mark.parametrize("command", COMMANDS)
def test_a_field_that_may_be_left_out_has_a_default_that_passes_its_own_check(command):
    for part in (KINDS[command], *KINDS[command].others.values()):
        lacking = [spec.name for spec in part.lacking({})]
        assert all(spec.name in lacking for spec in dataclasses.fields(part) if spec.default is dataclasses.MISSING)


def test_what_is_not_given_is_as_the_dataclass_says():
    options = parse("predict", ["one-digit", "moving-mnist:1"])
    assert options == PredictOptions("one-digit", ["moving-mnist:1"])
    assert parse("evaluate", ["one-digit"]) == EvaluateOptions("one-digit")
    assert parse("app", []).model == next(iter(shipped_models()))


def a_value(spec: dataclasses.Field) -> str:
    """A text that a field takes."""
    kinds = (spec.type,) if get_origin(spec.type) is Literal else get_args(spec.type) or (spec.type,)
    choices = [choice for kind in kinds if get_origin(kind) is Literal for choice in get_args(kind)]
    bounds = spec.metadata.get("bounds")
    if choices:
        return choices[-1]
    if int in kinds or float in kinds:
        return str(bounds.one_of[0] if bounds and bounds.one_of else 3)
    texts = {"axes": "THW", "range": "0,5", "split": "train", "protocol": "svg2018", "format": "onnx", "raw": "8x8x1"}
    texts |= {"policy": "random", "make": "a=1", "horizons": "1,10"}
    return "kth" if spec.metadata["metavar"] == "{videos,arrays,kth,bair,lerobot}" else texts.get(spec.name, "x")


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - OF_CONFIGS))
def test_every_option_that_is_given_arrives_in_its_field(command):
    kind = KINDS[command]
    for part in (kind, *kind.others.values()):
        for spec in dataclasses.fields(part):
            if is_by_place(spec) or spec.name == "batch_statistics":
                continue
            if part is EnvironmentOptions and spec.name == "length":  # which all other kinds of stores take
                continue
            places = (
                ["moving-mnist", "out", "--mnist", "x"] if part is MovingMNISTOptions else ["a"] * len(kind.lacking({}))
            )
            if part is EnvironmentOptions:
                places = ["gym:x", "out"]
            words = [option_name(spec)] if spec.type is bool else [option_name(spec), a_value(spec)]
            if spec.name == "verify" or (command, spec.name) == ("evaluate", "predictions"):
                places = []
            elif command == "evaluate":
                places = ["one-digit"]
            elif spec.name == "raw":
                places = ["one-digit", "-"]
            found = getattr(parse(command, [*places, *words]), spec.name)
            assert found is True if spec.type is bool else found in (words[1], 3, 32, (0.0, 5.0)), spec.name


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (["in", "out"], PrepareOptions),
        (["moving-mnist", "out"], MovingMNISTOptions),
        (["gym:x", "out"], EnvironmentOptions),
        (["--verify", "out"], VerifyOptions),
    ],
)
def test_prepare_takes_what_its_kind_of_source_takes(words, kind):
    assert type(parse("prepare", words)) is kind


def test_options_may_stand_between_arguments_and_after_two_dashes_nothing_is_one():
    options = parse("predict", ["one-digit", "a.mp4", "--samples", "3", "b.mp4", "--", "--seed"])
    assert (options.clips, options.samples, options.seed) == (["a.mp4", "b.mp4", "--seed"], 3, 0)
    assert parse("predict", ["one-digit", "a.mp4", "--start", "-5", "--context", "null"]).start == -5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["predict", "m", "c", "--samples"], "--samples needs a value."),
        (["predict", "m", "c", "--samples", "1.5"], "--samples: expected a whole number, got 1.5."),
        (["predict", "m", "c", "--samples="], "--samples: expected a whole number, got nothing."),
        (["predict", "m", "c", "--temperature", "nan"], "--temperature must be a finite number, got nan."),
        (["predict", "m", "c", "--overwrite=yes"], "--overwrite takes no value."),
        (["predict", "m", "c", "--device", "tpu"], "--device must be one of 'auto', 'cpu', 'cuda', got 'tpu'."),
        (["predict", "m", "c", "-x"], "predict has no option '-x'."),
        (["export", "m"], "export needs OUT: stochvid export MODEL OUT [options]"),
        (["compare"], "compare needs RUN: stochvid compare RUN [RUN ...] [options]"),
        (["surprise", "m", "a", "b"], "surprise takes no further argument, got 'b'."),
        (["app", "--port", "0"], "--port must be from 1 to 65535, got 0."),
        (["--helpp"], "there is no option '--helpp'. Did you mean --help?"),
    ],
)
def test_wrong_words_are_answered_before_anything_is_loaded(words, message, capsys):
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"stochvid: {message}")
    assert len(error.splitlines()) == 1


def test_values_from_python_are_checked_as_those_of_the_command_line():
    with pytest.raises(InputError, match="--samples must be at least 1, got 0"):
        PredictOptions("m", ["c"], samples=0)
    with pytest.raises(InputError, match="--samples must be of type int, got '3'"):
        PredictOptions("m", ["c"], samples="3")
    with pytest.raises(InputError, match="clips must be of type Sequence, got 'moving-mnist:1'"):
        PredictOptions("m", "moving-mnist:1")  # not one clip for each letter
    assert PredictOptions("m", ["c"], temperature=1, range=(0, 5), axes="thw").axes == "THW"


def test_a_function_takes_the_options_or_their_fields():
    @dataclasses.dataclass
    class Two(Options):
        first: int = argument("one")
        second: int = option(2, "another", least=1)

    @takes(Two)
    def both(options: Two) -> tuple[int, int]:
        return options.first, options.second

    assert both(Two(1)) == both(1) == both(first=1, second=2) == (1, 2)
    with pytest.raises(InputError, match="--second must be at least 1"):
        both(1, second=0)
    with pytest.raises(TypeError, match="third"):
        both(1, third=3)


@pytest.mark.parametrize(
    ("command", "own"), [("train", {"--resume", "--init", "--overwrite", "--print_config"}), ("search", {"--space"})]
)
def test_train_and_search_have_their_own_options_and_every_field_of_the_config(command, own):
    known = make_train_parser(command=command)._option_string_actions
    assert own | {"--out", "--threads", "--model.z_dim", "--adversarial.weight"} <= set(known)


def test_only_train_and_search_wait_for_jsonargparse():
    code = (
        "import sys; from stochvid.cli.commands import COMMANDS, main\n"
        "for name in COMMANDS:\n"
        "    if name not in ('train', 'search'): main([name, '--help'])\n"
        "print([n for n in ('torch', 'numpy', 'jsonargparse', 'gradio') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
