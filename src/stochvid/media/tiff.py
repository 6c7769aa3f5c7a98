"""The pages of TIFF and BigTIFF files, and each of them cut out as a file of its own.

Readers look for a page from the beginning of the file, so that the ten-thousandth takes ten thousand times as long as
the first; cut out, each takes the same.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from stochvid.core.errors import InputError
from stochvid.core.untrusted import MOST_PAGES

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 16: 8}  # bytes of each type
SHORT, LONG, LONG8 = 3, 4, 16
KIND, OFFSETS = 254, {273: 279, 324: 325}  # tags: what a page is; where its strips or tiles lie, and their lengths
ELSEWHERE = {330, 34665, 34853, 40965}  # tags that point to more directories, of no use for the pixels
PREVIEW_OR_MASK = 0b101  # bits of a page's kind


@dataclass(frozen=True)
class Page:
    """Where a page is described.

    Attributes:
        place: of its directory in the file.
        shown: whether it is a picture of its own, and no preview or mask.
    """

    place: int
    shown: bool


class Layout:
    """How numbers are written in a TIFF: the order of their bytes, and how long they are in BigTIFF.

    Args:
        begin: its first 16 bytes.
    """

    def __init__(self, begin: bytes):
        self.order = "<" if begin[:2] == b"II" else ">"
        self.big = struct.unpack(self.order + "H", begin[2:4])[0] == 43
        self.count, self.link, self.entry = ("Q", "Q", 20) if self.big else ("H", "I", 12)
        self.first = self.unpack(self.link, begin[8:16] if self.big else begin[4:8])

    def unpack(self, kind: str, data: bytes) -> int:
        """One number."""
        return struct.unpack(self.order + kind, data)[0]

    def pack(self, kind: str, *numbers: int) -> bytes:
        """Numbers as bytes."""
        return struct.pack(f"{self.order}{len(numbers)}{kind}", *numbers)

    def size(self, kind: str) -> int:
        """Bytes of a number."""
        return struct.calcsize(self.order + kind)


def tiff_pages(file: BinaryIO, path: Path) -> Iterator[Page]:
    """The pages of a TIFF, in order.

    Raises:
        InputError: they have no end, or the file has one before.
    """
    file.seek(0)
    layout = Layout(file.read(16).ljust(16, b"\0"))
    place = layout.first
    seen: set[int] = set()
    while place:
        if place in seen or len(seen) > MOST_PAGES:
            why = "are linked in a circle" if place in seen else f"are more than {MOST_PAGES:,}"
            raise InputError(f"the pages of {str(path)!r} {why}. Get the file again.")
        seen.add(place)
        try:
            file.seek(place)
            entries = layout.unpack(layout.count, file.read(layout.size(layout.count)))
            first = file.read(layout.entry)
            file.seek(place + layout.size(layout.count) + layout.entry * entries)
            following = layout.unpack(layout.link, file.read(layout.size(layout.link)))
        except (struct.error, OSError, OverflowError, ValueError):
            raise InputError(f"{str(path)!r} is cut short: it ends before page {len(seen)}. Get it again.") from None
        yield Page(place, not (entries and _kind(layout, first) & PREVIEW_OR_MASK))
        place = following


def _kind(layout: Layout, first: bytes) -> int:
    """What a page is, by its first field: no other may stand before it."""
    tag, kind = (layout.unpack("H", first[at : at + 2]) for at in (0, 2))
    value = first[-layout.size(layout.link) :]
    return 0 if tag != KIND else layout.unpack(*("H", value[:2]) if kind == SHORT else ("I", value[:4]))


def cut_out(file: BinaryIO, place: int, most: int) -> bytes:
    """A page as a plain TIFF of its own, whose places are of 32 bits.

    Args:
        file: the TIFF or BigTIFF.
        place: of the page's directory.
        most: bytes that it may take.

    Raises:
        ValueError: the page claims more than that, or more than the file has.
    """
    file.seek(0, 2)
    size = file.tell()
    file.seek(0)
    layout = Layout(file.read(16))
    fields = _fields(file, layout, place, min(size, most))
    start, data = 8 + 2 + 12 * len(fields) + 4, bytearray()
    for offsets, lengths in OFFSETS.items():
        if offsets not in fields:
            continue
        places = _numbers(layout, *fields[offsets])
        counts = _numbers(layout, *fields[lengths]) if lengths in fields else [size - places[0]]
        if len(counts) != len(places) or sum(counts) > most:
            raise ValueError("its strips or tiles are not as long as they say")
        new = []
        for where, count in zip(places, counts, strict=True):
            file.seek(where)
            new.append(start + len(data))
            data += file.read(min(count, max(size - where, 0)))
        fields[offsets] = (LONG, len(new), layout.pack("I", *new))
    directory = layout.pack("H", len(fields))
    for tag, (kind, count, value) in sorted(fields.items()):
        if kind == LONG8:
            kind, value = LONG, layout.pack("I", *_numbers(layout, kind, count, value))
        if len(value) > 4:
            at = start + len(data)
            data += value
            value = layout.pack("I", at)
        directory += layout.pack("H", tag, kind) + layout.pack("I", count) + value.ljust(4, b"\0")
    head = (b"II" if layout.order == "<" else b"MM") + layout.pack("H", 42) + layout.pack("I", 8)
    return head + directory + bytes(4) + bytes(data)


def _fields(file: BinaryIO, layout: Layout, place: int, most: int) -> dict[int, tuple[int, int, bytes]]:
    """Type, count and value of each field of a page."""
    file.seek(place)
    entries = layout.unpack(layout.count, file.read(layout.size(layout.count)))
    if entries * layout.entry > most:
        raise ValueError("it claims more fields than there are")
    listed, fields, field = file.read(entries * layout.entry), {}, layout.size(layout.link)
    for begin in range(0, len(listed) - layout.entry + 1, layout.entry):
        entry = listed[begin : begin + layout.entry]
        tag, kind = (layout.unpack("H", entry[at : at + 2]) for at in (0, 2))
        count, value = layout.unpack(layout.link, entry[4 : 4 + field]), entry[4 + field :]
        if tag in ELSEWHERE or kind not in SIZES:
            continue
        length = SIZES[kind] * count
        if length > most:
            raise ValueError(f"its field {tag} claims {length:,} bytes")
        if length > field:
            file.seek(layout.unpack(layout.link, value))
            value = file.read(length)
        fields[tag] = (kind, count, value[:length])
    return fields


def _numbers(layout: Layout, kind: int, count: int, value: bytes) -> tuple[int, ...]:
    letter = {SHORT: "H", LONG: "I", LONG8: "Q"}.get(kind)
    if letter is None or not count or len(value) < count * SIZES[kind]:
        raise ValueError("its strips or tiles have no places")
    return struct.unpack(f"{layout.order}{count}{letter}", value)
