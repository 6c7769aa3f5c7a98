"""What a search may vary: fields of a config and their values, from a YAML file. Imports no torch.

optim.lr: {low: 1.0e-4, high: 1.0e-2, log: true}    # a number between two, by its logarithm
data.batch_size: {low: 8, high: 64, step: 8}        # a whole number, in steps
model.prior: [learned, fixed]                       # one of these
"""

import copy
import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints

from stochvid.config import GROUPS, TrainConfig
from stochvid.core.errors import InputError, nearest
from stochvid.core.untrusted import MOST_YAML, parse_yaml, read_text, shown

BOUNDS = {"low", "high", "log", "step"}
FIXED = ("model.family", "trainer.devices", "trainer.num_nodes")  # what a search cannot vary
Value = bool | int | float | str | None


@dataclasses.dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included.

    Attributes:
        low: the least.
        high: the largest.
        log: whether they are drawn by their logarithm.
        step: between neighbouring ones; None: any, or of whole numbers 1.
        whole: whether they are whole numbers.
    """

    low: float
    high: float
    log: bool
    step: float | None
    whole: bool


Space = dict[str, Range | list[Value]]


def read_space(path: str | Path, base: TrainConfig) -> Space:
    """Reads a space, and checks that a config may have its values.

    Args:
        path: of a YAML file.
        base: the config whose fields vary.

    Raises:
        InputError: it is no such file, names what is no field, or has values that the field cannot have.
    """
    what = f"space {str(path)!r}"
    try:
        entries = parse_yaml(read_text(Path(path), MOST_YAML))
    except OSError as error:
        raise InputError(f"{what} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise InputError(f"{what} is not valid YAML: {error!s:.400}") from None
    if not isinstance(entries, dict) or not entries:
        raise InputError(
            f"{what} must hold fields and their values, as optim.lr: [1.0e-3, 2.0e-3]. Got {shown(entries)}."
        )
    space: Space = {}
    for name, entry in entries.items():
        _check_name(name, base, what)
        space[name] = _choice(entry, name, what) if isinstance(entry, list) else _range(entry, name, base, what)
        ends = space[name]
        for value in ends if isinstance(ends, list) else (ends.low, ends.high):
            try:
                with_values(base, {name: value})
            except InputError as error:
                raise InputError(f"{what}: {error}") from None
    return space


def with_values(base: TrainConfig, values: Mapping[str, Value]) -> TrainConfig:
    """A config with other values of some fields, by their dotted names.

    Raises:
        InputError: values that a config cannot have, or not together.
    """
    changed: dict[str, dict[str, Value]] = {}
    for name, value in values.items():
        group, _, field = name.partition(".")
        changed.setdefault(group, {})[field] = value
    groups = {name: copy.deepcopy(getattr(base, name)) for name in GROUPS}
    for name, fields in changed.items():
        groups[name] = dataclasses.replace(groups[name], **fields)
    return TrainConfig(**groups)


def shown_value(value: Any) -> str:
    """A value for people."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def to_json(space: Space) -> dict[str, Any]:
    """The space as plain values, to compare it with another."""
    return {name: dataclasses.asdict(e) if isinstance(e, Range) else list(e) for name, e in space.items()}


def _check_name(name: Any, base: TrainConfig, what: str) -> None:
    known = [f"{group}.{spec.name}" for group in GROUPS for spec in dataclasses.fields(getattr(base, group))]
    if not isinstance(name, str) or name not in known:
        given = name if isinstance(name, str) else ""
        ends = [one for one in known if one.endswith(f".{given}")]
        hint = f"Did you mean {' or '.join(ends)}?" if ends else nearest(given[:80], known)
        raise InputError(f"{what}: there is no field {shown(name)}. {hint}")
    if name in FIXED:
        raise InputError(f"{what}: {name} is the same in all trials of a search. Set it by --{name}.")


def _choice(entry: list[Any], name: str, what: str) -> list[Value]:
    plain = all(value is None or isinstance(value, bool | int | float | str) for value in entry)
    if not plain or len(entry) < 2 or len(set(map(repr, entry))) < len(entry):
        raise InputError(f"{what}: {name} needs two or more different values, got {shown(entry)}.")
    return entry


def _range(entry: Any, name: str, base: TrainConfig, what: str) -> Range:
    form = f"{what}: {name} must be a list of values, or {{low: …, high: …}} with log: true or step: … if you like"
    if not isinstance(entry, dict) or not {"low", "high"} <= set(entry) <= BOUNDS:
        raise InputError(f"{form}, got {shown(entry)}.")
    low, high, log, step = entry["low"], entry["high"], entry.get("log", False), entry.get("step")
    numbers = [number for number in (low, high, step) if number is not None]
    right = all(isinstance(n, int | float) and not isinstance(n, bool) and math.isfinite(n) for n in numbers)
    if not right or not isinstance(log, bool) or len(numbers) < 2:
        raise InputError(f"{form}, of finite numbers. Got {shown(entry)}.")
    if low >= high or (step is not None and not 0 < step <= high - low) or (log and (low <= 0 or step is not None)):
        raise InputError(
            f"{what}: {name} needs low below high, a step that fits between them, and with log: true low above 0 and "
            f"no step. Got {shown(entry)}."
        )
    whole = all(isinstance(number, int) for number in numbers) and _takes_whole_numbers(name, base)
    return Range(low, high, log, step, whole)


def _takes_whole_numbers(name: str, base: TrainConfig) -> bool:
    group, _, field = name.partition(".")
    kind = get_type_hints(type(getattr(base, group)))[field]
    return int in (kind, *get_args(kind))
