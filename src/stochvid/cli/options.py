"""The command line's words, made ready before they are parsed.

jsonargparse parses them. What it leaves open is settled here: a config may be a shipped name, overrides win wherever
they stand, an unknown command or option is answered with the nearest valid ones, `--resume` brings its run's config.
"""

import dataclasses
from collections.abc import Collection, Mapping
from pathlib import Path

import yaml

from stochvid.config import GROUPS, config_path, family_of, group_types, read_yaml, shipped_configs
from stochvid.core.errors import InputError, alike, nearest
from stochvid.core.untrusted import MOST_YAML, parse_yaml, read_text
from stochvid.model_configs import FIRST_FAMILY, ModelConfig
from stochvid.training.runs import CONFIG, Run


def join_range(words: list[str]) -> list[str]:
    """The words with the two numbers of `--range LOW HIGH` as one value, which may begin with a minus.

    Raises:
        InputError: it is given something else than auto or two numbers.
    """
    joined, rest = [], list(words)
    while rest:
        word = rest.pop(0)
        name, _, value = word.partition("=")
        if name != "--range":
            joined.append(word)
            continue
        values = [value] if value else [rest.pop(0)] if rest else []
        if values and values[0] != "auto" and "," not in values[0]:
            values += [rest.pop(0)] if rest else []
        try:
            if values != ["auto"]:
                _, _ = (float(number) for number in ",".join(values).split(","))
        except ValueError:
            given = " ".join(values) or "nothing"
            raise InputError(f"--range must be two numbers, as --range 0 4095, or auto; got {given:.80}.") from None
        joined.append(f"--range={','.join(values)}")
    return joined


def check_names(words: list[str], commands: Mapping[str, Collection[str]]) -> None:
    """Checks the command and the names of its options.

    Args:
        words: the command line.
        commands: the options of each command.

    Raises:
        InputError: with the nearest valid names.
    """
    if not words or words[0].startswith("-"):
        return
    if words[0] not in commands:
        raise InputError(f"there is no command {words[0]!r}. {nearest(words[0], commands)}")
    for word in words[1 : words.index("--") if "--" in words else None]:
        name = word.split("=")[0]
        if word.startswith("--") and name not in commands[words[0]]:
            known = commands[words[0]]
            raise InputError(f"{words[0]} has no option {name!r}. {_hint(name, known)}")


def _hint(name: str, known: Collection[str]) -> str:
    """What may have been meant: a field whose group was left out, one of another family, the nearest of a group."""
    field = name.removeprefix("--").replace("-", "_").lower()
    if fields := sorted(option for option in known if option.endswith("." + field)):
        return f"Did you mean {' or '.join(fields)}?"
    group, _, field = name.removeprefix("--").partition(".")
    families = [family for family, kind in ModelConfig.families.items() if field in kind.__dataclass_fields__]
    if group == "model" and families:
        return f"It is of the family {' and '.join(families)}: add --model.family {families[0]}, or leave it out."
    if not field:
        return nearest(name, known)
    group = f"--{group}."
    return nearest(name, [option for option in known if option.startswith(group)] or known)


def family_to_train(words: list[str]) -> str:
    """The family of models that the words after `train` ask for: by an option, else in the last config that names one.

    Raises:
        InputError: an unknown config.
    """
    words, families = _take(words, "--model.family")
    words, configs = _take(words, "--config")
    runs = [Path(run) / CONFIG for run in _take(words, "--resume")[1] if (Path(run) / CONFIG).is_file()]
    named = [family_of(read_yaml(path)) for path in [*runs, *map(config_path, configs)]]
    return [FIRST_FAMILY, *filter(None, named), *families][-1]


def ready_to_train(words: list[str], family: str) -> list[str]:
    """Finds the configs and the run folder of `stochvid train`.

    Args:
        words: what follows `train`.
        family: of the model to train.

    Returns:
        The words with every `--config` a checked file and before everything else (the run's own first, with
        `--resume`), with `--out`, and with `--resume` only if there is something to continue.

    Raises:
        InputError: an unknown config or field, or a run that is not there.
    """
    if not words:
        raise InputError(f"train needs to know what: --config laptop, or another of {', '.join(shipped_configs())}.")
    for word, before in zip(words, ["", *words], strict=False):
        if not word.startswith("-") and not before.startswith("-") and (names := alike(word, shipped_configs())):
            raise InputError(f"train takes the name of a config as an option: --config {names[0]}.")
    words, configs = _take(words, "--config")
    words, resumes = _take(words, "--resume")
    words, outs = _take(words, "--out")
    paths = [config_path(name) for name in configs]
    out = Path(outs[-1]) if outs else Path("runs") / (paths[-1].stem if paths else "run")
    resume = resumes[-1] if resumes else None
    if resume == "auto":
        resume = str(out) if Run(out).checkpoints() else None
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
        if not (out / CONFIG).is_file():
            raise InputError(
                f"--resume: there is no run in {str(out)!r} (no {CONFIG} there). Give a run folder, or auto."
            )
        paths.insert(0, out / CONFIG)
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
