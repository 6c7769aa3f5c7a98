"""BAIR robot pushing (Ebert et al., 2017), from the original TFRecords: `softmotion30_44k/{train,test}/*.tfrecords`.

A record is a trajectory; frame t is the raw bytes of a 64×64 RGB picture in the feature `t/image_aux1/encoded`, what
was done then the numbers of `t/action`, and where the gripper was those of `t/endeffector_pos`. The records are read
here, without TensorFlow: length (8 bytes), masked CRC-32C of it (4), data, masked CRC-32C of that (4); the data are a
protocol buffer, `Example { Features { map<string, Feature { BytesList | FloatList }> } }`.
"""

import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np

from stochvid.core.clips import ACTIONS
from stochvid.core.errors import InputError
from stochvid.data.tracks import Track
from stochvid.prepare.beside import STATE
from stochvid.prepare.source import Event, Item, Source, SourceFile, Walk, regular, unreadable

SUFFIXES = {".tfrecord", ".tfrecords"}
SIDE, FRAMES = 64, 30
FEATURE = b"%d/image_aux1/encoded"
TAKEN = {ACTIONS: b"%d/action", STATE: b"%d/endeffector_pos"}  # by track
MOST_NUMBERS = 4096  # of a feature: BAIR's have 4 and 3
HEADER, FOOTER = 12, 4
MOST_RECORD = 64 << 20  # bytes: BAIR's have 1.5 million
MOST_RECORDS = 100_000  # of a file: BAIR's have 256


class BAIR(Source):
    """A clip for each trajectory; train and test as shipped, in folders of these names."""

    format = "bair"
    channels = 3

    @classmethod
    def recognises(cls, root: Path, tree: Walk) -> bool:
        """Any TFRecord file will do."""
        return any(path.suffix.lower() in SUFFIXES for path in tree.files)

    def find(self) -> list[Path]:
        """The record files; the first record that can be read says which tracks there are."""
        files = [path for path in self.tree.files if path.suffix.lower() in SUFFIXES]
        with suppress(InputError, ValueError):
            for record in read_records(files[0]) if files else ():
                if not isinstance(record, InputError):
                    self.tracks = _find_tracks(parse_example(record[1]))
                    break
        return files

    def probe(self, path: Path) -> SourceFile:
        """Counts the records by their lengths."""
        regular(path)
        folders = [folder.name for folder in path.resolve().parents if folder.name in ("train", "test")]
        split = folders[0] if folders else None
        items: list[Item] = []
        size, offset = path.stat().st_size, 0
        with open(path, "rb") as file:
            while offset < size:
                if len(items) == MOST_RECORDS:
                    raise InputError(f"{str(path)!r} has more than {MOST_RECORDS:,} records. Get the file again.")
                items.append(Item(f"{self.name(path)}#{len(items)}", FRAMES, split))
                try:
                    offset += HEADER + _read_length(file, path, offset, size) + FOOTER
                except InputError:
                    break  # `read` will name it, as the last of the file
                file.seek(offset)
        if not items:
            raise InputError(f"{str(path)!r} is empty. Get the file again.")
        return SourceFile(path, tuple(items), (SIDE, SIDE), 3)

    def read(self, task: SourceFile) -> Iterator[Event]:
        """The frames of every good record; bad ones are named with their offset."""
        for number, record in enumerate(read_records(task.path)):
            if isinstance(record, InputError):
                yield number, record
                continue
            offset, data = record
            try:
                features = parse_example(data)
                for t in range(FRAMES):
                    yield number, _pixels(features, t)
                yield number, {name: _numbers(features, name, track) for name, track in self.tracks.items()} or None
            except ValueError as error:
                yield number, InputError(f"record at byte {offset:,} of {str(task.path)!r} {error}.")


def read_records(path: Path) -> Iterator[tuple[int, bytes] | InputError]:
    """Reads a TFRecord file.

    Args:
        path: of the file.

    Yields:
        Offset and data of a record, or, where its data do not match their checksum, what is wrong with it.

    Raises:
        InputError: the file ends within a record, or a length is broken, so that nothing after it can be found.
    """
    offset = 0
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            while offset < size:
                length = _read_length(file, path, offset, size)
                data = file.read(length)
                (checksum,) = struct.unpack("<I", file.read(FOOTER))
                if masked_crc32c(data) != checksum:
                    yield InputError(f"record at byte {offset:,} of {str(path)!r} does not match its checksum.")
                else:
                    yield offset, data
                offset += HEADER + length + FOOTER
    except OSError as error:
        raise unreadable(path, error) from None


def _read_length(file: BinaryIO, path: Path, offset: int, size: int) -> int:
    header = file.read(HEADER)
    cut = f"{str(path)!r} is cut short: the record at byte {offset:,} goes on past its end. Get the file again."
    if len(header) < HEADER:
        raise InputError(cut)
    length, checksum = struct.unpack("<QI", header)
    if masked_crc32c(header[:8]) != checksum:
        raise InputError(
            f"record at byte {offset:,} of {str(path)!r} has a length that does not match its checksum: nothing after "
            "it can be read. Get the file again."
        )
    if offset + HEADER + length + FOOTER > size:
        raise InputError(cut)
    if length > MOST_RECORD:
        raise InputError(
            f"record at byte {offset:,} of {str(path)!r} claims {length:,} bytes; BAIR's have far less than "
            f"{MOST_RECORD:,}. Get the file again."
        )
    return length


def masked_crc32c(data: bytes) -> int:
    """The checksum of TFRecords: CRC-32C, rotated right by 15 bits, plus a constant."""
    from google_crc32c import value

    crc = value(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def parse_example(data: bytes) -> dict[bytes, bytes]:
    """The features of a `tf.train.Example`: name → the first value of those that hold bytes, of others packed floats.

    Raises:
        ValueError: the data are no such message.
    """
    features = {}
    for number, message in _fields(memoryview(data)):
        if number != 1:
            continue
        for entry_number, entry in _fields(message):
            if entry_number != 1:
                continue
            parts = dict(_fields(entry))
            if not {1, 2} <= parts.keys():
                raise ValueError("has a feature without a name or a value")
            kinds = dict(_fields(parts[2]))
            values = dict(_fields(kinds[1] if 1 in kinds else kinds[2])) if {1, 2} & kinds.keys() else {}
            if 1 in values:
                features[bytes(parts[1])] = bytes(values[1])
    return features


def _fields(message: memoryview | int) -> Iterator[tuple[int, memoryview]]:
    """The length-delimited fields of a protocol buffer, by number; the others are passed over."""
    if not isinstance(message, memoryview):
        raise ValueError("is not a tf.train.Example")
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        kind = key & 7
        if kind == 2:
            length, place = _varint(message, place)
            if place + length > len(message):
                raise ValueError("is not a tf.train.Example: a field goes on past its end")
            yield key >> 3, message[place : place + length]
            place += length
        elif kind == 0:
            _, place = _varint(message, place)
        elif kind in (1, 5):
            place += 8 if kind == 1 else 4
        else:
            raise ValueError(f"is not a tf.train.Example: it has a field of wire type {kind}")


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(message) and shift < 70:
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
    raise ValueError("is not a tf.train.Example: a number breaks off")


def _pixels(features: dict[bytes, bytes], t: int) -> np.ndarray:
    name = FEATURE % t
    if name not in features:
        raise ValueError(f"has no feature {name.decode()!r}; BAIR's trajectories have {FRAMES} frames")
    raw = features[name]
    if len(raw) != SIDE * SIDE * 3:
        raise ValueError(f"has {len(raw):,} bytes in {name.decode()!r}, expected {SIDE}×{SIDE}×3 = {SIDE * SIDE * 3:,}")
    return np.frombuffer(raw, dtype=np.uint8).reshape(SIDE, SIDE, 3)


def _find_tracks(features: dict[bytes, bytes]) -> dict[str, Track]:
    """What is told of every frame beside its picture."""
    sizes = {name: len(features.get(feature % 0, b"")) // 4 for name, feature in TAKEN.items()}
    return {name: Track("float32", (size,)) for name, size in sizes.items() if 0 < size <= MOST_NUMBERS}


def _numbers(features: dict[bytes, bytes], name: str, track: Track) -> np.ndarray:
    """A track of all frames, (T, …) float32."""
    rows = []
    for t in range(FRAMES):
        feature = TAKEN[name] % t
        raw = features.get(feature, b"")
        if len(raw) != track.frame_bytes:
            raise ValueError(f"has {len(raw) // 4:,} number(s) in {feature.decode()!r}, expected {track.shape[0]}")
        rows.append(np.frombuffer(raw, "<f4"))
    return np.stack(rows).astype(np.float32)
