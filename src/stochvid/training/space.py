"""What a search may vary: fields of a config and their values, from a YAML file. Imports no torch.

optim.lr: {low: 1.0e-4, high: 1.0e-2, log: true}    # a number between two, by its logarithm
data.batch_size: {low: 8, high: 64, step: 8}        # a whole number, in steps
model.prior: [learned, fixed]                       # one of these
"""

import contextlib
import copy
import dataclasses
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints

from stochvid.config import GROUPS, TrainConfig
from stochvid.core.errors import InputError, nearest
from stochvid.core.untrusted import MOST_YAML, parse_yaml, read_text, shown

BOUNDS = {"low", "high", "log", "step"}
FIXED = (  # what a search cannot vary: what is trained, by how many processes, and by what trials are compared
    "model.family", "trainer.devices", "trainer.num_nodes", "trainer.rollout_clips", "trainer.validate_every",
)  # fmt: skip
MOST = 1e300  # of a number in a range
IN_ALL = 256  # of values together that are tried, before the search says that one fits none
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
        space[name] = _choice(entry, name, base, what) if isinstance(entry, list) else _range(entry, name, base, what)
    for name, some in space.items():
        for value in _tried(some):
            _check_value(base, space, name, value, what)
    weighed = [name for name in space if name.startswith(("loss.", "adversarial.")) or name == "model.beta"]
    if weighed and not base.trainer.rollout_clips:
        raise InputError(
            f"{what}: {weighed[0]} changes what the loss counts, and with trainer.rollout_clips 0 trials are compared "
            "by their loss. Leave it at 1 or more, so that they are compared by their futures."
        )
    return space


def _tried(entry: Range | list[Value]) -> list[Value]:
    """Values of an entry that have to work: all of a list; of a range its ends, and one between."""
    if isinstance(entry, list):
        return entry
    if entry.whole:
        step = int(entry.step or 1)
        return [int(entry.low), int(entry.low) + step, int(entry.high)]
    return [entry.low, entry.low + (entry.step or 0.618 * (entry.high - entry.low)), entry.high]


def _check_value(base: TrainConfig, space: Space, name: str, value: Value, what: str) -> None:
    """Checks that a value works, alone or together with some values of the other entries."""
    others = [other for other in space if other != name]
    together = itertools.product(*(_tried(space[other]) for other in others))
    first = None
    for values in itertools.chain([()], itertools.islice(together, IN_ALL)):
        try:
            with_values(base, {name: value, **dict(zip(others, values, strict=False))})
        except InputError as error:
            first = first or error
        else:
            return
    between = (
        "" if isinstance(space[name], list) else f" A range has all values between; list those of {name} that work."
    )
    raise InputError(f"{what}: {first}{between}") from None


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


def _choice(entry: list[Any], name: str, base: TrainConfig, what: str) -> list[Value]:
    entry = [_number(value, name, base) for value in entry]
    plain = all(value is None or isinstance(value, bool | int | float | str) for value in entry)
    if not plain or len(entry) < 2 or len(set(entry)) < len(entry):
        raise InputError(f"{what}: {name} needs two or more different values, got {shown(entry)}.")
    return entry


def _range(entry: Any, name: str, base: TrainConfig, what: str) -> Range:
    form = f"{what}: {name} must be a list of values, or {{low: …, high: …}} with log: true or step: … if you like"
    if not isinstance(entry, dict) or not {"low", "high"} <= set(entry) <= BOUNDS:
        raise InputError(f"{form}, got {shown(entry)}.")
    entry = {key: value if key == "log" else _number(value, name, base) for key, value in entry.items()}
    low, high, log, step = entry["low"], entry["high"], entry.get("log", False), entry.get("step")
    numbers = [number for number in (low, high, step) if number is not None]
    right = all(isinstance(n, int | float) and not isinstance(n, bool) and abs(n) < MOST for n in numbers)
    if not right or not isinstance(log, bool) or len(numbers) < 2:
        raise InputError(f"{form}, of finite numbers. Got {shown(entry)}.")
    if low >= high or (step is not None and not 0 < step <= high - low) or (log and (low <= 0 or step is not None)):
        raise InputError(
            f"{what}: {name} needs low below high, a step that fits between them, and with log: true low above 0 and "
            f"no step. Got {shown(entry)}."
        )
    whole = all(isinstance(number, int) for number in numbers) and int in _kinds(name, base)
    if not whole and float not in _kinds(name, base):
        raise InputError(f"{what}: {name} takes {_only(name, base)}, got {shown(entry)}.")
    return Range(low, high, log, step, whole)


def _only(name: str, base: TrainConfig) -> str:
    return "whole numbers alone" if int in _kinds(name, base) else "no numbers: list its values"


def _kinds(name: str, base: TrainConfig) -> tuple[Any, ...]:
    """The types that a field may be of."""
    group, _, field = name.partition(".")
    kind = get_type_hints(type(getattr(base, group)))[field]
    return (kind, *get_args(kind))


def _number(value: Any, name: str, base: TrainConfig) -> Any:
    """A number that YAML takes for a text, as 1e-4; everything else as it is."""
    if isinstance(value, str) and float in _kinds(name, base):
        with contextlib.suppress(ValueError):
            return float(value)
    return value
