"""Names in the order in which people count: frame2 before frame10, t-2 before t-1 before t0."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

# a minus, if it is one, stands right before a number that is no part of a date or of a range
SIGNED = re.compile(r"(?<![0-9])([+-])(\d+)(?!\d|-\d)")
PLAIN = re.compile(r"(?<![0-9+-])(\d+)(?!\d|-\d)")
TIME = re.compile(r"(?:^|[^A-Za-z])[tT]$")  # t-2 and t-1 are times whatever else is there
BARE_TIME = re.compile(r"(?:^|(?<=[^A-Za-z]))[tT](?=[._]|$)")


def natural(name: object) -> list:
    """A key that sorts names with numbers in them as people count; every - and + in them is a dash."""
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", str(name))]


def natural_order(names: Iterable[str], fold: bool = False) -> list[str]:
    """Names sorted as people count.

    A dash before a number is a minus where the names say so: after a `t` that stands alone (t-2), at the beginning or
    after `_`, `=` or `(`, or where the same name comes without a sign or with a plus, too (x-1, x0, x+1). Else it
    separates (img-1, img-2, img-10; 2024-01-02).

    Args:
        names: paths or names of a folder.
        fold: whether capitals come with small letters.
    """
    names = list(names)
    minus = _signs(names)
    if not minus:
        return sorted(names, key=lambda name: (natural(name.casefold() if fold else name), name))
    keyed = {name: _key(name, minus, fold) for name in names}
    return sorted(names, key=lambda name: (keyed[name], name))


def negative_names(names: Sequence[str]) -> list[str]:
    """The names in which a dash was taken for a minus, see `natural_order`."""
    minus = _signs(names)
    return [name for name in names if any(m[1] == "-" and _template(name, m) in minus for m in SIGNED.finditer(name))]


def _signs(names: Iterable[str]) -> set[str]:
    """The templates of names, `{}` in place of a number, in which a dash before it is a minus."""
    found: dict[str, set[str]] = defaultdict(set)
    for name in names:
        for match in SIGNED.finditer(name):
            before = name[: match.start()]
            sure = match[1] == "-" and (before[-1:] in ("", "/", "_", "=", "(") or TIME.search(before))
            found[_template(name, match)] |= {match[1], "sure"} if sure else {match[1]}
    if not any("-" in signs for signs in found.values()):
        return set()
    for name in names:
        for match in PLAIN.finditer(name):
            if (template := _template(name, match)) in found:
                found[template].add("")
    return {template for template, signs in found.items() if "-" in signs and signs & {"sure", "+", ""}}


def _template(name: str, match: re.Match) -> str:
    return f"{name[: match.start()]}{{}}{name[match.end() :]}"


def _key(name: str, minus: set[str], fold: bool) -> list:
    """As `natural`, with signed numbers for the templates in `minus`."""
    bare = BARE_TIME.search(name)  # t is between t-1 and t+1
    if bare and f"{name[: bare.end()]}{{}}{name[bare.end() :]}" in minus:
        name = f"{name[: bare.end()]}+0{name[bare.end() :]}"
    key, end = [], 0
    for match in SIGNED.finditer(name):
        if _template(name, match) in minus:
            key += natural(name[end : match.start()].casefold() if fold else name[end : match.start()])
            key.append((0, int(match[1] + match[2]), match[2]))
            end = match.end()
    return key + natural(name[end:].casefold() if fold else name[end:])
