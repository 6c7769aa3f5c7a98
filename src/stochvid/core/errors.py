"""The one exception that says: the input is wrong, and here is how to mend it."""

import re
from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """Bad input from the user: the message names the thing, what was expected, what was got, and the fix.

    The command line prints it as one line and exits with code 2.
    """


def nearest(name: str, valid: Iterable[str]) -> str:
    """A hint with the valid names closest to `name`, or all of them where none is close."""
    valid = sorted(valid)
    close = alike(name, valid)
    return f"Did you mean {' or '.join(close)}?" if close else f"Valid names: {', '.join(valid)}."


def alike(name: str, valid: Iterable[str]) -> list[str]:
    """The valid names closest to `name`, three at most; if one differs in case, dashes and the like alone, that one."""
    plain = {word: _plain(word) for word in valid}
    same = [word for word in plain if plain[word] == _plain(name)]
    close = get_close_matches(_plain(name), plain.values(), n=3, cutoff=0.6)
    return (
        same or sorted((word for word in plain if plain[word] in close), key=lambda word: close.index(plain[word]))[:3]
    )


def _plain(name: str) -> str:
    """A name as its sound tells it: lp_ema, LP-EMA and "lp ema" are one."""
    dashes = len(name) - len(name.lstrip("-"))
    return "-" * dashes + re.sub(r"[-_\s]+", "", name[dashes:]).casefold()
