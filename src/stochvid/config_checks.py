"""How the fields of a config are checked, wherever they come from. The bounds of a field stand at the field."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from stochvid.core.errors import InputError
from stochvid.core.untrusted import shown

MOST = (1 << 32) - 1  # of whole numbers without a bound of their own: seeds; far more than anybody counts of anything


@dataclass(frozen=True)
class Bounds:
    """What numbers a field may hold: from `least` to `most`, or strictly `above` and `below`, or `one_of` some."""

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    one_of: tuple[int, ...] = ()

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
        value = _checked_type(getattr(config, spec.name), spec.type, name)
        setattr(config, spec.name, value)
        if type(value) in (int, float):
            bounds = spec.metadata.get("bounds", Bounds())
            optional = " or null" if type(None) in get_args(spec.type) else ""
            require(bounds.hold(value), name, value, f"{bounds}{optional}")
            require(value <= MOST or type(value) is float, name, value, f"at most {MOST:,}")


def _checked_type(value: Any, kind: Any, name: str) -> Any:
    """The value, as a float where the annotation takes floats."""
    if get_origin(kind) is Literal:
        choices = get_args(kind)
        require(value in choices, name, value, f"one of {', '.join(map(repr, choices))}")
        return value
    kinds = get_args(kind) or (kind,)
    if float in kinds and (number := _number(value)) is not None:
        return number
    readable = " or ".join("null" if k is type(None) else k.__name__ for k in kinds)
    require(type(value) in kinds, name, value, f"of type {readable}")
    require(type(value) is not float, name, value, "a finite number")
    return value


def _number(value: Any) -> float | None:
    """A finite number, also of a text (YAML reads 2e-3 as one)."""
    try:
        number = float(value) if type(value) in (int, float, str) else math.nan
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
