"""How the fields of a config are checked, wherever they come from."""

import dataclasses
import math
from typing import Any, Literal, get_args, get_origin

from stochvid.core.errors import InputError
from stochvid.core.untrusted import shown

# A config from elsewhere shall not ask for a model, or for clips, that no memory holds.
WIDTHS = ("channels", "base_channels", "g_dim", "z_dim", "rnn_size", "num_digits", "digit_size", "max_speed")
LAYERS = ("predictor_layers", "posterior_layers", "prior_layers")
MOST = dict.fromkeys(LAYERS, 64) | dict.fromkeys(WIDTHS, 4096) | {"sample_clips": 1000, "workers": 1000}
MOST_OF_ANY = (1 << 32) - 1  # of seeds; far more than anybody counts of steps, clips or frames


def require(ok: bool, what: str, got: Any, expected: str) -> None:
    """Checks what a field holds.

    Raises:
        InputError: it is not as expected.
    """
    if not ok:
        raise InputError(f"{what} must be {expected}, got {shown(got)}.")


def _number(value: Any) -> float | None:
    """A finite number, also of a text (YAML reads 2e-3 as one)."""
    try:
        number = float(value) if type(value) in (int, float, str) else math.nan
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def check_types(config: Any, group: str) -> None:
    """Checks each field against its annotation, so that a config read from JSON or YAML is as safe as one typed."""
    for spec in dataclasses.fields(config):
        value, kind = getattr(config, spec.name), spec.type
        name = f"{group}.{spec.name}"
        if get_origin(kind) is Literal:
            choices = get_args(kind)
            require(value in choices, name, value, f"one of {', '.join(map(repr, choices))}")
            continue
        kinds = get_args(kind) or (kind,)
        if float in kinds and (number := _number(value)) is not None:
            setattr(config, spec.name, number)
            continue
        readable = " or ".join("null" if k is type(None) else k.__name__ for k in kinds)
        require(type(value) in kinds, name, value, f"of type {readable}")
        require(type(value) is not float, name, value, "a finite number")
        if type(value) is int:
            most = MOST.get(spec.name, MOST_OF_ANY)
            require(value <= most, name, value, f"at most {most:,}")
