"""What is known of every frame goes from stores to models without plumbing; and a store believes no track unchecked."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import stochvid
from paths import EARLIER
from stochvid import DataConfig, InputError, MovingMNIST, Store, SVGConfig
from stochvid.app.studio import Futures, FuturesSettings, Studio, SurpriseResult, draw_futures, make_job, watch
from stochvid.app.views import futures_view
from stochvid.cli import main
from stochvid.core.clips import Clips, one_of
from stochvid.data.opening import open_clips
from stochvid.data.stored_clips import StoredClips
from stochvid.data.tracks import Track, at_frames, statistics
from stochvid.evaluation.held_out import StoredWindows
from stochvid.inference.sources import open_source, stored_source
from stochvid.prepare.moving_mnist_sets import prepare_moving_mnist
from stochvid.prepare.store_writer import StoreWriter
from toy_driven import Driven, DrivenConfig

TRACKS = {
    "actions": Track("float32", (2,), ["push", "nothing"], ["N", "1"]),
    "contacts": Track("bool"),
}
LENGTH = 24
DRIVEN = ("--model.family", "driven", "--model.image_size", "32", "--data.store", "STORE")


def brightness(actions: np.ndarray) -> np.ndarray:
    """What a frame shows after an action, (T, 2) → (T,) in 0 … 255."""
    return np.round(255 / (1 + np.exp(-2 * actions[:, 0]))).astype(np.uint8)


def write_store(folder: Path, clips=(6, 3), length=LENGTH) -> Store:
    """A store of a light whose brightness in a frame is what the action of the frame before said, at random."""
    folder.mkdir()
    random = np.random.default_rng(0)
    with StoreWriter(folder, 32, 1, TRACKS) as writer:
        for split, count in zip(("train", "test"), clips, strict=True):
            for number in range(count):
                actions = random.uniform(-1, 1, (length, 2)).astype(np.float32)
                shown = brightness(np.roll(actions, 1, 0))  # the first frame follows nothing
                frames = np.broadcast_to(shown[:, None, None, None], (length, 1, 32, 32))
                tracks = {"actions": actions, "contacts": random.random(length) < 0.2}
                writer.add(split, f"{number}", frames, length, tracks=tracks)
        writer.finish({"plan": {"format": "made"}})
    return Store(folder)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return write_store(tmp_path_factory.mktemp("tracks") / "store")


@pytest.fixture(scope="module")
def run(store) -> Path:
    """A model that is driven by actions, trained until it has understood them."""
    folder = store.path.parent / "run"
    words = [
        "train", "--model.family", "driven", "--model.image_size", "32", "--model.context", "3", "--model.horizon", "5",
        "--data.store", store.path, "--data.batch_size", "4", "--data.val_clips", "4", "--optim.lr", "0.05",
        "--trainer.max_steps", "200", "--trainer.log_every", "50", "--trainer.validate_every", "100",
        "--trainer.device", "cpu", "--trainer.sample_clips", "1", "--out", folder,
    ]  # fmt: skip
    assert main([str(word) for word in words]) == 0
    return folder


# --------------------------------------------------------------------- a model that needs a track gets it, everywhere


def test_training_and_validation_are_driven_by_actions(run):
    with open(run / "metrics.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for split in ("train", "val"):  # brightness is at random: who does not see the actions has an error of 0.03 or more
        assert float([row["mse"] for row in rows if row["split"] == split][-1]) < 1e-3
    assert list((run / "samples").glob("*.gif"))


def test_futures_of_a_stored_clip_follow_its_actions(run, store, tmp_path):
    words = ["predict", str(run), f"{store.path}:1", "--horizon", "15", "--samples", "2", "--out", str(tmp_path / "p")]
    assert main(words) == 0
    with np.load(tmp_path / "p" / "store-1" / "futures.npz") as found:
        assert np.abs(found["futures"].astype(int) - found["truth"]).max() < 12
        clip = store.clip("test", 1)
        for name in TRACKS:
            np.testing.assert_array_equal(found[name], clip[name][:18])
    assert np.ptp(clip["frames"][3:18]) > 150


def test_a_start_within_the_clip_takes_its_actions_from_there(run, store, tmp_path):
    for start in ("4", "-20"):
        out = tmp_path / f"p{start}"
        words = ["predict", str(run), f"{store.path}:1", "--start", start, "--horizon", "9", "--out", str(out)]
        assert main(words) == 0
        with np.load(out / "store-1" / "futures.npz") as found:
            assert np.abs(found["futures"].astype(int) - found["truth"]).max() < 12
            np.testing.assert_array_equal(found["actions"], store.clip("test", 1)["actions"][4:16])


def test_evaluation_gives_the_actions_of_every_clip(run, store, tmp_path):
    words = ["evaluate", str(run), "--clips", "3", "--samples", "2", "--horizon", "9", "--out", str(tmp_path / "e")]
    assert main(words) == 0
    results = json.loads((tmp_path / "e" / "results.json").read_text(encoding="utf-8"))
    assert results["metrics"]["psnr"]["best"]["mean"] > 30


def test_surprise_hands_the_actions_on_from_piece_to_piece(run, tmp_path):
    store = write_store(tmp_path / "long", (1, 1), 75)  # more than two pieces
    assert main(["surprise", str(run), f"{store.path}:0", "--out", str(tmp_path / "s")]) == 0
    with open(tmp_path / "s" / "surprise.csv", newline="", encoding="utf-8") as file:
        errors = [float(row["mse"]) for row in csv.DictReader(file)]
    assert len(errors) == 74
    assert max(errors) < 1e-3


def test_the_page_draws_and_watches_by_actions(run, store):
    studio, frames = Studio.open(str(run), "cpu"), store.clip("test", 0)["frames"]
    job = make_job(stored_source(store, 0, 1, None, 1), frames[:15], 3)
    *_, shown = draw_futures(studio, job, FuturesSettings(3, 12, 2, 0))
    assert isinstance(shown, Futures)
    assert np.abs(shown.prediction.frames[0].numpy().astype(int) - frames[3:15]).max() < 12
    *_, watched = watch(studio, stored_source(store, 0, 1, None, 1), iter(frames), 0)
    assert isinstance(watched, SurpriseResult)
    assert watched.series["mse"].max() < 1e-3
    with pytest.raises(InputError, match="a horizon of at most 12"):
        list(draw_futures(studio, job, FuturesSettings(3, 13, 2, 0)))


def test_predict_takes_tracks_that_go_on_into_the_future(run, store):
    model, clip = stochvid.load(run), Clips.of_batch({n: x[None] for n, x in store.clip("test", 2).items()})
    given = clip._replace(frames=clip.frames[:, :3])
    drawn = model.predict(given, 10, 3).frames
    assert (drawn[0, :] * 255 - clip.frames[0, 3:13].float()).abs().max() < 12
    torch.testing.assert_close(model.predict(given, 6, 1, first_sample=2).frames, drawn[:, 2:, :6])
    other = given._replace(tracks=given.tracks | {"actions": -given.tracks["actions"]})
    assert (model.predict(other, 10, 3).frames - drawn).abs().max() > 0.3
    with pytest.raises(InputError, match=r"track 'actions' must be \(1, 25 or more"):
        model.predict(given, 22)
    with pytest.raises(InputError, match=r"no track 'actions', which the model .driven. needs"):
        model.predict(given.frames, 2)
    with pytest.raises(InputError, match=r"values of shape \(3,\), the model takes \(2,\)"):
        model.predict(given._replace(tracks={"actions": torch.zeros(1, 24, 3)}), 2)


# ------------------------------------------------------------------------------------------------ what cannot be done


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["train", "--model.family", "driven"], "moving digits has no track 'actions'"),
        (["train", *DRIVEN, "--data.flip", "true"],
         "nobody knows what becomes of the track 'actions'"),
        (["train", *DRIVEN, "--model.action_size", "3"],
         "has values of shape (2,), the model takes (3,)"),
        (["predict", "RUN", "moving-mnist:1"], "clip 'moving-mnist:1' has no track 'actions'"),
        (["predict", "RUN", "STORE:0", "--horizon", "50"], "a horizon of at most 21"),
        (["predict", "RUN", "CLIP"], "it has no tracks at all"),
        (["surprise", "RUN", "CLIP"], "has no track 'actions'"),
        (["evaluate", "RUN", "--data", "laptop"], "the data has no track 'actions'"),
    ],
)  # fmt: skip
def test_clips_without_what_a_model_needs_are_refused_and_nothing_is_written(run, store, tmp_path, capsys, words, told):
    np.save(tmp_path / "clip.npy", np.zeros((30, 32, 32), np.uint8))
    names = {"RUN": str(run), "CLIP": str(tmp_path / "clip.npy")}
    words = [names.get(word, word.replace("STORE", str(store.path))) for word in words]
    assert main([*words, "--out", str(tmp_path / "out")]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_family_that_needs_no_tracks_trains_on_mirrored_clips_of_any_store(store):
    clips = open_clips(DataConfig(store=str(store.path), flip=True), SVGConfig(image_size=32), "train", 6, 0)
    assert set(clips[0]) == {"frames", "index", "contacts"}
    assert set(open_clips(DataConfig(store=str(store.path)), SVGConfig(image_size=32), "train", 6, 0)[0]) == {
        "frames", "index", *TRACKS
    }  # fmt: skip


# ------------------------------------------------------------------------------------------------ tracks in a store


def test_tracks_follow_their_frames_at_any_stride(store):
    for stride in (1, 2, 3):
        batch = StoredClips(store, "train", 5, seed=1, stride=stride).__getitems__(range(40))
        whole = [store.clip("train", n) for n in range(6)]
        done = np.load(store.path / "train.actions.npy").reshape(6, LENGTH, 2)  # at each frame, after it
        for row in range(40):
            place = [
                (n, first)
                for n, clip in enumerate(whole)
                for first in range(LENGTH - 4 * stride)
                if np.array_equal(clip["frames"][first::stride][:5], batch["frames"][row])
            ]
            (n, first), = place  # fmt: skip
            clip = whole[n]
            assert batch["actions"].shape == (40, 5, 2 * stride)
            for t in range(5):
                between = [done[n, max(0, first + t * stride - back)] for back in range(stride, 0, -1)]
                assert np.array_equal(batch["actions"][row, t], np.concatenate(between))
                shown = brightness(batch["actions"][row, t : t + 1, -2:])[0]  # what the last of them says
                assert t + first == 0 or batch["frames"][row, t].max() == shown
                passed = clip["contacts"][max(0, first + t * stride - stride + 1) : first + t * stride + 1]
                assert batch["contacts"][row, t] == passed.any()
        windows = StoredWindows(store, "test", 4, stride).read([0])
        last = windows["actions"][0, :, -2:]
        assert np.array_equal(last, store.clip("test", 0)["actions"][: 4 * stride : stride])


def test_a_stride_over_a_source_takes_its_tracks_along(store):
    every = stored_source(store, 0, 1, None, 1).every(3)
    clip = store.clip("test", 0)
    expected = store.tracks_at("test", 0, 0, 8, 3)["actions"]
    assert np.array_equal(every.tracks["actions"][1:], expected[1:])  # nothing led to the first frame
    assert np.array_equal(every.tracks["actions"][1:, -2:], clip["actions"][3::3])
    assert np.array_equal(every.tracks["contacts"], at_frames(clip["contacts"], 0, 8, 3))


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float32", "float64"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 4)])
def test_statistics_are_those_of_numpy(dtype, shape):
    random = np.random.default_rng(1)
    values = (
        random.normal(1e3, 20, (203, *shape)).astype(dtype) if dtype != "bool" else random.random((203, *shape)) < 0.3
    )
    found = statistics(values, block=50)  # several pieces
    exact = values.astype(np.float64)
    for name, function in (("mean", np.mean), ("std", np.std), ("min", np.min), ("max", np.max)):
        np.testing.assert_allclose(found[name], function(exact, 0), rtol=1e-12, atol=1e-12)
    assert np.shape(found["mean"]) == shape


def test_the_index_names_tracks_and_their_statistics_over_the_training_split(store):
    index = json.loads((store.path / "index.json").read_text(encoding="utf-8"))
    actions = np.load(store.path / "train.actions.npy")
    assert index["version"] == 2
    told = index["tracks"]["actions"]
    assert {name: told[name] for name in ("dtype", "shape", "names", "units")} == {
        "dtype": "float32", "shape": [2], "names": ["push", "nothing"], "units": ["N", "1"],
    }  # fmt: skip
    np.testing.assert_allclose(told["statistics"]["std"], actions.astype(np.float64).std(0))
    assert store.tracks["actions"].statistics == told["statistics"]
    assert str(store.tracks["actions"]) == "float32 (2): push, nothing"


def test_a_changed_track_is_found_by_verify_alone(store, tmp_path, capsys):
    copy = Path(shutil.copytree(store.path, tmp_path / "s"))
    assert main(["prepare", "--verify", str(copy)]) == 0
    assert "actions: float32 (2)" in capsys.readouterr().out
    data = bytearray((copy / "test.actions.npy").read_bytes())
    data[200] ^= 1
    (copy / "test.actions.npy").write_bytes(data)
    Store(copy)
    assert main(["prepare", "--verify", str(copy)]) == 2
    assert "test.actions.npy does not match its checksum" in capsys.readouterr().err


def put(*places):
    """Sets a value of the index: the last of `places`, at the others."""

    def change(folder: Path) -> None:
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        where = index
        for place in places[:-2]:
            where = where[place]
        where[places[-2]] = places[-1]
        (folder / "index.json").write_text(json.dumps(index), encoding="utf-8")

    return change


def saved(name: str, array: np.ndarray):
    return lambda folder: np.save(folder / name, array)


FRAMES = 6 * LENGTH
BROKEN = {
    "no file": (lambda f: (f / "train.actions.npy").unlink(), "train.actions.npy cannot be opened"),
    "no file of a split": (lambda f: (f / "test.contacts.npy").unlink(), "test.contacts.npy cannot be opened"),
    "rows": (saved("train.actions.npy", np.zeros((FRAMES - 1, 2), np.float32)), r"index.json says float32 \(144, 2\)"),
    "components": (saved("train.actions.npy", np.zeros((FRAMES, 3), np.float32)), r"says float32 \(144, 2\)"),
    "dtype": (saved("train.actions.npy", np.zeros((FRAMES, 2))), "says float32"),
    "byte order": (saved("train.actions.npy", np.zeros((FRAMES, 2), ">f4")), "says float32"),
    "array order": (saved("train.actions.npy", np.zeros((2, FRAMES), np.float32).T), "frame after frame"),
    "pickles": (saved("train.actions.npy", np.array([{}] * FRAMES)), "train.actions.npy cannot be opened"),
    "text": (lambda f: (f / "train.contacts.npy").write_text("text"), "train.contacts.npy cannot be opened"),
    "a folder": (lambda f: ((f / "test.contacts.npy").unlink(), (f / "test.contacts.npy").mkdir()), "cannot be opened"),
    "path": (put("tracks", "../../etc/passwd", {"dtype": "bool"}), "a name that no track can have"),
    "name of frames": (put("tracks", "frames", {"dtype": "bool"}), "a name that no track can have"),
    "long name": (put("tracks", "a" * 300, {"dtype": "bool"}), "a name that no track can have"),
    "objects": (put("tracks", "actions", "dtype", "object"), "dtype 'object'; expected one of bool"),
    "shape": (put("tracks", "actions", "shape", [-2]), r"shape \(-2,\)"),
    "shape of halves": (put("tracks", "actions", "shape", [2.0]), r"shape \(2.0,\)"),
    "vast": (put("tracks", "actions", "shape", [1 << 40]), "more than 1,048,576 values a frame"),
    "axes": (put("tracks", "actions", "shape", [1] * 10 + [2]), "has shape"),
    "names": (put("tracks", "actions", "names", ["x"]), "2 component.s., but 1 names"),
    "units": (put("tracks", "actions", "units", [1, 2]), "units of track 'actions' are no list of words"),
    "statistics": (put("tracks", "actions", "statistics", "mean", [1.0]), "mean of track 'actions' is not finite"),
    "not finite": (put("tracks", "actions", "statistics", "std", [float("nan"), 1]), "std of track 'actions' is not"),
    "no statistics": (put("tracks", "actions", "statistics", {}), "are not mean, std, min, max"),
    "unknown field": (put("tracks", "actions", "pickle", "x"), "unexpected keyword argument"),
    "no mapping": (put("tracks", [1, 2]), "is not as it should be"),
    "many": (put("tracks", {f"t{n}": {"dtype": "bool"} for n in range(100)}), "100 tracks; at most 64"),
    "lost": (put("splits", "test", "tracks", {"actions": ""}), "tracks of 'test' are not those of the store"),
    "no checksum": (put("splits", "test", "tracks", "actions", 3), "tracks of 'test' are not those of the store"),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_a_track_that_makes_no_sense_is_refused_when_the_store_is_opened(store, tmp_path, what):
    copy, (spoil, message) = Path(shutil.copytree(store.path, tmp_path / "s")), BROKEN[what]
    spoil(copy)
    with pytest.raises(InputError, match=message) as caught:
        Store(copy)
    assert "Prepare it again with --overwrite" in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("tracks", "message"),
    [
        ({}, "clip 'x' lacks the track 'actions'"),
        ({"actions": np.zeros((4, 2), np.float32), "more": np.zeros(4)}, "clip 'x' has the track 'more'"),
        ({"actions": np.zeros((5, 2), np.float32)}, r"is float32 \(5, 2\); expected float32 \(4, 2\)"),
        ({"actions": np.zeros((4, 2))}, r"is float64 \(4, 2\); expected float32"),
        ({"actions": np.full((4, 2), np.nan, np.float32)}, "no finite number in frame 0"),
    ],
)
def test_a_writer_takes_no_track_that_does_not_fit(tmp_path, tracks, message):
    with StoreWriter(tmp_path, 32, 1, {"actions": Track("float32", (2,))}) as writer:
        with pytest.raises(InputError, match=message):
            writer.add("train", "x", np.zeros((4, 1, 32, 32), np.uint8), 4, tracks=tracks)
        assert writer.clips == 0


@pytest.mark.parametrize("name", ["a.b", "../x", "", "Actions", "frames", "index", "truth", "seed", "a b"])
def test_no_track_is_called_what_files_or_batches_cannot_hold(tmp_path, name):
    with pytest.raises(InputError, match="a name that no track can have"):
        StoreWriter(tmp_path, 32, 1, {name: Track("bool")})


# ------------------------------------------------------------------------------------------------ events, older stores


def test_events_of_any_name_are_marked_under_it(store):
    source = stored_source(store, 0, 1, None, 1)
    clip = store.clip("test", 0, 12)
    happens, frames = np.flatnonzero(clip["contacts"]) + 1, clip["frames"]
    studio = Studio.open("one-digit", "cpu")
    *_, shown = draw_futures(studio, make_job(source, frames, 5), FuturesSettings(5, 7, 1, 0))
    curve = futures_view(shown)["curve"]
    assert curve["marks"] == [t for t in happens.tolist() if t > 5]
    assert curve["marked"] == "true contacts"
    assert one_of("bounces") == "bounce"


@pytest.mark.slow
def test_uncertainty_is_measured_at_events_of_any_name(run, store, tmp_path, capsys):
    words = ["uncertainty", str(run), "--data", str(store.path), "--length", "8", "--out", str(tmp_path / "u")]
    assert main(words) == 0
    assert "without the frame after a contact" in capsys.readouterr().out
    results = json.loads((tmp_path / "u" / "uncertainty.json").read_text(encoding="utf-8"))
    assert results["every_frame"]["contacts"] > 0
    assert "sigma_at_contacts" in results


def test_a_store_of_moving_digits_has_the_bounces_of_its_clips(tmp_path):
    store = prepare_moving_mnist(tmp_path / "s", num_digits=1, size=32, clips=5, length=20, seed=4)
    assert str(store.tracks["bounces"]) == "bool"
    made = MovingMNIST.from_config(
        DataConfig(digits="builtin", num_digits=1), SVGConfig(image_size=32), "test", 20, seed=4
    ).__getitems__(range(5))
    assert np.array_equal(np.load(store.path / "test.bounces.npy").reshape(5, 20), made["bounces"])
    store.verify()


MADE = EARLIER / "version-0.1"


def test_a_store_of_version_1_gives_its_bounces_as_a_track():
    store = Store(MADE / "digits")
    store.verify()
    assert store.about["version"] == 1
    assert list(store.tracks) == ["bounces"]
    with np.load(MADE / "digits-bounces.npz") as was:  # as that version read them
        whole, strided = StoredWindows(store, None, 14).read(range(4)), StoredWindows(store, None, 5, 2).read(range(4))
        assert np.array_equal(whole["bounces"], was["whole"])
        assert np.array_equal(strided["bounces"], was["strided"])
        trained = StoredClips(store, "test", 4, stride=3).__getitems__(range(40))
        assert np.array_equal(trained["bounces"], was["trained"])
        for number in range(4):
            assert np.array_equal(store.clip("test", number)["bounces"], was["whole"][number])
    source = open_source(f"{MADE / 'digits'}:1", MADE, SVGConfig(image_size=32), 3, 9, None, 1)
    assert np.array_equal(source.read(9).tracks["bounces"], whole["bounces"][1, :9])
    assert Store(MADE / "store").tracks == {}


def test_a_store_made_again_holds_the_same_clips_and_bounces(tmp_path):
    new = prepare_moving_mnist(tmp_path / "digits", num_digits=1, size=32, clips=4, length=14, seed=3)
    old = Store(MADE / "digits")
    assert new.splits["test"].sha256 == old.splits["test"].sha256
    for number in range(4):
        assert np.array_equal(new.clip("test", number)["bounces"], old.clip("test", number)["bounces"])


def test_the_driven_family_is_the_one_that_was_loaded(run):
    model = stochvid.load(run)
    assert type(model) is Driven
    assert model.config == DrivenConfig(image_size=32, context=3, horizon=5)


def test_with_a_stride_a_model_trains_evaluates_and_predicts_by_the_actions_in_between(store, tmp_path):
    narrow = ["--model.base_channels", "2", "--model.g_dim", "4", "--model.rnn_size", "4", "--model.z_dim", "2"]
    sizes = ["--model.image_size", "32", "--model.context", "2", "--model.horizon", "3", "--trainer.max_steps", "1"]
    few = ["--data.batch_size", "2", "--data.val_clips", "2", "--trainer.sample_clips", "1", "--trainer.device", "cpu"]
    run, words = tmp_path / "r", ["--model.family", "svg", "--data.store", str(store.path), "--data.stride", "2"]
    assert main(["train", *words, "--model.action_dim", "4", *narrow, *sizes, *few, "--out", str(run)]) == 0
    drawn = ["--samples", "2", "--horizon", "3"]
    assert main(["evaluate", str(run), "--clips", "2", *drawn, "--out", str(tmp_path / "e")]) == 0
    assert main(["predict", str(run), f"{store.path}:0", *drawn, "--out", str(tmp_path / "p")]) == 0
    with np.load(tmp_path / "p" / "store-0" / "futures.npz") as found:
        assert np.array_equal(found["actions"], store.tracks_at("test", 0, 0, 5, 2)["actions"])
