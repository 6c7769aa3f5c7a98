"""A loader that fails in every way that counts, for the test of the harness itself."""

import os
from pathlib import Path

from hostile.harness import Loader
from stochvid import InputError


def _make(folder: Path) -> list[Path]:
    (folder / "how").write_text("honest")
    return [folder / "how"]


def _load(folder: Path) -> None:
    match (folder / "how").read_text():
        case "crash":
            raise ZeroDivisionError
        case "memory":
            try:
                bytearray(3 << 30)
            except MemoryError as error:
                raise InputError("it is too large") from error
        case "hang":
            while True:
                pass
        case "die":
            os.abort()
        case "words":
            raise InputError("x" * 5000)
        case "fine":
            raise InputError("a message of few words")


def _attack(name: str):
    return lambda folder: (folder / "how").write_text(name)


ATTACKS = {name: _attack(name) for name in ("crash", "memory", "hang", "die", "words", "fine")}
LOADERS = {"bad": Loader(_make, _load, ATTACKS, seconds=1)}
