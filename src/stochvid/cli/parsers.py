"""Command lines from options: how the fields of a dataclass are shown by `--help` and parsed. Imports no torch.

A small argparse parser is made for the one command that was named. What it gives are texts; the dataclass checks what
they mean.
"""

import dataclasses
import re
from argparse import SUPPRESS, ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from types import UnionType
from typing import Any, Literal, NoReturn, Union, get_args, get_origin

from stochvid.cli.options import check_names, join_range
from stochvid.command_options import Options, is_by_place, option_name, shown_name
from stochvid.core.errors import InputError, nearest

HELP = ("-h", "--help")
ARGUMENT = re.compile(r"argument (\S+): (.*)")


class Parser(ArgumentParser):
    """A parser that raises `InputError`, in our words, where it is given nonsense."""

    def error(self, message: str) -> NoReturn:
        """As of ArgumentParser; gets what is wrong."""
        found = ARGUMENT.fullmatch(message)
        if found and "expected one argument" in found[2]:
            message = f"{found[1]} needs a value"
        elif found and "ignored explicit argument" in found[2]:
            message = f"{found[1]} takes no value"
        raise InputError(f"{message}.")


def parse(command: str, kind: type[Options], words: list[str], description: str) -> Options | None:
    """What the words after a command ask for; None: its help, which was printed.

    Args:
        command: its name.
        kind: its options.
        words: what follows it.
        description: what `--help` says of it, in a line and examples.

    Raises:
        InputError: with what is wrong with the words.
    """
    specs = dict(_fields(kind))
    if set(HELP) & set(words):
        _make_parser(command, kind, description, by_place=True).print_help()
        return None
    words = join_range(words)
    parser = _make_parser(command, kind, description, by_place=False)
    check_names(command, words, parser._option_string_actions)
    cut = words.index("--") if "--" in words else len(words)
    parsed, rest = parser.parse_known_args(words[:cut])
    stray = next((word for word in rest if word.startswith("-") and word != "-" and not _is_number(word)), None)
    if stray is not None:
        raise InputError(f"{command} has no option {stray!r}. {nearest(stray, parser._option_string_actions)}")
    values = {name: _value(value, specs[name]) for name, value in vars(parsed).items()}
    values |= _by_place(command, kind, [*rest, *words[cut + 1 :]])
    if lacking := kind.lacking(values):
        needs = " and ".join(map(shown_name, lacking))
        raise InputError(kind.missing or f"{command} needs {needs}: {_usage(command, kind)}")
    return kind.given(values)


def option_names(kind: type[Options]) -> set[str]:
    """The options of a command: `--name` of each."""
    return {*HELP, *(option_name(spec) for _, spec in _fields(kind) if not is_by_place(spec))}


def _fields(kind: type[Options]) -> Iterator[tuple[str, dataclasses.Field]]:
    """The fields of a command by name, its own before those that it shares with others."""
    told = set()
    for part in (kind, *kind.others.values()):
        for spec in sorted(dataclasses.fields(part), key=lambda spec: spec.name not in part.__annotations__):
            if spec.name not in told:
                told.add(spec.name)
                yield spec.name, spec


def _make_parser(command: str, kind: type[Options], description: str, by_place: bool) -> ArgumentParser:
    """A parser of its options, which leaves out what was not given; with its arguments for the help."""
    specs = [spec for _, spec in _fields(kind)]
    parser = Parser(
        prog=f"stochvid {command}",
        usage=_usage(command, kind),
        description=description,
        argument_default=SUPPRESS,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    groups = {spec.name: title for title, part in reversed(kind.others.items()) for spec in dataclasses.fields(part)}
    own = {spec.name for spec in dataclasses.fields(kind)}
    parts: dict[str, Any] = {}
    for spec in specs:
        title = None if spec.name in own else groups[spec.name]
        if title and title not in parts:
            parts[title] = parser.add_argument_group(title)
        part = parts[title] if title else parser
        if not is_by_place(spec):
            _add_option(part, spec)
        elif by_place:
            part.add_argument(spec.name, metavar=shown_name(spec), help=_help(spec))
    return parser


def _add_option(part: Any, spec: dataclasses.Field) -> None:
    if spec.type is bool:
        part.add_argument(option_name(spec), action="store_true", help=_help(spec))
        return
    choices = _choices(spec)
    metavar = f"{{{','.join(choices)}}}" if choices else shown_name(spec)
    part.add_argument(option_name(spec), metavar=metavar, help=_help(spec))


def _help(spec: dataclasses.Field) -> str:
    """What `--help` says of a field, with its default."""
    text, default = spec.metadata["help"], spec.default
    plain = default is None or default is dataclasses.MISSING or default == "" or isinstance(default, bool)
    told = text if plain or "(default: " in text else f"{text} (default: {default})"
    return told.replace("%", "%%")


def _usage(command: str, kind: type[Options]) -> str:
    words = ["stochvid", command]
    for spec in (spec for spec in dataclasses.fields(kind) if is_by_place(spec)):
        name = shown_name(spec) if spec.default is dataclasses.MISSING else f"[{shown_name(spec)}]"
        words.append(f"{name} [{name} ...]" if _takes_many(spec) else name)
    return " ".join([*words, "[options]"])


def _kinds(spec: dataclasses.Field) -> tuple[Any, ...]:
    """The types that a field may be of."""
    union = isinstance(spec.type, UnionType) or get_origin(spec.type) is Union
    return get_args(spec.type) if union else (spec.type,)


def _choices(spec: dataclasses.Field) -> list[str]:
    return [choice for kind in _kinds(spec) if get_origin(kind) is Literal for choice in get_args(kind)]


def _takes_many(spec: dataclasses.Field) -> bool:
    return get_origin(spec.type) is Sequence


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _value(text: str | bool, spec: dataclasses.Field) -> Any:
    """What a text stands for in a field: a number where it takes one, `null` where it may be left out."""
    name, kinds = option_name(spec), _kinds(spec)
    if isinstance(text, bool) or (text == "null" and type(None) in kinds):
        return None if text == "null" else text
    for kind, what in ((int, "a whole number"), (float, "a number")):
        if kind in kinds:
            try:
                return kind(text)
            except ValueError:
                raise InputError(f"{name}: expected {what}, got {text[:80] or 'nothing'}.") from None
    return text


def _by_place(command: str, kind: type[Options], words: list[str]) -> dict[str, Any]:
    """The arguments among the words, which are no options."""
    values: dict[str, Any] = {}
    for spec in (spec for spec in dataclasses.fields(kind) if is_by_place(spec)):
        if words:
            values[spec.name] = words if _takes_many(spec) else words[0]
            words = [] if _takes_many(spec) else words[1:]
    if words:
        raise InputError(kind.too_many or f"{command} takes no further argument, got {words[0]!r}.")
    return values
