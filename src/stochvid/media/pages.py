"""How many pictures a file has, and when each is shown: read from the file's structure, before any is decoded."""

import math
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from stochvid.core.errors import InputError
from stochvid.core.untrusted import MOST_PAGES, parse_json
from stochvid.media.tiff import tiff_pages

LEAST_DELAY, USUAL_DELAY = 0.011, 0.1  # seconds: shorter delays are not meant, and every browser takes the usual one
MOST_DESCRIPTION = 1 << 16  # letters that are looked at


def check_pages(path: Path, description: object, size: tuple[int, int]) -> int:
    """How many pictures a file has; previews and masks of TIFF do not count.

    Args:
        path: of a TIFF, PNG or WebP file.
        description: what a TIFF says of itself.
        size: (width, height).

    Raises:
        InputError: there are too many, or they are not what the description says.
        ValueError: the file is damaged.
    """
    with open(path, "rb") as file:
        begin = file.read(12)
        if begin[:4] == b"\x89PNG":
            pages = sum(1 for _ in _png_delays(file))
        elif begin[:4] == b"RIFF":
            pages = sum(1 for _ in _webp_delays(file))
        elif begin[:2] in (b"II", b"MM"):
            pages = sum(page.shown for page in tiff_pages(file, path))
            _check_description(path, str(description or "")[:MOST_DESCRIPTION], pages, size)
        else:
            pages = 1
    if pages > MOST_PAGES:
        raise InputError(f"{str(path)!r} has more than {MOST_PAGES:,} pages. Cut it into pieces.")
    return max(pages, 1)


def page_starts(path: Path, count: int) -> list[float] | None:
    """When each picture of an animation is shown, in seconds, and the end of the last; None: nobody says."""
    with open(path, "rb") as file:
        begin = file.read(12)
        delays = _png_delays if begin[:4] == b"\x89PNG" else _webp_delays if begin[:4] == b"RIFF" else None
        if delays is None:
            return None
        starts = [0.0]
        for delay in delays(file):
            starts.append(starts[-1] + (delay if delay >= LEAST_DELAY else USUAL_DELAY))
    return starts if len(starts) == count + 1 else None


def _png_delays(file: BinaryIO) -> Iterator[float]:
    """Seconds for each frame of an animated PNG."""
    file.seek(8)
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == b"fcTL" and length == 26:
            delay, unit = struct.unpack(">HH", file.read(26)[20:24])
            yield delay / (unit or 100)
            length = 0
        file.seek(length + 4, 1)


def _webp_delays(file: BinaryIO) -> Iterator[float]:
    """Seconds for each frame of an animated WebP."""
    file.seek(12)
    while len(head := file.read(8)) == 8:
        kind, length = struct.unpack("<4sI", head)
        if kind == b"ANMF" and length >= 16:
            yield int.from_bytes(file.read(16)[12:15], "little") / 1000
            file.seek(length - 16 + length % 2, 1)
        else:
            file.seek(length + length % 2, 1)


def _check_description(path: Path, text: str, pages: int, size: tuple[int, int]) -> None:
    """Checks that pages are one series in time, as far as common writers say what theirs are.

    Raises:
        InputError: they run over channels or slices as well, or are fewer than promised.
    """
    promised, sides = pages, []
    if text.startswith("ImageJ="):
        fields = dict(re.findall(r"^(images|channels|slices|frames)=(\d{1,9})\s*$", text, re.MULTILINE))
        promised = int(fields.pop("images", pages))
        sides = [int(value) for value in fields.values()]
    elif text.startswith("{"):
        try:
            told = parse_json(text)
            shape = told.get("shape") if isinstance(told, dict) else None
            if isinstance(shape, list) and all(type(side) is int and side > 0 for side in shape):
                rows = [place for place in range(len(shape) - 1) if shape[place : place + 2] == [size[1], size[0]]]
                sides = shape[: rows[-1]] if rows else []
        except ValueError:
            sides = []
        promised = pages if len(sides) != 1 else sides[0]
    elif "<OME" in text:
        fields = dict(re.findall(r'\bSize([CZT])="(\d{1,9})"', text.partition("<Pixels")[2].partition(">")[0]))
        sides = [int(value) for value in fields.values()] if pages > 1 else []
        sides = sides if pages >= math.prod(sides) else []  # colours within a page count as channels, too
    if len([side for side in sides if side > 1]) > 1 and pages > 1:
        raise InputError(
            f"the pages of {str(path)!r} run over {' × '.join(map(str, sides))} channels, slices or times; a clip runs "
            "over time alone. Save the part that you mean as a stack of its own, or as a .npy array."
        )
    if promised > pages:
        raise InputError(
            f"{str(path)!r} says that it has {promised:,} pages, but only {pages:,} can be found: its writer kept the "
            "others where few programs look. Save it again as a plain TIFF or BigTIFF, or as a .npy array."
        )
