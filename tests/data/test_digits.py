"""IDX files are checked before they are believed."""

import gzip
import struct

import numpy as np
import pytest

from stochvid import InputError
from stochvid.data.digits import load_digits, read_idx_images, resize_digits

IMAGES = np.arange(2 * 28 * 28, dtype=np.uint64).astype(np.uint8).reshape(2, 28, 28)
BODY = IMAGES.tobytes()
NAME = "train-images-idx3-ubyte"


def idx(magic=0x0803, shape=(2, 28, 28), body=BODY) -> bytes:
    return struct.pack(">4I", magic, *shape) + body


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_plain_and_gzipped_files_are_read(tmp_path, suffix):
    (tmp_path / f"{NAME}{suffix}").write_bytes(gzip.compress(idx()) if suffix else idx())
    assert np.array_equal(load_digits("mnist", "train", tmp_path), IMAGES)
    both = load_digits("both", "train", tmp_path)
    assert np.array_equal(both[:2], IMAGES)
    assert len(both) == 1502


def test_of_both_sets_together_each_makes_up_half(tmp_path):
    many = np.repeat(IMAGES, 2250, axis=0)  # three times the built-in ones
    (tmp_path / NAME).write_bytes(idx(shape=many.shape, body=many.tobytes()))
    both = load_digits("both", "train", tmp_path)
    assert np.array_equal(both[:4500], many)
    assert np.array_equal(both[4500:], np.tile(load_digits("builtin", "train"), (3, 1, 1)))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (NAME, idx(body=IMAGES.tobytes()[:-1]), "should hold 1,568 bytes of images, got only 1,567"),
        (NAME, idx(body=IMAGES.tobytes() + b"x"), "should hold 1,568 bytes of images, got more"),
        (NAME, idx(magic=0x0801), "magic number is 0x00000801, expected 0x00000803"),
        (NAME, b"", "magic number is 0x00000000"),
        (NAME, idx(shape=(2, 14, 56)), "should hold 28×28 digits"),
        (NAME, idx(shape=(0, 28, 28), body=b""), "should hold 28×28 digits"),
        (NAME, idx(shape=(2**32 - 1,) * 3), "claims 4,294,967,295 images of .*; at most 805,306,368 bytes are read"),
        (f"{NAME}.gz", gzip.compress(idx())[:-20], "cannot be read"),
        (f"{NAME}.gz", b"\x1f\x8bnot gzip", "cannot be read"),
        (f"{NAME}.gz", idx(), "cannot be read"),
        ("other", idx(), f"has no {NAME}"),
    ],
)
def test_broken_files_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_digits("mnist", "train", tmp_path)


def test_mnist_without_a_folder_says_how_to_give_one():
    with pytest.raises(InputError, match=r"--data\.mnist PATH"):
        load_digits("mnist", "train")


def test_an_unreadable_file_is_named(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_idx_images(tmp_path / "nothing")


def test_resizing_keeps_the_picture():
    digits = load_digits("builtin", "train")[:50]
    assert resize_digits(digits, 28) is digits
    larger = resize_digits(digits, 56)
    assert larger.shape == (50, 56, 56)
    assert abs(larger.mean() - digits.mean()) < 1
