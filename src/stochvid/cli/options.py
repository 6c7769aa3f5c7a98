"""The command line's words, made ready before they are parsed."""

from collections.abc import Callable, Collection

from stochvid.core.errors import InputError, nearest


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


def check_names(
    command: str, words: list[str], known: Collection[str], hint: Callable[[str, Collection[str]], str] = nearest
) -> None:
    """Checks the names of a command's options.

    Args:
        command: its name.
        words: what follows it.
        known: its options.
        hint: says of an unknown option, and the known ones, what may have been meant.

    Raises:
        InputError: there is no such option.
    """
    for word in words[: words.index("--") if "--" in words else None]:
        name = word.split("=")[0]
        if word.startswith("--") and name not in known:
            raise InputError(f"{command} has no option {name!r}. {hint(name, known)}")
