"""HDF5 files are read as arrays are, and nothing that they point to is followed."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from made_data import stored
from stochvid import InputError, read_clip
from stochvid.prepare import prepare

CLIP = np.random.default_rng(0).integers(0, 256, (7, 24, 32, 3), dtype=np.uint8)


def write(path: Path, **datasets) -> Path:
    with h5py.File(path, "w") as file:
        for name, value in datasets.items():
            file.create_dataset(name.replace("__", "/"), data=value, chunks=True, compression="gzip")
    return path


@pytest.mark.parametrize("suffix", ["h5", "hdf5", "hdf"])
def test_a_dataset_is_a_clip(tmp_path, suffix):
    path = write(tmp_path / f"a.{suffix}", observations__frames=CLIP, actions=np.zeros((7, 2)))
    assert np.array_equal(read_clip(path).frames, CLIP)
    assert np.array_equal(read_clip(path, limit=2).frames, CLIP[:2])
    (made,) = stored(prepare(path, tmp_path / "out", size=32, split="test", workers=1)).values()
    assert made.shape == (7, 3, 32, 32)


def test_one_of_several_datasets_is_named(tmp_path):
    path = write(tmp_path / "a.h5", cam__left=CLIP, cam__right=255 - CLIP)
    with pytest.raises(InputError, match="holds cam/left, cam/right; name one array 'frames', or say which"):
        read_clip(path)
    assert np.array_equal(read_clip(f"{path}:/cam/right").frames, 255 - CLIP)
    store = prepare(path, tmp_path / "out", size=32, key="cam/left", split="test", workers=0)
    assert store.splits["test"].lengths == [7]


def test_sets_ranges_and_axes_are_those_of_arrays(tmp_path):
    deep = np.random.default_rng(0).integers(0, 4096, (4, 6, 24, 32)).astype(">u2")
    path = write(tmp_path / "a.h5", data=deep)
    with pytest.raises(InputError, match=r"has dtype >u2; expected uint8.* values \d+ to 4,0\d\d. .*--range"):
        prepare(path, tmp_path / "out", workers=0)
    clips = stored(prepare(path, tmp_path / "out", size=32, range=(0, 4095), axes="TNHW", split="test", workers=0))
    assert {len(clip) for clip in clips.values()} == {4}
    assert len(clips) == 6


def test_matlab_keeps_axes_the_other_way_round(tmp_path):
    with h5py.File(tmp_path / "a.mat", "w", userblock_size=512) as file:
        file.create_dataset("X", data=CLIP.transpose(0, 3, 2, 1))  # (H, W, C, T) of MATLAB
    data = (tmp_path / "a.mat").read_bytes()
    (tmp_path / "a.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(512) + data[512:])
    assert np.array_equal(read_clip(tmp_path / "a.mat").frames, CLIP)
    (tmp_path / "old.mat").write_bytes(b"MATLAB 5.0 MAT-file".ljust(128))
    with pytest.raises(InputError, match=r"is a MATLAB file of version 5. Save it with save\(…, '-v7.3'\)"):
        read_clip(tmp_path / "old.mat")


def link(file):
    file["frames"] = h5py.ExternalLink("elsewhere.h5", "/frames")


def loop(file):
    group = file.create_group("a")
    group["b"], group["c"] = file, group
    group["frames"] = h5py.SoftLink("/a/frames")


def virtual(file):
    layout = h5py.VirtualLayout(CLIP.shape, np.uint8)
    layout[:] = h5py.VirtualSource("elsewhere.h5", "frames", shape=CLIP.shape)
    file.create_virtual_dataset("frames", layout)


def unknown_filter(file):
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((1, 24, 32))
    plist.set_filter(32_015, h5py.h5z.FLAG_OPTIONAL, ())
    space = h5py.h5s.create_simple((7, 24, 32))
    h5py.h5d.create(file.id, b"frames", h5py.h5t.NATIVE_UINT8, space, plist)


HOSTILE = {
    "a link to another file": (link, "has no dataset of numbers"),
    "groups in circles": (loop, "has no dataset of numbers"),
    "a virtual dataset": (virtual, "lies in other files, which are not followed"),
    "bytes of another file": (
        lambda f: f.create_dataset("frames", CLIP.shape, np.uint8, external=[("/etc/passwd", 0, CLIP.size)]),
        "lies in other files, which are not followed",
    ),
    "an unknown filter": (unknown_filter, "is packed by filter 32015, which is not read"),
    "a vast dataset": (
        lambda f: f.create_dataset("frames", (10**6, 1000, 1000), np.uint8, chunks=(1, 1000, 1000)),
        "claims 1,000,000,000,000 bytes",
    ),
    "a vast dataset without chunks": (lambda f: f.create_dataset("frames", (10**6, 99, 99), np.uint8), "claims 9,801,"),
    "a vast chunk": (
        lambda f: f.create_dataset("frames", (999, 999, 999), np.uint8, chunks=(999, 999, 999)),
        "is in chunks of 997,002,999 bytes",
    ),
    "vast frames": (lambda f: f.create_dataset("frames", (2, 10**5, 10**5), np.uint8, chunks=True), "claims"),
    "texts": (lambda f: f.create_dataset("frames", data=[[["a"] * 9] * 9] * 9), "has no dataset of numbers"),
    "nothing": (lambda f: f.create_dataset("frames", data=h5py.Empty("u1")), "has no dataset of numbers|is empty"),
    "many names": (
        lambda f: [f.create_group(f"{number}") for number in range(10_100)],
        "cannot be read as HDF5: it has more than 10,000 names",
    ),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_file_is_refused(tmp_path, monkeypatch, what):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "elsewhere.h5", frames=CLIP)
    make, message = HOSTILE[what]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        make(file)
    with pytest.raises(InputError, match=message):
        read_clip(tmp_path / "a.h5")


@pytest.mark.parametrize("data", [b"", b"no HDF5 at all", b"\x89HDF\r\n\x1a\n" + bytes(500)])
def test_a_file_that_is_no_hdf5_is_refused(tmp_path, data):
    (tmp_path / "a.h5").write_bytes(data)
    with pytest.raises(InputError, match=r"a.h5' cannot be read as HDF5"):
        read_clip(tmp_path / "a.h5")


def test_without_h5py_the_command_that_installs_it_is_said(tmp_path, monkeypatch):
    import sys

    path = write(tmp_path / "a.h5", frames=CLIP)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(InputError, match=r"needs h5py: pip install 'stochvid\[hdf5\]'"):
        read_clip(path)
