"""A store is opened only if it is whole, and gives the same clips to everyone who asks with the same seed."""

import json
import os
import pickle
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chisquare
from torch.utils.data import DataLoader

from stochvid import InputError
from stochvid.data.store import Store
from stochvid.data.stored_clips import StoredClips
from stochvid.data.tracks import Track
from stochvid.prepare.preparation import prepare
from stochvid.prepare.store_writer import StoreWriter
from stochvid.training.datamodule import _Steps


def make(folder: Path, lengths=(12, 5, 30), split="train", size=32, bounces=None) -> Store:
    """A store in which pixel (0, 0, 0) of a frame is its clip, and (0, 0, 1) its number in it."""
    folder.mkdir(exist_ok=True)
    with StoreWriter(folder, size, 1, {"bounces": Track("bool")} if bounces else None) as writer:
        for clip, length in enumerate(lengths):
            frames = np.zeros((length, 1, size, size), np.uint8)
            frames[:, 0, 0, 0], frames[:, 0, 0, 1] = clip, np.arange(length)
            tracks = {"bounces": np.isin(np.arange(length), bounces)} if bounces else None
            writer.add(split, f"clip {clip}", frames, length, fps=25, tracks=tracks)
        writer.finish({})
    return Store(folder)


def places(frames: np.ndarray) -> list[tuple[int, int]]:
    """Clip and first frame of each of (B, T, 1, H, W)."""
    return [tuple(pixels.tolist()) for pixels in frames[:, 0, 0, 0, :2]]


# ------------------------------------------------------------------------------------------------------------ clips


LEGAL = {(0, start) for start in range(3)} | {(2, start) for start in range(21)}


def test_an_epoch_has_every_legal_start_once(tmp_path):
    clips = StoredClips(make(tmp_path / "s"), "train", 10)
    epochs = [places(clips.__getitems__(range(24 * epoch, 24 * (epoch + 1)))["frames"]) for epoch in range(3)]
    assert [sorted(epoch) for epoch in epochs] == [sorted(LEGAL)] * 3
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert clips.short == 1
    assert "1 more shorter than 10 frames" in str(clips)


def test_every_legal_start_is_equally_likely_anywhere_in_an_epoch(tmp_path):
    clips = StoredClips(make(tmp_path / "s"), "train", 10)
    counts = Counter(places(clips.__getitems__(range(7, 24 * 5_000, 24))["frames"]))
    assert set(counts) == LEGAL
    assert chisquare(list(counts.values())).pvalue > 1e-4


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_processes_together_read_every_start_once_in_an_epoch(tmp_path, processes):
    clips = StoredClips(make(tmp_path / "s"), "train", 10)
    shares = [
        [index for step in _Steps(0, 4, 6 // processes, rank, processes) for index in step] for rank in range(processes)
    ]
    assert sorted(index for share in shares for index in share) == list(range(24))
    read = [place for share in shares for place in places(clips.__getitems__(share)["frames"])]
    assert sorted(read) == sorted(LEGAL)


def test_a_clip_is_a_function_of_seed_and_index_alone(tmp_path):
    store = make(tmp_path / "s", (40, 50))
    batch = StoredClips(store, "train", 8, seed=3, flip=True).__getitems__([5, 0, 9])
    again = StoredClips(Store(store.path), "train", 8, seed=3, flip=True)
    for row, index in enumerate([5, 0, 9]):
        assert np.array_equal(again[index]["frames"], batch["frames"][row])
    assert batch["frames"].dtype == np.uint8
    assert batch["frames"].shape == (3, 8, 1, 32, 32)
    other = StoredClips(store, "train", 8, seed=4).__getitems__(range(20))["frames"]
    assert places(other) != places(StoredClips(store, "train", 8, seed=3).__getitems__(range(20))["frames"])


def test_a_clip_is_consecutive_frames_of_one_clip(tmp_path):
    frames = StoredClips(make(tmp_path / "s"), "train", 6).__getitems__(range(300))["frames"]
    assert (frames[:, :, 0, 0, 0] == frames[:, :1, 0, 0, 0]).all()
    assert (np.diff(frames[:, :, 0, 0, 1].astype(int), axis=1) == 1).all()


def test_a_stride_takes_every_so_many_th_frame(tmp_path):
    clips = StoredClips(make(tmp_path / "s"), "train", 5, stride=3)
    frames = clips.__getitems__(range(2000))["frames"]
    assert (np.diff(frames[:, :, 0, 0, 1].astype(int), axis=1) == 3).all()
    assert clips.short == 2  # 12 and 5 are shorter than 13
    assert set(places(frames)) == {(2, start) for start in range(18)}


def test_half_of_the_clips_are_mirrored_if_asked(tmp_path):
    store = make(tmp_path / "s")
    plain, flipped = (StoredClips(store, "train", 6, flip=flip) for flip in (False, True))
    straight = plain.__getitems__(range(1000))["frames"]
    mirrored = flipped.__getitems__(range(1000))["frames"]
    same = (straight == mirrored).all(axis=(1, 2, 3, 4))
    assert 400 < same.sum() < 600
    assert np.array_equal(mirrored[~same], straight[~same][..., ::-1])


def test_bounces_follow_their_frames(tmp_path):
    clips = StoredClips(make(tmp_path / "s", (40, 50), bounces=[7, 20, 33]), "train", 10, stride=2)
    batch = clips.__getitems__(range(200))
    shown = batch["frames"][:, :, 0, 0, 1]
    # a frame that was skipped bounced, too: the next one is the first that shows it
    assert np.array_equal(batch["bounces"], np.isin(shown, [7, 20, 33]) | np.isin(shown - 1, [7, 20, 33]))
    assert 0 < batch["bounces"].mean() < 0.3


@pytest.mark.parametrize("context", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_worker_processes_change_nothing(tmp_path, context):
    clips = StoredClips(make(tmp_path / "s", (40, 50)), "train", 8, seed=1)
    batches = [list(range(start, start + 4)) for start in range(0, 40, 4)]
    alone = [clips.__getitems__(batch)["frames"] for batch in batches]
    loader = DataLoader(
        clips, batch_sampler=batches, num_workers=2, multiprocessing_context=context, collate_fn=_frames
    )
    for batch, expected in zip(loader, alone, strict=True):
        assert np.array_equal(batch, expected)


def _frames(batch: dict) -> np.ndarray:
    return batch["frames"]


def test_a_pickled_store_is_its_path_and_no_copy(tmp_path):
    store = make(tmp_path / "s", (3000,))
    data = pickle.dumps(store)
    assert len(data) < 500
    assert np.array_equal(pickle.loads(data).array("train"), store.array("train"))


def test_clips_that_are_all_too_short_are_refused_with_the_longest(tmp_path):
    store = make(tmp_path / "s")
    with pytest.raises(InputError, match=r"has no clip of 31 frames in 'train'; its longest has 30"):
        StoredClips(store, "train", 31)
    with pytest.raises(InputError, match=r"has no clip of 31 frames \(11 with a stride of 3\)"):
        StoredClips(store, "train", 11, stride=3)
    with pytest.raises(InputError, match="has no split 'test', only train"):
        StoredClips(store, "test", 5)
    with pytest.raises(InputError, match="has nothing to validate on, only train"):
        _ = store.held_out


SPARSE = """
import sys
import numpy as np
from stochvid.training.datamodule import _Steps
from stochvid.data.store import Store
from stochvid.data.stored_clips import StoredClips

def anonymous():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssAnon")) / 1024

clips = StoredClips(Store(sys.argv[1]), "train", 20)
clips.__getitems__(range(10))
before = anonymous()
for start in range(0, 400, 10):
    clips.__getitems__(range(start, start + 10))
print(anonymous() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="anonymous memory is read from Linux's /proc")
def test_reading_a_store_of_4_gib_takes_no_memory_of_its_own(tmp_path):
    """Its array is a hole on disk; what is read belongs to the page cache, not to the process."""
    frames = (4 << 30) // 4096
    make(tmp_path / "s", (1000,), size=64)
    with open(tmp_path / "s" / "train.npy", "r+b") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (frames, 1, 64, 64)}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(128 + frames * 4096)
    index = json.loads((tmp_path / "s" / "index.json").read_text())
    index["splits"]["train"]["lengths"] = [frames]
    (tmp_path / "s" / "index.json").write_text(json.dumps(index))
    done = subprocess.run(
        [sys.executable, "-c", SPARSE, str(tmp_path / "s")], capture_output=True, text=True, check=True, timeout=120
    )
    assert float(done.stdout) < 8  # MiB; 400 clips were read, 31 MiB


# ---------------------------------------------------------------------------------------------------- broken stores


def change(folder: Path, **values) -> None:
    """Sets fields of the index; `split_…` ones in its only split."""
    path = folder / "index.json"
    index = json.loads(path.read_text())
    for name, value in values.items():
        where = index["splits"]["train"] if name.startswith("split_") else index
        where[name.removeprefix("split_")] = value
    path.write_text(json.dumps(index))


BROKEN = {
    "no index": (lambda s: (s / "index.json").unlink(), r"is not a store \(no index\.json there\)"),
    "no json": (lambda s: (s / "index.json").write_text("{"), "index.json cannot be read"),
    "nested": (lambda s: (s / "index.json").write_text("[" * 100_000), "index.json cannot be read"),
    "other json": (lambda s: (s / "index.json").write_text("{}"), "is not the index of a store"),
    "version": (lambda s: change(s, version=3), "is of version 3; this stochvid reads versions 1 and 2"),
    "no array": (lambda s: (s / "train.npy").unlink(), "train.npy cannot be opened"),
    "text": (lambda s: (s / "train.npy").write_text("text"), "train.npy cannot be opened"),
    "cut": (lambda s: os.truncate(s / "train.npy", 48_000), "train.npy cannot be opened"),
    "longer": (lambda s: os.truncate(s / "train.npy", 200_000), "not those of its header"),
    "pickle": (lambda s: np.save(s / "train.npy", np.array([{}])), "train.npy cannot be opened"),
    "dtype": (lambda s: np.save(s / "train.npy", np.zeros((47, 1, 32, 32), np.int8)), "index.json says uint8"),
    "order": (
        lambda s: np.save(s / "train.npy", np.asfortranarray(np.zeros((47, 1, 32, 32), np.uint8))),
        "frame after frame",
    ),
    "frames": (lambda s: np.save(s / "train.npy", np.zeros((46, 1, 32, 32), np.uint8)), r"says uint8 \(47, 1, 32"),
    "size": (lambda s: change(s, size=64), r"says uint8 \(47, 1, 64, 64\)"),
    "size of text": (lambda s: change(s, size="64"), "size is '64'"),
    "lengths": (lambda s: change(s, split_lengths=[12, 5, 31]), r"says uint8 \(48"),
    "gap": (lambda s: change(s, split_offsets=[0, 12, 18]), "overlap or leave gaps"),
    "negative": (lambda s: change(s, split_lengths=[12, -5, 30]), "not whole numbers of frames"),
    "fractions": (lambda s: change(s, split_lengths=[12, 5.5, 30]), "not whole numbers of frames"),
    "columns": (lambda s: change(s, split_names=["a"]), "split 'train' is incomplete"),
    "empty": (lambda s: change(s, splits={"train": {}}), "incomplete"),
    "rates": (lambda s: change(s, split_fps=["fast", 1, 2]), "names or fps of 'train' are of the wrong kind"),
    "bounces": (lambda s: change(s, version=1, split_bounces=[[1], [2], ["x"]]), "bounces are of the wrong kind"),
    "few bounces": (lambda s: change(s, version=1, split_bounces=[[1], None]), "bounces are incomplete"),
    "no bounces": (lambda s: change(s, version=1), "is not as it should be"),
    "bounces in a version without them": (lambda s: change(s, split_bounces=[[1], [2], [3]]), "unexpected keyword"),
    "names": (lambda s: change(s, split_names=[1, 2, 3]), "are of the wrong kind"),
    "unknown": (lambda s: change(s, split_pickle="x"), "unexpected keyword argument"),
    "path": (lambda s: change(s, splits={"../train": {}}), "is incomplete"),
    "no splits": (lambda s: change(s, splits=3), "is not as it should be"),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_store_is_refused_when_it_is_opened(tmp_path, what):
    make(tmp_path / "s")
    spoil, message = BROKEN[what]
    spoil(tmp_path / "s")
    with pytest.raises(InputError, match=message) as caught:
        Store(tmp_path / "s")
    assert str(tmp_path / "s") in str(caught.value)
    assert len(str(caught.value)) < 500


def test_changed_pixels_are_found_by_verify_alone(tmp_path, capsys):
    from stochvid.cli import main

    store = make(tmp_path / "s")
    assert main(["prepare", "--verify", str(store.path)]) == 0
    assert "every checksum are right" in capsys.readouterr().out
    data = bytearray((store.path / "train.npy").read_bytes())
    data[5000] ^= 1
    (store.path / "train.npy").write_bytes(data)
    Store(store.path)
    assert main(["prepare", "--verify", str(store.path)]) == 2
    assert "train.npy does not match its checksum" in capsys.readouterr().err


def test_the_checksum_is_the_one_that_sha256sum_prints(tmp_path):
    store = make(tmp_path / "s")
    done = subprocess.run(["sha256sum", str(store.path / "train.npy")], capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == store.splits["train"].sha256


def test_a_broken_store_is_replaced_if_asked(tmp_path):
    for name in ("a", "b", "c"):
        np.save(tmp_path / f"{name}.npy", np.zeros((4, 32, 32), np.uint8))
    store = prepare(tmp_path, tmp_path / "out", size=32, workers=0)  # inside of its source
    (store.path / "train.npy").write_text("gone")
    with pytest.raises(InputError, match="Prepare it again with --overwrite"):
        prepare(tmp_path, tmp_path / "out", size=32, workers=0)
    assert prepare(tmp_path, tmp_path / "out", size=32, workers=0, overwrite=True).splits["train"].frames == 8
