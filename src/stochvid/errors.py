"""The one exception that says: the input is wrong, and here is how to mend it."""

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """Bad input from the user: the message names the thing, what was expected, what was got, and the fix.

    The command line prints it as one line and exits with code 2.
    """


def nearest(name: str, valid: Iterable[str]) -> str:
    """A hint with the valid names closest to `name`, or all of them where none is close."""
    valid = sorted(valid)
    close = get_close_matches(name, valid, n=3, cutoff=0.6)
    return f"Did you mean {' or '.join(close)}?" if close else f"Valid names: {', '.join(valid)}."
