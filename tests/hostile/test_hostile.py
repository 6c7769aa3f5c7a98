"""Hostile files: whatever a loader is given, it reads it or refuses it with a message, and runs nothing that is in it.

The attacks and the broken files are in `loaders.py`; `harness.py` tries them in child processes with limits.
"""

import io
import math
import os
import pickle
import stat
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from hostile.harness import Outcome, attempt, cuts, flips, told
from hostile.loaders import LOADERS
from made_data import write_frames
from stochvid import InputError
from stochvid.config import load_config
from stochvid.media.clip import read_clip

PREFIX = b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))


# ------------------------------------------------------------------------------------------------- attacks, one by one

# a reader of every kind; the slow tests run all attacks on all of them
FAST = {
    "config": None,
    "model": (
        "config.json is", "predictor_layers is", "weights: ",
        "clips: deep", "clips: digits", "clips: a ", "clips: nothing", "clips: null", "clips: latin",
        "clips: surrogate", "clips: stride is", "clips: long", "clips: without",  # other fields are much alike
    ),
    "ckpt": (
        "zip: doubled", "zip: long", "zip: memo", "zip: absurd", "zip: runs", "bomb", "overlapping", "names outside",
        "a pipe",
    ),
    "official_zip": ("holds", "shares", "tensor: ", "text as", "a doubled", "zip: sizes", "zip: memo"),
    "npz": ("boast", "names outside", "long names", "objects", "overlapping"),
    "mp4": None,
    "webp": None,
    "lerobot": ("path ", "fps is", "absurd", "texts", "lists", "a pipe"),
    "store": (
        "size is", "splits.train.lengths", "tracks.actions.shape", "split outside", "track outside", "array of vast",
        "vast track", "objects",
    ),
}  # fmt: skip


LONG = ("bomb", "bomb as storage", "deep lists", "long float clip", "weights: many tensors")  # to make, or to read


def attacks(loader: str, names: tuple[str, ...] | None = None) -> list[tuple[str, str]]:
    """The attacks on a loader whose names begin so."""
    return [(loader, f"attack:{name}") for name in LOADERS[loader].attacks if names is None or name.startswith(names)]


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    """Of all that is fast, in one child: to begin takes longer than most attacks."""
    jobs = [job for loader, names in FAST.items() for job in attacks(loader, names)]
    return attempt([job for job in jobs if job[1].removeprefix("attack:") not in LONG])


@pytest.mark.parametrize("loader", FAST)
def test_attacks_are_read_or_refused_within_limits(outcomes, loader):
    tried = [outcome for outcome in outcomes if outcome.loader == loader]
    assert len(tried) > 1
    assert not told(tried)


class _Canary:
    """Unpickling it would leave a folder behind."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "p.npy", "p.npz", "svg.pth", "step-00000001.ckpt", "alex.pth"])
def test_no_pickle_runs_a_command(tmp_path, name):
    """In every place where some library would unpickle it."""
    from stochvid.evaluation.forecasters import Predictions
    from stochvid.evaluation.metrics.lpips import LPIPS
    from stochvid.interop.official import read_official
    from stochvid.training.checkpoint import AtomicCheckpointIO

    canary, path = tmp_path / "canary", tmp_path / name
    loads = {
        "a": read_clip,
        "p": Predictions,
        "svg": read_official,
        "step-00000001": AtomicCheckpointIO().load_checkpoint,
    }
    load = loads.get(path.stem, lambda path: LPIPS.from_folder(path.parent))
    bare = pickle.dumps(_Canary(canary), 2)
    objects = np.array([_Canary(canary)] * 2, dtype=object)
    archive = io.BytesIO()
    np.savez(archive, frames=objects)
    single = io.BytesIO()
    np.save(single, objects, allow_pickle=True)
    for data in (bare, PREFIX + bare, archive.getvalue(), single.getvalue()):
        path.write_bytes(data)
        with pytest.raises(InputError):
            load(path)
        assert not canary.exists()
    pickle.loads(bare)
    assert canary.exists()  # so it does work where it is let


def test_no_yaml_tag_runs_a_command(tmp_path):
    canary = tmp_path / "canary"
    for tag in ("object/apply:os.mkdir", "object/new:os.mkdir", "name:os.mkdir", "module:os"):
        (tmp_path / "c.yaml").write_text(f"model: {{beta: !!python/{tag} [{canary}]}}")
        with pytest.raises(InputError, match="could not determine a constructor for the tag"):
            load_config(tmp_path / "c.yaml")
    assert not canary.exists()


def test_a_frame_that_is_postscript_starts_no_other_program(tmp_path, monkeypatch):
    """Pillow hands PostScript to Ghostscript, whatever the file is called."""
    program, canary = tmp_path / "bin" / "gs", tmp_path / "canary"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {canary}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    write_frames(tmp_path / "clip", [np.zeros((48, 64, 3), np.uint8)])
    (tmp_path / "clip" / "frame2.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 48\n%%EndComments\n"
    )
    with pytest.raises(InputError, match=r"frame2.png' cannot be read as an image"):
        read_clip(tmp_path / "clip")
    assert not canary.exists()


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_program_that_writes_files_is_no_network_for_fvd(tmp_path, monkeypatch):
    """TorchScript can, by an operator of its own."""
    import torch

    from hostile.loaders import LOADERS
    from stochvid.evaluation.metrics.fvd import I3D

    monkeypatch.chdir(tmp_path)
    LOADERS["fvd"].attacks["writes a file"](tmp_path)
    with pytest.raises(
        InputError, match=r"is not a TorchScript file \(its program calls 'save', which touches files\)"
    ):
        I3D(tmp_path / "i3d.pt")
    assert not (tmp_path / "i3d.canary").exists()
    torch.jit.load(tmp_path / "i3d.pt")(torch.zeros(1, 3, 10, 8, 8))
    assert (tmp_path / "i3d.canary").exists()  # so it does work where it is let


@pytest.mark.parametrize("name", ["...npy", "..npy", "a\nb.npy", ".hidden.npy", "a b.npy"])
def test_no_name_of_a_clip_leads_out_of_the_folder_of_the_results(tmp_path, name):
    np.save(tmp_path / "clip.npy", np.zeros((4, 32, 32), np.uint8))
    os.rename(tmp_path / "clip.npy", tmp_path / name)
    folder = tmp_path / "out" / read_clip(tmp_path / name).name
    assert folder.resolve().parent == tmp_path / "out"


def test_large_claims_are_refused_before_memory_is_taken(tmp_path):
    """100,000 × 100,000 pixels, and a million frames, that are not there."""
    for shape in ((2, 100_000, 100_000), (10**6, 64, 64)):
        with open(tmp_path / "a.npy", "wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        tracemalloc.start()
        with pytest.raises(InputError):
            read_clip(tmp_path / "a.npy")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
        tracemalloc.stop()


def test_honest_large_files_are_read_as_before(tmp_path):
    """A frame of 8K, and an array of 40 GB of which four frames are read."""
    write_frames(tmp_path / "clip", [np.zeros((4320, 7680, 3), np.uint8)])
    assert read_clip(tmp_path / "clip").frames.shape == (1, 4320, 7680, 3)
    with open(tmp_path / "a.npy", "wb") as file:
        shape = (10**7, 64, 64)
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        file.truncate(file.tell() + math.prod(shape))  # a hole on disk
    assert read_clip(tmp_path / "a.npy", limit=4).frames.shape == (4, 64, 64, 1)


def test_the_harness_finds_what_it_is_there_to_find():
    """Loaders that fail in every way that counts; and one that does not."""
    names = ("crash", "memory", "hang", "die", "words", "fine")
    outcomes = attempt([("bad", f"attack:{name}") for name in names], "hostile.broken_loader")
    found = [(outcome.how.split(" with")[0], outcome.bad) for outcome in outcomes]
    assert found == [
        ("ZeroDivisionError", True), ("memory", True), ("too long", True), ("died", True), ("endless message", True),
        ("refused", False),
    ]  # fmt: skip


# ------------------------------------------------------------------------------------------------------- all of them


@pytest.mark.slow
@pytest.mark.parametrize("loader", [name for name, loader in LOADERS.items() if loader.attacks])
def test_every_attack_is_read_or_refused_within_limits(loader):
    assert not told(attempt(attacks(loader)))


FILES = {"model": 4, "lpips": 2, "png": 2, "pictures": 2, "kth": 2, "lerobot": 3, "store": 2, "journal": 2}


@pytest.mark.slow
@pytest.mark.parametrize("loader", LOADERS)
def test_files_cut_at_every_hundredth_are_read_or_refused(loader):
    assert not told(attempt([(loader, case) for case in cuts(files=FILES.get(loader, 1))]))


@pytest.mark.slow
@pytest.mark.parametrize("loader", LOADERS)
def test_changed_files_are_read_or_refused(loader):
    assert not told(attempt([(loader, case) for case in flips(300, FILES.get(loader, 1))]))
