"""How the fields of a config are checked, wherever they come from. The bounds of a field stand at the field."""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from stochvid.core.errors import InputError
from stochvid.core.untrusted import shown

MOST = (1 << 32) - 1  # of whole numbers without a bound of their own: seeds; far more than anybody counts of anything


@dataclass(frozen=True)
class Bounds:
    """What numbers a field may hold: from `least` to `most`, or strictly `above` and `below`, or `one_of` some.

    `said` says it in other words.
    """

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    one_of: tuple[int, ...] = ()
    said: str = ""

    def hold(self, value: float) -> bool:
        """Whether a value is within them."""
        return (
            (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
            and (not self.one_of or value in self.one_of)
        )

    def __str__(self) -> str:
        if self.said:
            return self.said
        if self.one_of:
            *first, last = map(str, self.one_of)
            return f"{', '.join(first)} or {last}"
        least = self.least if self.above is None else self.above
        most = self.most if self.below is None else self.below
        if most is None:
            return f"at least {least:,}" if self.above is None else f"above {least:g}"
        if least is None:
            return f"at most {most:,}" if self.below is None else f"below {most:g}"
        if self.below is None and self.above is None:
            return f"from {least:,} to {most:,}"
        return f"in {'[' if self.above is None else '('}{least:g}, {most:g}{']' if self.below is None else ')'}"


def bounded(default: Any, **bounds: Any) -> Any:
    """A field of a config with the bounds of its numbers, as `Bounds` takes them."""
    return dataclasses.field(default=default, metadata={"bounds": Bounds(**bounds)})


def require(ok: bool, what: str, got: Any, expected: str) -> None:
    """Checks what a field holds.

    Raises:
        InputError: it is not as expected.
    """
    if not ok:
        raise InputError(f"{what} must be {expected}, got {shown(got)}.")


def check_fields(config: Any, group: str) -> None:
    """Checks each field against its annotation and its bounds: a config from a file is as safe as one typed.

    Raises:
        InputError: with the name of the field, what it must be, and what it is.
    """
    for spec in dataclasses.fields(config):
        name = f"{group}.{spec.name}"
        check_field(config, spec, name, " or null")
        value = getattr(config, spec.name)
        require(type(value) is not int or value <= MOST, name, value, f"at most {MOST:,}")


def check_steps(number: int | float, name: str) -> None:
    """Checks a number of steps that may be a fraction of all.

    Raises:
        InputError: it is neither a whole number nor below 1.
    """
    require(number < 1 or number == int(number), name, number, "a whole number, or a fraction below 1")


def check_field(config: Any, spec: dataclasses.Field, name: str, or_none: str = "") -> None:
    """Checks one field of a dataclass, and makes it a float where its annotation takes floats.

    Args:
        config: the dataclass.
        spec: of the field.
        name: what people call it.
        or_none: what is said of a field that may be left out, after what it must be.

    Raises:
        InputError: with that name, what it must be, and what it is.
    """
    value = _checked_type(getattr(config, spec.name), spec.type, name, or_none)
    setattr(config, spec.name, value)
    bounds = spec.metadata.get("bounds", Bounds())
    if type(value) in (int, float) and not bounds.hold(value):
        optional = or_none if type(None) in get_args(spec.type) else ""
        raise InputError(
            f"{name} must be {bounds}{optional}, got {shown(value) if type(value) is int else f'{value:g}'}."
        )


def _checked_type(value: Any, kind: Any, name: str, or_none: str) -> Any:
    """The value, as a float where the annotation takes floats."""
    kinds = get_args(kind) if isinstance(kind, UnionType) or get_origin(kind) is Union else (kind,)
    if value is None and type(None) in kinds:
        return None
    choices = [choice for k in kinds if get_origin(k) is Literal for choice in get_args(k)]
    if choices and value in choices:
        return value
    kinds = tuple(k for k in kinds if k is not type(None) and get_origin(k) is not Literal)
    optional = or_none if type(None) in get_args(kind) else ""
    require(not choices or bool(kinds), name, value, f"one of {', '.join(map(repr, choices))}{optional}")
    if int in kinds and type(value) is int:
        return value
    if float in kinds and (number := _number(value)) is not None:
        return number
    readable = " or ".join(getattr(k, "__name__", str(k)) for k in kinds)
    require(any(_is_of(value, k) for k in kinds), name, value, f"of type {readable}{optional}")
    require(type(value) is not float, name, value, "a finite number")
    return value


def _is_of(value: Any, kind: Any) -> bool:
    """Whether a value is of a kind: a number of that very one, for `True` is no 1."""
    if kind in (bool, int, float, str):
        return type(value) is kind
    if get_origin(kind) is Sequence:
        return isinstance(value, Iterable) and not isinstance(value, str)
    return isinstance(value, get_origin(kind) or kind)


def _number(value: Any) -> float | None:
    """A finite number, also of a text (YAML reads 2e-3 as one)."""
    try:
        number = float(value) if type(value) in (int, float, str) else math.nan
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
