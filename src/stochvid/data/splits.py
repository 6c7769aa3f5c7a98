"""Which clip goes to which split: as shipped, by fractions, or by patterns on names."""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from hashlib import sha256

from stochvid.core.errors import InputError

SPLITS = ("train", "val", "test")
SHIPPED = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
NAMED = "train, val or test"
DEFAULT = "train=0.9,test=0.1"
LEAST_HELD_OUT = 40  # frames


class SplitRule:
    """How clips are divided.

    Args:
        text: `train=0.9,test=0.1` (fractions of the clips), `train=day1,test=*` (patterns on the clips' names or
            the folders above them, the first that fits counts; clips that fit none are left out), one name (everything
            goes there), or None: as the source ships them, and 0.9 to 0.1 where it does not say.

    Raises:
        InputError: `text` is none of these.
    """

    def __init__(self, text: str | None):
        self.text = text
        self.fractions: dict[str, float] = {}
        self.patterns: list[tuple[str, str]] = []
        parts = [part.strip().split("=", 1) for part in (text or DEFAULT).split(",")]
        if len(parts) == 1 and len(parts[0]) == 1:
            parts = [[parts[0][0], "1"]]
        for part in parts:
            if len(part) != 2 or part[0] not in SPLITS or not part[1]:
                raise self._wrong(
                    f"{'='.join(part)!r} is neither NAME=FRACTION nor NAME=PATTERN, with NAME one of {NAMED}"
                )
            fraction = _fraction(part[1])
            if fraction is None:
                self.patterns.append((part[0], part[1]))
            elif part[0] in self.fractions:
                raise self._wrong(f"{part[0]} is named twice")
            else:
                self.fractions[part[0]] = fraction
        if self.patterns and self.fractions:
            raise self._wrong("fractions and patterns are mixed")
        if self.fractions and abs(sum(self.fractions.values()) - 1) > 1e-6:
            raise self._wrong(f"the fractions add up to {sum(self.fractions.values()):g}, not to 1")

    def assign(self, shipped: Mapping[str, str | None]) -> dict[str, str]:
        """The split of each clip.

        Fractions are exact to one clip, and at least one clip each while there are enough; which clips go where
        depends on their names alone.

        Args:
            shipped: the clips' names, with the split that the source has them in, or None.

        Returns:
            Split by name, without the clips that are left out.
        """
        if self.patterns:
            fits = {name: next((s for s, pattern in self.patterns if _fits(name, pattern)), None) for name in shipped}
            return {name: split for name, split in fits.items() if split}
        if self.text is None and any(shipped.values()):
            return {name: split for name, split in shipped.items() if split}
        shuffled = sorted(shipped, key=lambda name: sha256(name.encode(errors="surrogateescape")).digest())
        by_name = dict(zip(shuffled, self._sequence(len(shuffled)), strict=True))
        return {name: by_name[name] for name in shipped}

    def cuts(self, length: int) -> list[tuple[str, int, int]]:
        """Pieces of the only clip that there is: split, first frame, end; at least two frames each if it has them."""
        counts = _shares(self.fractions, length, least=2)
        if self.text is None:  # a tenth of a short video is too short to be of use
            counts["test"] = max(counts["test"], min(LEAST_HELD_OUT, length // 3))
            counts["train"] = length - counts["test"]
        if min(counts.values()) < 2:
            raise InputError(
                f"the only clip has {length} frames, too few to be cut into {', '.join(counts)}. Give more clips, or "
                "all to one split: --split train."
            )
        pieces, start = [], 0
        for split, count in counts.items():
            pieces.append((split, start, start + count))
            start += count
        return pieces

    def unused(self, names: Iterable[str]) -> list[str]:
        """The patterns that fit no name."""
        names = list(names)
        return [f"{split}={p}" for split, p in self.patterns if not any(_fits(name, p) for name in names)]

    def _sequence(self, count: int) -> Sequence[str]:
        return [split for split, share in _shares(self.fractions, count, least=1).items() for _ in range(share)]

    def _wrong(self, why: str) -> InputError:
        return InputError(
            f"--split {self.text!r}: {why}. Give fractions as in {DEFAULT}, patterns as in 'train=day1/*,test=day2/*', "
            "or one of train, val, test."
        )


def _shares(fractions: Mapping[str, float], count: int, least: int) -> dict[str, int]:
    """Whole numbers that add up to `count`, near the fractions, each at least `least` where there is enough."""
    wanted = [split for split, fraction in fractions.items() if fraction > 0]
    least = least if count >= least * len(wanted) else 0
    shares = {split: max(least, round(count * fractions[split])) for split in wanted}
    largest = max(wanted, key=lambda split: shares[split])
    shares[largest] += count - sum(shares.values())
    return shares


def _fits(name: str, pattern: str) -> bool:
    """A pattern fits names, and the folders above them."""
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern.rstrip('/')}/*")


def _fraction(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None
