"""Parsers given anything at all: they make sense of it, or refuse it in a few words. Examples are always the same."""

import json
import math
import pickle
import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from made_data import record
from stochvid import InputError
from stochvid.config import from_dict, group_types, load_config
from stochvid.core.untrusted import MOST_SHOWN, parse_yaml, shown
from stochvid.data.digits import read_idx_images
from stochvid.data.store import Store
from stochvid.evaluation.results import read_results
from stochvid.interop.torch_files import read_torch_file
from stochvid.media.arrays import ArrayFile
from stochvid.model_configs import SVGConfig
from stochvid.prepare.bair import parse_example, read_records
from stochvid.training.runs import read_preprocessing

few = settings(max_examples=60, derandomize=True, deadline=None, database=None)

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.sampled_from([10**400, -(10**400)])
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
GROUPS = group_types("svg")
fields = {name: st.sampled_from(list(kind.__dataclass_fields__)) for name, kind in GROUPS.items()}


def content(strategy: st.SearchStrategy) -> st.SearchStrategy[bytes]:
    """JSON of what a strategy makes; NaN and infinity included, as Python writes them."""
    return strategy.map(lambda value: json.dumps(value).encode())


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """For files that one example after another is written to."""
    return tmp_path_factory.mktemp("hostile")


def read_or_refused(load, *arguments) -> None:
    """Loads; refusal is the only error, and is told in a few lines."""
    said = None
    try:
        load(*arguments)
    except InputError as error:
        said = str(error)
    assert said is None or 10 < len(said) < 2000


# ------------------------------------------------------------------------------------------------ parsers, at random


@few
@given(st.sampled_from(sorted(GROUPS)).flatmap(lambda g: st.tuples(st.just(g), st.dictionaries(fields[g], values))))
@example(("model", {"beta": 10**400}))
@example(("optim", {"lr": math.inf}))
@example(("trainer", {"max_steps": 10**5000}))
def test_a_config_of_any_values_is_made_or_refused(case):
    group, given_values = case
    made = None
    with suppress(InputError):
        made = from_dict(GROUPS[group], given_values, "it")
    for value in vars(made or object.__new__(SVGConfig)).values():
        assert not isinstance(value, float) or math.isfinite(value)
        assert not isinstance(value, int) or value < 1 << 32


@few
@given(st.text(max_size=200) | values.map(yaml.safe_dump) | st.text("&*!<>|{}[]?:-# \n\tab01'\"%,.", max_size=60))
@example("model: {beta: !!int ''}")
@example("0x" + "f" * 5000 + ": 1")
def test_a_config_file_of_any_text_is_read_or_refused(folder, text):
    (folder / "c.yaml").write_text(text, encoding="utf-8", errors="replace")
    read_or_refused(load_config, folder / "c.yaml")


@few
@given(st.binary(max_size=100) | content(values) | content(st.fixed_dictionaries({}, optional={
    "fps": values, "stride": values, "crop": values, "format": st.just("stochvid evaluation"), "version": st.just(1),
    "setting": values, "clips": values, "size": values, "splits": values, "name": values,
})))  # fmt: skip
def test_json_of_any_kind_is_read_or_refused(folder, data):
    for name, load in (("clips.json", read_preprocessing), ("results.json", read_results), ("index.json", Store)):
        (folder / name).write_bytes(data)
        read_or_refused(load, folder)


column = st.lists(values, max_size=3) | st.just([25.0]) | st.just([0]) | st.just([6]) | st.just(["a"])


@few
@given(st.fixed_dictionaries(dict.fromkeys(("names", "offsets", "lengths", "fps"), column), optional={
    "bounces": column, "tracks": values | st.just({"actions": ""}),
}), st.sampled_from([1, 2]), values | st.fixed_dictionaries({"actions": values | st.fixed_dictionaries({
    "dtype": st.just("float32") | values, "shape": st.just([2]) | values,
}, optional={"names": values, "units": values, "statistics": values})}))  # fmt: skip
def test_the_index_of_a_store_is_believed_only_where_it_makes_sense(folder, split, version, tracks):
    index = {"format": "stochvid store", "version": version, "size": 32, "channels": 1, "tracks": tracks}
    index |= {"splits": {"train": split}}
    np.save(folder / "train.actions.npy", np.zeros((6, 2), np.float32))
    (folder / "index.json").write_text(json.dumps(index))
    np.save(folder / "train.npy", np.zeros((6, 1, 32, 32), np.uint8))
    try:
        store = Store(folder)
    except InputError:
        return
    assert (store.splits["train"].names, store.splits["train"].lengths) == (split["names"], [6])
    assert store.clip("train", 0)["frames"].shape == (6, 1, 32, 32)


@few
@given(
    st.lists(st.integers(0, 2**32 - 1), min_size=4, max_size=4), st.binary(max_size=40), st.sampled_from(["", ".gz"])
)
@example([0x0803, 2**32 - 1, 2**32 - 1, 2**32 - 1], b"", "")
@example([0x0803, 1, 2, 2], b"1234", "")
def test_idx_headers_are_believed_only_as_far_as_the_file_goes(folder, numbers, rest, suffix):
    path = folder / f"digits{suffix}"
    path.write_bytes(struct.pack(">4I", *numbers) + rest)
    try:
        images = read_idx_images(path)
    except InputError:
        return
    assert images.tobytes() == rest


@few
@given(st.binary(max_size=60), st.binary(max_size=60))
def test_any_bytes_are_records_or_not(folder, data, rest):
    (folder / "a.tfrecord").write_bytes(record(data) + rest)
    with suppress(InputError):
        first, *_ = read_records(folder / "a.tfrecord")
        assert first == (0, data)
    with suppress(ValueError):
        assert isinstance(parse_example(data), dict)


@few
@given(
    st.sampled_from(["|u1", "<f4", "<f8", "|b1", "|O", "<U7", "|S9", "V4", "x", "|u1,|u1"]),
    st.lists(st.integers(-3, 10**12), max_size=6).map(tuple) | st.text(max_size=9),
    st.sampled_from([1, 2, 3, 9]),
    st.binary(max_size=40),
)
def test_npy_headers_are_believed_only_as_far_as_the_file_goes(folder, descr, shape, version, rest):
    text = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode()
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    (folder / "a.npy").write_bytes(b"\x93NUMPY" + bytes([version, 0]) + length + text + rest)
    try:
        array = ArrayFile(folder / "a.npy")
        held = [frame for number in range(array.shape[0]) for frame in array.frames(number)]
    except InputError:
        return
    assert 0 < sum(frame.size for frame in held) <= len(rest)


# codes of a pickle that make and place things
SINGLE = [bytes([code]) for code in b"()]}.0N2sua\x85\x86\x87tlbRQPdeoq\x94\x8f\x90\x91\x81\x88\x89"]
LONGER = [b"K\1", b"h\0", b"q\0", b"X\1\0\0\0a", b"X\7\0\0\0storage", b"G" + bytes(8)]
NAMES = ("torch\nFloatStorage", "collections\nOrderedDict", "torch.nn.modules.conv\nConv2d", "__builtin__\nset")
NAMES += ("torch._utils\n_rebuild_tensor_v2", "os\nsystem")
codes = st.sampled_from([*SINGLE, *LONGER, *(f"c{name}\n".encode() for name in NAMES)])
PREFIX = b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))


@settings(few, max_examples=300)
@given(st.lists(codes | st.binary(min_size=1, max_size=1), max_size=30).map(b"".join))
def test_any_stream_of_pickle_codes_is_read_or_refused(folder, stream):
    (folder / "a.pth").write_bytes(PREFIX + b"\x80\x02" + stream + b"." + pickle.dumps([], 2))
    read_or_refused(read_torch_file, folder / "a.pth")


@few
@given(values | st.binary() | st.integers().map(lambda n: 10 ** (abs(n) % 6000)))
def test_a_value_is_shown_in_few_words_whatever_it_is(value):
    assert len(shown(value)) <= MOST_SHOWN
    assert len(shown([[[value] * 1000] * 1000] * 1000)) <= MOST_SHOWN


def test_plain_yaml_is_read_as_before_and_aliases_are_not():
    text = "a: [1, 2.5, x, null, true]\nb: {c: 2e-3}\n"
    assert parse_yaml(text) == yaml.safe_load(text)
    with pytest.raises(ValueError, match=r"aliases .* are not read; write the value out"):
        parse_yaml("a: &x [1]\nb: *x")
    for twice in ("a: 1\nb: 2\na: 3", "a: {b: 1, b: 2}", "[{a: 1, 'a': 2}]"):
        with pytest.raises(ValueError, match=r"'.' is there twice in .*, line \d"):
            parse_yaml(twice)
