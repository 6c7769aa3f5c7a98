"""What a file from elsewhere may ask for, and how it is read before anything in it is believed. Imports no torch.

Sizes are checked where a file states them, before memory is taken for them. Each limit is far above what honest files
have; none depends on the machine, so that a file is read everywhere or nowhere.
"""

import json
import reprlib
import stat
import zipfile
from pathlib import Path
from typing import IO, Any

import yaml

from stochvid.core.errors import InputError

MOST_PIXELS = 50_000_000  # of a frame: 8K cinema has 35 million; Pillow takes up to 20 bytes for each on the way
MOST_HEADER = 1 << 16  # bytes of an .npy file's header: 118
MOST_CLIPS = 1_000_000  # of one file: each is an object with a name before any is read
MOST_PAGES = 100_000  # of one file: an hour at 25 a second; to go from page to page takes longer with each
MOST_LINKS = 10_000  # of an HDF5 file: names of datasets and groups
MOST_CHUNK = 256 << 20  # bytes of a piece of an HDF5 dataset, which is unpacked as a whole: a frame of the most pixels
MOST_YAML = 1 << 16  # bytes: a config of every field with comments has 3,000, and YAML is read 100 KB a second
MOST_JSON = 1 << 20  # bytes of a file with a fixed number of fields, such as config.json
MOST_RECORDS = 256 << 20  # bytes of a file with something for each clip, such as the index of a store of 2 million
MOST_CSV = 32 << 20  # bytes of metrics.csv: 400,000 lines; a row takes 10 times its bytes as a dictionary
MOST_DIRECTORY = 4 << 20  # bytes of a zip archive's list of entries: 50,000, which Python reads in 2 seconds
UNPACKED = 1 << 29  # bytes that any archive may unpack to ...
PACKING = 100  # ... or so many times its own size: black frames with a few digits pack 30-fold, zeros 1,000-fold


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxlong = _SHORT.maxother = 80
_SHORT.maxlevel = 3
MOST_SHOWN = 300  # letters of a value in a message


def shown(value: Any) -> str:
    """A value of any kind and size for a message, in a few words."""
    try:
        text = _SHORT.repr(value)
        return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 3]}..."
    except (ValueError, RecursionError):  # Python prints no numbers of thousands of digits
        return f"something of type {type(value).__name__}"


def read_text(path: Path, most: int) -> str:
    """The text of a regular file that is not too large.

    Raises:
        OSError: the file is not there, or not to be read.
        ValueError: it is a pipe or a device, which may have no end, is larger, or is not UTF-8.
    """
    state = path.stat()
    if stat.S_ISDIR(state.st_mode):
        raise IsADirectoryError(21, "Is a directory", str(path))
    if not stat.S_ISREG(state.st_mode):
        raise ValueError("it is not a regular file")
    if state.st_size > most:
        raise ValueError(f"it has {state.st_size:,} bytes; at most {most:,} are read")
    return path.read_text(encoding="utf-8")


def parse_json(text: str, **options: Any) -> Any:
    """`json.loads` that raises a `ValueError` whatever is wrong, nesting without end included."""
    try:
        return json.loads(text, **options)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_json(path: Path, most: int = MOST_JSON, **options: Any) -> Any:
    """What a JSON file holds; errors as `read_text` and `parse_json`."""
    return parse_json(read_text(path, most), **options)


def parse_yaml(text: str) -> Any:
    """Plain values of a YAML text without aliases.

    Raises:
        ValueError: it is no such text.
    """
    try:
        return yaml.load(text, Loader=_PlainLoader)  # a SafeLoader
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except (ValueError, LookupError, AttributeError, TypeError, OverflowError) as error:  # of tags with strange values
        raise ValueError(f"a value is not of the kind that its form or tag promises: {shown(str(error))}") from None


class _PlainLoader(yaml.SafeLoader):
    """Refuses aliases, by which a few lines stand for billions of values, or a value holds itself; and names twice."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(None, None, "aliases (*name) are not read; write the value out", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in seen:
                    raise yaml.MarkedYAMLError(None, None, f"{shown(key.value)} is there twice", key.start_mark)
                seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


def check_frame(name: str, width: int, height: int) -> None:
    """Checks that a frame is not too large to be decoded.

    Raises:
        InputError: it is.
    """
    if width * height > MOST_PIXELS:
        raise InputError(
            f"{name} claims to have frames of {shown(width)}×{shown(height)}; at most {MOST_PIXELS:,} pixels are read. "
            "Make them smaller, or get the file again."
        )


def check_npy(file: IO[bytes]) -> None:
    """Checks that the header of an .npy file is as short as headers are: NumPy takes memory for what it claims.

    Raises:
        ValueError: it is not.
    """
    place = file.tell()
    begin = file.read(12)
    file.seek(place)
    length = int.from_bytes(begin[8:10] if begin[6:7] == b"\1" else begin[8:12], "little")
    if length > MOST_HEADER:
        raise ValueError(f"it claims a header of {length:,} bytes")


def check_directory(path: Path) -> None:
    """Checks that a zip archive has no directory without end: Python reads all of it, entry by entry, on opening.

    Raises:
        ValueError: it has.
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        end = zipfile._EndRecData(file)  # type: ignore[attr-defined]  # as `zipfile.ZipFile` finds it
    size = end[zipfile._ECD_SIZE] if end else 0  # type: ignore[attr-defined]  # likewise
    if size > MOST_DIRECTORY:
        raise ValueError(f"its directory has {size:,} bytes; at most {MOST_DIRECTORY:,} are read")


def check_archive(archive: zipfile.ZipFile, path: Path) -> None:
    """Checks that a zip archive holds each byte once, and does not unpack to far more than it is.

    Raises:
        ValueError: it does, or says so.
    """
    size, entries = path.stat().st_size, archive.infolist()
    unpacked, packed = (sum(getattr(entry, f"{kind}_size") for entry in entries) for kind in ("file", "compress"))
    if packed > size:
        raise ValueError(f"its entries are larger than the file: {packed:,} bytes of {size:,}")
    if unpacked > max(UNPACKED, PACKING * size):
        raise ValueError(f"it would unpack to {unpacked:,} bytes, more than {PACKING} times its size")
    if any(entry.file_size != entry.compress_size for entry in entries if entry.compress_type == zipfile.ZIP_STORED):
        raise ValueError("its entries have other sizes than they say")
