"""The command line of `stochvid train` and `search`: every field of a config is an option, which jsonargparse parses.

What it leaves open is settled here: a config may be a shipped name, overrides win wherever they stand, an unknown
option is answered with the nearest valid ones, `--resume` brings its run's config.
"""

import dataclasses
import re
from argparse import SUPPRESS, ArgumentError
from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ActionConfigFile, ArgumentParser

from stochvid.cli import descriptions
from stochvid.cli.formatters import Formatter
from stochvid.cli.options import check_names
from stochvid.command_options import option_name
from stochvid.config import (
    GROUPS,
    RUN_CONFIG,
    TrainConfig,
    config_path,
    family_of,
    group_types,
    read_yaml,
    shipped_configs,
)
from stochvid.core.errors import InputError, alike, nearest
from stochvid.core.untrusted import MOST_YAML, parse_yaml, read_text
from stochvid.model_configs import FIRST_FAMILY, families_with, family_text
from stochvid.training.options import SearchOptions, TrainOptions
from stochvid.training.runs import Run

RECIPE = "own-videos"  # the config for clips of a store, where no other is named
USAGE = {
    "train": (
        "stochvid train [--config NAME | --data.store STORE | --videos FOLDER | --resume RUN]\n"
        "                      [--GROUP.FIELD VALUE ...] [--out RUN] [options]"
    ),
    "search": (
        "stochvid search [--config NAME | --data.store STORE] --space FILE [--GROUP.FIELD VALUE ...]\n"
        "                       [--trials N] [--minutes M] [options]"
    ),
}
OPTIONS: dict[str, type[TrainOptions] | type[SearchOptions]] = {"train": TrainOptions, "search": SearchOptions}
FOLDERS = {"train": "runs", "search": "searches"}  # where what a command makes is, unless --out says it


def parse_train(words: list[str], command: str = "train") -> TrainOptions | SearchOptions:
    """What the words after `train` or `search` ask for.

    Raises:
        InputError: with what is wrong with them.
        SystemExit: they ask for help, which was given.
    """
    words = with_recipe(words, FOLDERS[command])
    parser = make_train_parser(family := family_to_train(words), command)
    check_names(command, words, parser._option_string_actions, _hint)
    asks_for_help = {"-h", "--help"} & set(words)
    try:
        parsed = parser.instantiate(
            parser.parse_args(["--help"] if asks_for_help else ready_to_train(words, family, command))
        )
    except ArgumentError as error:
        raise InputError(_plain(error)) from None
    kind = OPTIONS[command]
    others = {spec.name: parsed[spec.name] for spec in dataclasses.fields(kind) if spec.name != "config"}
    return kind(TrainConfig(**{name: parsed[name] for name in GROUPS}), **others)


class ConfigFile(ActionConfigFile):
    """A config that we read, as UTF-8: jsonargparse would read it as the locale says."""

    def __call__(self, parser: Any, cfg: Any, values: Any, option_string: str | None = None) -> None:
        """Hands on what it holds, spelt in ASCII; `ready_to_train` has checked it."""
        self.apply_config(parser, cfg, self.dest, yaml.safe_dump(parse_yaml(read_text(Path(values), MOST_YAML))))


def make_train_parser(family: str = FIRST_FAMILY, command: str = "train") -> ArgumentParser:
    """The parser of a command, for models of one family."""
    parser = ArgumentParser(
        usage=USAGE[command],
        description=descriptions.COMMANDS[command],
        exit_on_error=False,
        print_config=None,
        formatter_class=Formatter,
    )
    shipped = ", ".join(shipped_configs())
    parser.add_argument("--config", action=ConfigFile, help=f"a shipped config ({shipped}) or a YAML file")
    for spec in dataclasses.fields(OPTIONS[command]):
        if spec.type is bool:
            parser.add_argument(f"--{spec.name}", action="store_true", help=spec.metadata["help"])
        elif spec.name != "config":
            parser.add_argument(option_name(spec), type=spec.type, default=spec.default, help=spec.metadata["help"])
    for name, kind in group_types(family).items():
        parser.add_class_arguments(kind, name)
        parser._option_string_actions[f"--{name}"].help = SUPPRESS
    return parser


def _hint(name: str, known: Collection[str]) -> str:
    """What may have been meant: a field whose group was left out, one of another family, the nearest of a group."""
    field = name.removeprefix("--").replace("-", "_").lower()
    if fields := [option for group in GROUPS for option in known if option == f"--{group}.{field}"]:
        return f"Did you mean {' or '.join(fields)}?"
    group, _, field = name.removeprefix("--").partition(".")
    families = families_with(field)
    if group == "model" and families:
        return f"It is of {family_text(families)}: add --model.family {families[0]}, or leave it out."
    if not field:
        return nearest(name, known)
    group = f"--{group}."
    return nearest(name, [option for option in known if option.startswith(group)] or known)


def with_recipe(words: list[str], folder: str = "runs") -> list[str]:
    """The words after `train`; of own videos without a config, with the recipe for them, and with their size."""
    rest, videos = _take(words, "--videos")
    rest, stores = _take(rest, "--data.store")
    if videos and not stores:
        stores = [f"data/{Path(videos[-1]).resolve().name}"]
        words = [*words, "--data.store", stores[-1]]
    named = any(word.split("=")[0] in ("--config", "--resume", "--model.family") for word in rest)
    if not stores or named:
        return words
    from stochvid.data.store import Store, is_store  # NumPy, which help can do without

    if not videos and is_store(stores[-1]):
        store = Store(stores[-1])
        for option, value in (("--model.image_size", store.size), ("--model.channels", store.channels)):
            if not any(word.split("=")[0] == option for word in rest):
                words = [*words, option, str(value)]
    if not any(word.split("=")[0] == "--out" for word in rest):
        words = [*words, "--out", f"{folder}/{Path(stores[-1]).resolve().name}"]
    return ["--config", RECIPE, *words]


def family_to_train(words: list[str]) -> str:
    """The family of models that the words after `train` ask for: by an option, else in the last config that names one.

    Raises:
        InputError: an unknown config.
    """
    words, families = _take(words, "--model.family")
    words, configs = _take(words, "--config")
    runs = [Path(run) / RUN_CONFIG for run in _take(words, "--resume")[1] if (Path(run) / RUN_CONFIG).is_file()]
    named = [family_of(read_yaml(path)) for path in [*runs, *map(config_path, configs)]]
    return [FIRST_FAMILY, *filter(None, named), *families][-1]


def ready_to_train(words: list[str], family: str, command: str = "train") -> list[str]:
    """Finds the configs and the folder of `stochvid train` or `search`.

    Args:
        words: what follows it.
        family: of the model to train.
        command: which of the two.

    Returns:
        The words with every `--config` a checked file and before everything else (the run's own first, with
        `--resume`), with `--out`, and with `--resume` only if there is something to continue.

    Raises:
        InputError: an unknown config or field, or a run that is not there.
    """
    if not words:
        raise InputError(
            f"{command} needs a config: --config laptop, or another of {', '.join(shipped_configs())}; or own videos: "
            "--videos FOLDER, or --data.store STORE."
        )
    for word, before in zip(words, ["", *words], strict=False):
        if not word.startswith("-") and not before.startswith("-") and (names := alike(word, shipped_configs())):
            raise InputError(f"{command} takes the name of a config as an option: --config {names[0]}.")
    words, configs = _take(words, "--config")
    words, resumes = _take(words, "--resume")
    words, outs = _take(words, "--out")
    paths = [config_path(name) for name in configs]
    out = Path(outs[-1]) if outs else Path(FOLDERS[command]) / (paths[-1].stem if paths else "run")
    resume: str | Path | None = resumes[-1] if resumes else None
    if resume == "auto":
        resume = out if Run(out).checkpoints() else None
        if Run(out).only_begun():
            words.append("--overwrite")  # it was killed before its first checkpoint: begin again
    if resume is not None:
        if outs and Path(resume).resolve() != out.resolve():
            raise InputError(f"--resume continues in its own folder {str(resume)!r}: leave out --out {str(out)!r}.")
        if any(word.split("=")[0] == "--init" for word in words) and resumes[-1] != "auto":
            raise InputError(
                "--init starts a new run from a model's weights, --resume continues one: give one of them."
            )
        out = Path(resume)
        if not (out / RUN_CONFIG).is_file():
            raise InputError(
                f"--resume: there is no run in {str(out)!r} (no {RUN_CONFIG} there). Give a run folder, or auto."
            )
        paths.insert(0, out / RUN_CONFIG)
    ready = []
    for path in paths:
        read_yaml(path, family)  # names of groups and fields, with hints that jsonargparse does not give
        ready += ["--config", str(path)]
    for group in GROUPS:
        words, values = _take(words, f"--{group}")
        ready += [f"--{group}={_group(group, value)}" for value in values]
    ready += [*words, "--out", str(out)]
    return ready + (["--resume", str(out)] if resume is not None else [])


def _group(name: str, value: str) -> str:
    """The fields of a whole group, {lr: 1e-3} or a file of them, as YAML."""
    if value.startswith("{"):
        return value
    try:
        return yaml.safe_dump(parse_yaml(read_text(Path(value), MOST_YAML)))
    except (OSError, ValueError):
        fields = dataclasses.fields(group_types(FIRST_FAMILY)[name])
        raise InputError(
            f"--{name} alone takes all of its fields, as a YAML file, got {value!r}. For one of them: "
            f"--{name}.{fields[0].name} VALUE."
        ) from None


def _take(words: list[str], option: str) -> tuple[list[str], list[str]]:
    """The words without an option, and the option's values."""
    rest, values = [], []
    iterator = iter(words)
    for word in iterator:
        if word == option:
            value = next(iterator, None)
            if value is None or value.startswith("--"):
                raise InputError(f"{option} needs a value.")
            values.append(value)
        elif word.startswith(option + "="):
            values.append(word.removeprefix(option + "="))
        else:
            rest.append(word)
    return rest, values


def _plain(error: Exception) -> str:
    """A parser's error in one line, in the words of the command line."""
    text = " ".join(str(error).split())
    text = re.sub(r'Parser key "([\w.]+)":\s*', r"--\1: ", text)
    # of an optional number, the parser says why it is no number, why it is no None, and only then what it is
    text = re.sub(r"Does not validate against any of the Union subtypes.*?(?=Expected an? <class)", "", text)
    text = re.sub(r"(?<=>)\W+Expected a <class 'NoneType'> Given value type: .* Given value: ", ". Got value: ", text)
    text = re.sub(r"Expected an? typing\.Literal\[(.*?)\]\. Got value: ", r"expected one of \1, got ", text)
    return re.sub(r"Expected an? <class '(?:\w+\.)*(\w+)'>\. Got value: (.*)", _expected, text)


def _expected(found: re.Match) -> str:
    kind = {"int": "a whole number", "float": "a number"}.get(found[1], found[1])
    return f"expected {kind}, got {found[2]}."
