"""`stochvid evaluate`: protocols against scikit-image, streaming, resuming, other tools' futures, bad input."""

import csv
import json
import signal
import subprocess
import time

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from commands import STOCHVID, in_terminal
from metric_networks import Network, alexnet, heads
from paths import MNIST, needs_mnist
from stochvid import SVG, InputError, Store, SVGConfig
from stochvid.cli import main
from stochvid.evaluation.evaluate import evaluate
from stochvid.evaluation.forecasters import Model
from stochvid.evaluation.held_out import StoredWindows
from stochvid.evaluation.metrics.fvd import frechet_distance
from stochvid.evaluation.results import read_results
from stochvid.prepare.moving_mnist_sets import prepare_moving_mnist
from stochvid.prepare.store_writer import StoreWriter
from tiny import made_store, save_digit_model

CONTEXT, HORIZON, CLIPS = 3, 4, 5
SETTING = {"context": CONTEXT, "horizon": HORIZON, "clips": CLIPS}
SVG2018 = {"win_size": 7, "data_range": 2.0, "use_sample_covariance": True}
SRVP2020 = {"gaussian_weights": True, "sigma": 1.5, "data_range": 1.0, "use_sample_covariance": False}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_digit_model(tmp_path_factory.mktemp("models") / "lp")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("stores") / "test"
    return str(prepare_moving_mnist(path, num_digits=1, size=32, clips=6, length=CONTEXT + HORIZON).path)


def clips_of(store: str) -> torch.Tensor:
    """(N, T, C, H, W) uint8."""
    opened = Store(store)
    return torch.from_numpy(np.stack([opened.clip("test", n)["frames"] for n in range(CLIPS)]))


def score(futures: torch.Tensor, truth: torch.Tensor, options) -> tuple[np.ndarray, np.ndarray]:
    """PSNR and SSIM of every frame, (N, S, T) each, by scikit-image in float64, of (N, S, T, C, H, W) and (N, T, …)."""
    x, y = futures.double().numpy(), truth.double().numpy() / 255
    psnr, ssim = np.empty(x.shape[:3]), np.empty(x.shape[:3])
    for n, s, t in np.ndindex(*psnr.shape):
        pairs = list(zip(y[n, t], x[n, s, t], strict=True))
        psnr[n, s, t] = np.mean([-10 * np.log10(np.square(a - b).mean()) for a, b in pairs])
        ssim[n, s, t] = np.mean([structural_similarity(a, b, **options) for a, b in pairs])
    return psnr, ssim


def same(a: dict, b: dict, tolerance=1e-6):
    """Checks that the numbers of two results agree."""
    for part in ("metrics", "curves", "samples", "clips", "not_finite"):
        flat_a, flat_b = json.dumps(a[part]), json.dumps(b[part])
        numbers_a, numbers_b = (
            [float(x) for x in text.translate(str.maketrans('[]{}:,"', "       ")).split() if x[0] in "-0123456789"]
            for text in (flat_a, flat_b)
        )
        np.testing.assert_allclose(numbers_a, numbers_b, rtol=tolerance, atol=tolerance)


# --------------------------------------------------------------------------------------------------------- protocols


@pytest.mark.parametrize(("protocol", "options"), [("svg2018", SVG2018), ("srvp2020", SRVP2020)])
def test_baselines_have_the_scores_of_scikit_image(store, tmp_path, protocol, options):
    clips = clips_of(store)
    still = {"copy-last": clips[:, CONTEXT - 1] / 255.0, "mean-of-context": clips[:, :CONTEXT].float().mean(1) / 255}
    for name, frame in still.items():
        results = evaluate(name, tmp_path / name, data=store, protocol=protocol, **SETTING)
        futures = frame[:, None, None].expand(-1, 1, HORIZON, -1, -1, -1)
        psnr, ssim = score(futures, clips[:, CONTEXT:], options)
        assert results["metrics"]["psnr"]["best"]["mean"] == pytest.approx(psnr.mean(), abs=1e-4)
        assert results["metrics"]["ssim"]["best"]["mean"] == pytest.approx(ssim.mean(), abs=1e-5)
        per_clip = ssim.mean((1, 2))
        assert [clip["ssim"]["best"] for clip in results["clips"]] == pytest.approx(per_clip, abs=1e-5)
        half = 1.96 * per_clip.std(ddof=1) / np.sqrt(CLIPS)
        assert results["metrics"]["ssim"]["best"]["ci95"] == pytest.approx(half, abs=1e-5)
        assert results["curves"]["psnr"]["best"]["mean"] == pytest.approx(psnr.mean((0, 1)), abs=1e-4)
        assert results["sampling"]["drawn"] == 1


@pytest.mark.parametrize(("protocol", "options"), [("svg2018", SVG2018), ("srvp2020", SRVP2020)])
def test_the_best_sample_is_chosen_as_the_protocol_says(model, store, tmp_path, protocol, options):
    results = evaluate(model, tmp_path / "out", data=store, protocol=protocol, samples=6, seed=3, **SETTING)
    clips = clips_of(store)
    futures = SVG.from_pretrained(model).predict(clips[:, :CONTEXT], HORIZON, 6, seed=3).frames
    psnr, ssim = (values.mean(2) for values in score(futures, clips[:, CONTEXT:], options))
    by = {"psnr": ssim if protocol == "svg2018" else psnr, "ssim": ssim}
    assert (psnr.argmax(1) != ssim.argmax(1)).any()  # the protocols do differ here
    for name, values in (("psnr", psnr), ("ssim", ssim)):
        best, worst = by[name].argmax(1), by[name].argmin(1)
        assert [clip[name]["best_sample"] for clip in results["clips"]] == best.tolist()
        n = np.arange(CLIPS)
        assert [clip[name]["best"] for clip in results["clips"]] == pytest.approx(values[n, best], abs=1e-4)
        assert [clip[name]["worst"] for clip in results["clips"]] == pytest.approx(values[n, worst], abs=1e-4)
        assert results["metrics"][name]["mean"]["mean"] == pytest.approx(values.mean(), abs=1e-4)


def test_everything_that_made_the_numbers_is_in_the_results(model, store, tmp_path):
    results = evaluate(model, tmp_path / "out", data=store, samples=4, seed=2, name="mine", **SETTING)
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == ["best.gif", "curves.csv", "curves.png", "results.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert read_results(out) == json.loads(json.dumps(results))
    assert results["name"] == "mine"
    assert results["protocol"]["window"] == "gaussian"
    assert results["setting"] == {"context": 3, "horizon": 4, "clips": 5, "samples": 4}
    assert results["sampling"]["seed"] == 2
    assert results["model"]["kind"] == "model"
    assert len(results["model"]["sha256"]) == 64
    assert results["data"]["plan"]["format"] == "moving-mnist"
    with open(out / "curves.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["frame"]) for row in rows] == [4, 5, 6, 7]
    assert [float(row["ssim_best"]) for row in rows] == pytest.approx(
        results["curves"]["ssim"]["best"]["mean"], rel=1e-5
    )
    assert iio.imread(out / "best.gif").shape[0] == CONTEXT + HORIZON
    assert iio.imread(out / "curves.png").std() > 10


def test_samples_are_told_from_noise(model, store, tmp_path):
    """Diversity, sharpness, CRPS and ranks in the results are those of the futures themselves."""
    results = evaluate(model, tmp_path / "out", data=store, samples=8, **SETTING)["samples"]
    clips = clips_of(store)
    x = SVG.from_pretrained(model).predict(clips[:, :CONTEXT], HORIZON, 8).frames.double().numpy()
    y = clips[:, CONTEXT:].double().numpy()[:, None] / 255
    pairs = [np.square(x[:, i] - x[:, j]).mean() for i in range(8) for j in range(i)]
    assert results["diversity"]["mean"] == pytest.approx(np.mean(pairs), rel=1e-4)
    assert results["mse"]["mean"] == pytest.approx(np.square(x - y).mean(), rel=1e-4)
    gaps = [np.abs(x[:, i] - x[:, j]).mean() for i in range(8) for j in range(i)]
    assert results["crps"]["mean"] == pytest.approx(np.abs(x - y).mean() - np.mean(gaps) / 2, rel=1e-4)
    energy = [sum(np.square(np.diff(z, axis=axis)).mean() for axis in (-1, -2)) for z in (x, y)]
    assert results["sharpness"]["mean"] == pytest.approx(energy[0] / energy[1], rel=1e-4)
    histogram = results["rank_histogram"]
    assert len(histogram["counts"]) == 9
    assert sum(histogram["counts"]) + histogram["pixels_all_alike"] == pytest.approx(y.size)


def test_frames_that_equal_the_truth_are_counted(tmp_path, capsys):
    """Clips of equal frames, of which copy-last is right about every one, beside clips that move."""
    frames = np.random.default_rng(0).integers(256, size=(4, 7, 1, 32, 32), dtype=np.uint8)
    frames[0] = frames[0, :1]
    still = tmp_path / "s"
    still.mkdir()
    with StoreWriter(still, 32, 1) as writer:
        for n, clip in enumerate(frames):
            writer.add("test", f"{n}", clip, 7)
        writer.finish({"plan": {}, "source": "made", "left_out": []})
    results = evaluate("copy-last", tmp_path / "out", data=str(still), context=3, horizon=4)
    assert results["samples"]["equal_frames"] == 0.25
    assert results["clips"][0]["psnr"]["best"] == 100
    assert "25.0% of its frames equal the truth, and count as 100 dB" in capsys.readouterr().out


@needs_mnist
def test_published_numbers_stand_beside_ours_with_what_is_not_the_same(tmp_path, capsys):
    words = ["evaluate", "copy-last", "--data", "smmnist-srvp-lp", "--mnist", str(MNIST), "--clips", "2"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "5 → 20 frames" in said
    assert [line.split()[-2:] for line in said.splitlines() if "SRVP, published" in line] == [["16.93", "0.7799"]]
    assert "made clips, not the published set; 2 clips instead of 5,000" in said
    assert main([*words, "--out", str(tmp_path / "svg"), "--protocol", "svg2018"]) == 0
    said = capsys.readouterr().out
    assert "5 → 25 frames" in said
    assert ", published" not in said


def test_data_of_no_published_kind_have_no_published_numbers(model, tmp_path, capsys):
    evaluate(model, tmp_path / "out", clips=2, samples=2)
    said = capsys.readouterr().out
    assert "3 → 4 frames" in said  # twice the horizon of training
    assert "No published numbers" in said
    assert "image size 32 instead of 64; num digits 1 instead of 2" in said


# --------------------------------------------------------------------------------------------- streaming and resuming


def test_numbers_do_not_depend_on_how_many_samples_are_drawn_at_once(model, store, tmp_path, monkeypatch):
    sizes, draw = [], Model.draw

    def spy(self, numbers, context, horizon, first, count):
        sizes.append(len(numbers) * count)
        return draw(self, numbers, context, horizon, first, count)

    monkeypatch.setattr(Model, "draw", spy)
    together = evaluate(model, tmp_path / "a", data=store, samples=7, **SETTING)
    assert max(sizes) >= 7 * CLIPS
    sizes.clear()
    pieces = evaluate(model, tmp_path / "b", data=store, samples=7, memory=0.0008, **SETTING)
    assert max(sizes) == pieces["sampling"]["chunk"] < 7
    same(together, pieces)


def test_a_deterministic_model_is_drawn_once(store, tmp_path, capsys):
    results = evaluate(
        save_digit_model(tmp_path / "det", prior="none"), tmp_path / "out", data=store, samples=9, **SETTING
    )
    assert results["sampling"]["drawn"] == 1
    assert results["samples"]["diversity"]["mean"] == 0
    assert "1 sample (it draws nothing)" in capsys.readouterr().out


def test_an_evaluation_that_was_stopped_goes_on_with_the_same_numbers(model, store, tmp_path):
    out, setting = tmp_path / "out", [f"--{name}={value}" for name, value in SETTING.items()]
    words = [*STOCHVID, "evaluate", model, "--data", store, "--samples", "400", *setting, "--memory", "0.03"]
    process = subprocess.Popen([*words, "--out", str(out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines = out.with_name("out.evaluating") / "clips.jsonl"
    until = time.monotonic() + 120
    while time.monotonic() < until and not (lines.exists() and lines.read_text().count("\n") >= 2):
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "--resume continues" in said
    assert not out.exists()
    done = lines.read_text().count("\n")
    assert 2 <= done < CLIPS
    with open(lines, "a") as file:
        file.write('{"digest": "cut sho')  # as a kill in the middle of a write leaves it
    options = {"data": store, "samples": 400} | SETTING
    with pytest.raises(InputError, match="Continue with --resume, or begin again"):
        evaluate(model, out, memory=0.03, **options)
    with pytest.raises(InputError, match=r"another one: sampling.seed was 0, is 1"):
        evaluate(model, out, seed=1, resume=True, **options)
    resumed = evaluate(model, out, resume=True, **options)  # another --memory: the chunk stays what it was
    whole = evaluate(model, tmp_path / "whole", memory=0.03, **options)
    assert resumed["sampling"]["chunk"] == whole["sampling"]["chunk"]
    same(resumed, whole)
    assert resumed["data"]["sha256"] == whole["data"]["sha256"]
    assert not out.with_name("out.evaluating").exists()


def test_resume_with_nothing_begun_begins(store, tmp_path):
    assert evaluate("copy-last", tmp_path / "out", data=store, resume=True, **SETTING)["metrics"]


def test_a_broken_journal_is_named(store, tmp_path):
    folder = tmp_path / "out.evaluating"
    folder.mkdir()
    (folder / "about.json").write_text('{"identity": {}')
    with pytest.raises(InputError, match=r"is broken .* Start again with --overwrite"):
        evaluate("copy-last", tmp_path / "out", data=store, resume=True, **SETTING)
    evaluate("copy-last", tmp_path / "out", data=store, overwrite=True, **SETTING)


def test_results_are_replaced_only_if_asked(store, tmp_path):
    evaluate("copy-last", tmp_path / "out", data=store, **SETTING)
    with pytest.raises(InputError, match="holds results already"):
        evaluate("copy-last", tmp_path / "out", data=store, **SETTING)
    evaluate("copy-last", tmp_path / "out", data=store, overwrite=True, **SETTING)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("")
    with pytest.raises(InputError, match="is not an earlier result"):
        evaluate("copy-last", tmp_path / "other", data=store, overwrite=True, **SETTING)


def test_more_clips_than_there_are_are_all_of_them(store, tmp_path, capsys):
    results = evaluate("copy-last", tmp_path / "out", data=store, **SETTING | {"clips": 20})
    count = results["setting"]["clips"]
    assert count < 20
    assert f"note: there are {count} clip(s), not 20; all of them are used" in capsys.readouterr().out


def test_progress_tells_clips_a_second_and_the_time_left(model, store, tmp_path):
    words = ["evaluate", model, "--data", store, "--samples", "3", "--out", str(tmp_path / "out")]
    line = in_terminal(words + [f"--{name}={value}" for name, value in SETTING.items()])
    assert "5/5" in line
    assert "clips/s" in line


# ------------------------------------------------------------------------------------------- other tools' predictions


def futures_of(model: str, store: str, samples: int) -> np.ndarray:
    """(N, S, T, H, W, C) float32."""
    frames = SVG.from_pretrained(model).predict(clips_of(store)[:, :CONTEXT], HORIZON, samples).frames
    return frames.permute(0, 1, 2, 4, 5, 3).numpy()


def test_futures_of_another_tool_have_the_scores_of_the_model_that_made_them(model, store, tmp_path):
    np.save(tmp_path / "theirs.npy", futures_of(model, store, 6))
    theirs = evaluate(None, tmp_path / "a", predictions=tmp_path / "theirs.npy", data=store, context=CONTEXT)
    same(theirs, evaluate(model, tmp_path / "b", data=store, samples=6, **SETTING))
    assert theirs["name"] == "theirs"
    assert theirs["setting"] == {"context": 3, "horizon": 4, "clips": 5, "samples": 6}


def test_an_archive_may_hold_the_truth(model, store, tmp_path):
    futures = np.round(futures_of(model, store, 3) * 255).astype(np.uint8)
    clips = clips_of(store).permute(0, 1, 3, 4, 2).numpy()
    arrays = {"predictions": futures, "truth": clips[:, CONTEXT:], "context": clips[:, :CONTEXT]}
    np.savez(tmp_path / "theirs.npz", **arrays)
    np.save(tmp_path / "theirs.npy", futures)
    a = evaluate(None, tmp_path / "a", predictions=tmp_path / "theirs.npz")
    b = evaluate(None, tmp_path / "b", predictions=tmp_path / "theirs.npy", data=store, context=CONTEXT)
    assert b["samples"].pop("identity")["truth"] > 0.5  # an archive does not say where digits are
    del b["samples"]["directions"]  # nor when they bounce
    same(a, b, 0)
    assert a["data"]["sha256"] == b["data"]["sha256"]


def test_less_of_the_futures_can_be_scored(model, store, tmp_path):
    np.save(tmp_path / "theirs.npy", futures_of(model, store, 6))
    options = {"data": store, "context": CONTEXT, "horizon": 2, "samples": 3, "clips": 4}
    theirs = evaluate(None, tmp_path / "a", predictions=tmp_path / "theirs.npy", **options)
    same(theirs, evaluate(model, tmp_path / "b", **options))


def test_values_a_little_outside_are_clipped_and_counted(model, store, tmp_path, capsys):
    futures = futures_of(model, store, 2)
    np.save(tmp_path / "clean.npy", futures.clip(0.1, 1))
    futures[:, :, 0, 0, 0] = 1.25
    np.save(tmp_path / "stray.npy", futures.clip(0.1, 2))
    options = {"data": store, "context": CONTEXT}
    results = evaluate(None, tmp_path / "a", predictions=tmp_path / "stray.npy", memory=0.001, **options)
    assert results["not_finite"]["values_clipped"] == CLIPS * 2
    assert "10 values were outside [0, 1], and clipped" in capsys.readouterr().out


def test_one_frame_is_enough(model, store, tmp_path):
    evaluate(model, tmp_path / "a", data=store, context=1, horizon=1, samples=2)
    futures = np.zeros((2, 1, 1, 32, 32, 1), np.uint8)
    np.savez(tmp_path / "theirs.npz", predictions=futures, truth=futures[:, 0])
    results = evaluate(None, tmp_path / "b", predictions=tmp_path / "theirs.npz")
    assert results["metrics"]["psnr"]["best"]["mean"] == 100


@pytest.mark.parametrize("name", ["a$\\frac{$b", "_mine", "b\udcff"])
def test_any_name_can_be_drawn(store, tmp_path, name):
    evaluate("copy-last", tmp_path / "out", data=store, name=name, **SETTING)
    assert read_results(tmp_path / "out")["name"] == name


def test_what_is_done_is_not_done_again(store, tmp_path, capsys):
    evaluate("copy-last", tmp_path / "out", data=store, **SETTING)
    before = (tmp_path / "out" / "results.json").stat().st_mtime_ns
    results = evaluate("copy-last", tmp_path / "out", data=store, resume=True, **SETTING)
    assert "is done already" in capsys.readouterr().out
    assert results["setting"]["clips"] == CLIPS
    assert (tmp_path / "out" / "results.json").stat().st_mtime_ns == before
    with pytest.raises(InputError, match="holds results already"):
        evaluate("copy-last", tmp_path / "out", data=store, resume=True, **{**SETTING, "clips": 2})


@pytest.mark.slow
def test_memory_that_is_chosen_here_is_always_enough(tmp_path):
    """A data set like BAIR, whose ensembles of 100 are larger than the default."""
    frames = np.random.default_rng(0).integers(256, size=(1, 30, 3, 64, 64), dtype=np.uint8)
    (tmp_path / "s").mkdir()
    with StoreWriter(tmp_path / "s", 64, 3) as writer:
        for n, clip in enumerate(frames):
            writer.add("test", f"{n}", clip, 30)
        writer.finish({"plan": {"format": "bair"}, "source": "made", "left_out": []})
    results = evaluate("copy-last", tmp_path / "out", data=str(tmp_path / "s"))
    assert results["setting"] == {"context": 2, "horizon": 28, "clips": 1, "samples": 100}
    torch.manual_seed(0)
    SVG(SVGConfig(channels=3, base_channels=2, g_dim=4, z_dim=2, rnn_size=4)).save_pretrained(tmp_path / "m")
    with pytest.raises(InputError, match=r"Use (\S+) or more") as error:
        evaluate(str(tmp_path / "m"), tmp_path / "b", data=str(tmp_path / "s"), horizon=4, memory=0.01)
    enough = float(str(error.value).split("Use ")[1].split()[0])
    assert evaluate(str(tmp_path / "m"), tmp_path / "b", data=str(tmp_path / "s"), horizon=4, memory=enough)["metrics"]


def test_nan_is_counted_and_left_out_and_never_averaged_in(model, store, tmp_path, capsys):
    futures = futures_of(model, store, 4)
    clean = futures.copy()
    futures[1, 2, 3, 4, 5, 0] = np.nan
    futures[3, :, 0] = np.inf
    np.save(tmp_path / "theirs.npy", futures)
    results = evaluate(None, tmp_path / "out", predictions=tmp_path / "theirs.npy", data=store, context=CONTEXT)
    assert results["not_finite"] == {"samples": 5, "clips": [1, 3], "clips_left_out": [3], "values_clipped": 0}
    assert "WARNING: 5 sample(s) of 2 clip(s) hold NaN or infinity" in capsys.readouterr().out
    psnr, _ = score(
        torch.from_numpy(clean).permute(0, 1, 2, 5, 3, 4), clips_of(store)[:, CONTEXT:], SRVP2020
    )  # without the broken ones
    kept = [psnr[n].mean(1)[[0, 1, 3] if n == 1 else slice(None)] for n in (0, 1, 2, 4)]
    assert results["metrics"]["psnr"]["best"]["mean"] == pytest.approx(np.mean([k.max() for k in kept]), abs=1e-4)
    futures[:] = np.nan
    np.save(tmp_path / "all.npy", futures)
    results = evaluate(None, tmp_path / "all", predictions=tmp_path / "all.npy", data=store, context=CONTEXT)
    assert results["metrics"] == {}
    assert "nothing to score" in capsys.readouterr().out


# -------------------------------------------------------------------------------------------------------- LPIPS, FVD


def test_lpips_and_fvd_come_with_their_weights(model, tmp_path, capsys):
    torch.save(alexnet(), tmp_path / "a.pth")
    torch.save(heads(), tmp_path / "b.pth")
    with pytest.warns(DeprecationWarning, match="torch.jit"):
        torch.jit.save(torch.jit.script(Network()), tmp_path / "i3d.pt")
    options = {"lpips_weights": tmp_path, "fvd_weights": tmp_path / "i3d.pt", "samples": 4, "clips": 6, "horizon": 8}
    results = evaluate(model, tmp_path / "out", **options)
    assert results["metrics"]["lpips"]["best"]["mean"] < results["metrics"]["lpips"]["worst"]["mean"]
    assert results["fvd"]["clips"] == 6
    assert results["fvd"]["frames"] == 11
    said = capsys.readouterr().out
    assert "WARNING: FVD of 6 clips is far from that of many; use 256 or more." in said
    # by hand: context and one sample of each clip, as bytes
    from stochvid.core.philox import Streams
    from stochvid.evaluation.held_out import find_test_clips

    clips = torch.from_numpy(find_test_clips(model, None, None).open(11).read(range(6))["frames"])
    futures = SVG.from_pretrained(model).predict(clips[:, :3], 8, 4).frames
    chosen = [int(Streams(0, "fvd sample").at(n).integers(4)) for n in range(6)]
    made = torch.stack([(futures[n, s] * 255).round() for n, s in enumerate(chosen)]).to(torch.uint8)
    features = [
        Network()(video.expand(-1, -1, 3, -1, -1).transpose(1, 2).float()).double().numpy()
        for video in (clips, torch.cat([clips[:, :3], made], dim=1))
    ]
    assert results["fvd"]["value"] == pytest.approx(frechet_distance(*features), rel=1e-4)
    assert len(set(chosen)) > 1


# -------------------------------------------------------------------------------------------------------------- clips


def test_pieces_of_stored_clips_do_not_overlap_and_first_ones_come_first(tmp_path):
    windows = StoredWindows(made_store(tmp_path / "s", [9, 3, 16], bounces=[2, 7]), None, 4)
    firsts = [windows.read([n])["frames"][0, :, 0, 0, 0].tolist() for n in range(windows.count)]
    assert firsts == [
        [0, 1, 2, 3],
        [32, 33, 34, 35],
        [4, 5, 6, 7],
        [36, 37, 38, 39],
        [40, 41, 42, 43],
        [44, 45, 46, 47],
    ]
    assert windows.short == 1
    assert windows.read([2])["bounces"].tolist() == [[False, False, False, True]]
    assert StoredWindows(windows.store, None, 4, 2).read([0])["bounces"].tolist() == [[False, True, False, False]]
    strided = StoredWindows(made_store(tmp_path / "t", [9, 3, 16]), "test", 4, stride=2)
    assert strided.read([0, 2])["frames"][:, :, 0, 0, 0].tolist() == [[0, 2, 4, 6], [39, 41, 43, 45]]


# ---------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["MODEL", "--data", "STORE", "--horizon", "40"], "no clip of 43 frames in 'test'"),
        (["MODEL", "--protocol", "svg2019"], "there is no protocol 'svg2019'. Did you mean svg2018"),
        (["MODEL", "--samples", "0"], "--samples must be at least 1, got 0"),
        (["MODEL", "--clips", "0"], "--clips must be at least 1, got 0"),
        (["MODEL", "--memory", "0"], "--memory must be above 0"),
        (["MODEL", "--memory", "1e-6"], "is too little for this model"),
        (["MODEL", "--data", "laptp"], "no config is called 'laptp'. Did you mean laptop"),
        (["MODEL", "--data", "smmnist-lp"], "the data have frames of 64 pixels a side, the model takes 32"),
        (["MODEL", "--data", "STORE:train"], "has no split 'train', only test"),
        (["MODEL", "--data", "."], "is neither a store nor a run"),
        (["nowhere"], "model 'nowhere' is neither a folder here"),
        (["copy-last"], "--data is needed"),
        (["copy-last", "--data", "STORE", "--predictions", "x.npy"], "give either a model"),
        ([], "give either a model"),
        (["--predictions", "x.npy"], "there are no predictions 'x.npy'"),
        (["MODEL", "--out", "/"], "is not a folder for results"),
        (["MODEL", "--lpips-weights", "nowhere"], "LPIPS weights: 'nowhere' is not a folder"),
        (["MODEL", "--fvd-weights", "nowhere"], "FVD weights: there is no file 'nowhere'"),
        (["MODEL", "--device", "cuda"], "finds no CUDA GPU"),
        (["MODEL", "--sample", "3"], "evaluate has no option '--sample'. Did you mean --samples"),
    ],
)
def test_bad_input_is_named_and_leaves_nothing(model, store, tmp_path, monkeypatch, capsys, words, message):
    if "cuda" in words and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    monkeypatch.chdir(tmp_path)
    words = [word.replace("MODEL", model).replace("STORE", store) for word in words]
    assert main(["evaluate", "--out", "out", *words]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


SHAPE = (CLIPS, 2, HORIZON, 32, 32, 1)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (np.zeros(SHAPE[1:], np.uint8), r"has shape \(2, 4, 32, 32, 1\); expected \(clips, samples, T, H, W, C\)"),
        (np.zeros(SHAPE, np.int32), "has dtype int32"),
        (np.full(SHAPE, 200.0, np.float32), r"float values from 200 to 200; expected \[0, 1\]"),
        (np.zeros((9, *SHAPE[1:]), np.uint8), "are of 9 clips, the data have 6"),
        (np.zeros((*SHAPE[:3], 64, 64, 1), np.uint8), r"are 64×64 with 1 channel\(s\), the data 32×32"),
        ({"futures": np.zeros(SHAPE)}, "holds futures; name the array 'predictions'"),
        ({"predictions": np.zeros(SHAPE), "truth": np.zeros((CLIPS, 3, 32, 32, 1))}, "'truth' in .* must have"),
        ({"predictions": np.zeros(SHAPE), "truth": np.full((CLIPS, *SHAPE[2:]), np.nan)}, "'truth' in .* not finite"),
        ({"predictions": np.zeros(SHAPE), "context": np.zeros((CLIPS, 3, 32, 32, 1))}, "a 'context' but no 'truth'"),
        (b"\x93NUMPY cut", "cannot be read as .npy or .npz"),
        (np.array([None]), "cannot be read as .npy or .npz"),
    ],
)
def test_predictions_that_do_not_fit_are_named(store, tmp_path, arrays, message):
    path = tmp_path / ("theirs.npz" if isinstance(arrays, dict) else "theirs.npy")
    if isinstance(arrays, bytes):
        path.write_bytes(arrays)
    elif isinstance(arrays, dict):
        np.savez(path, **arrays)
    else:
        np.save(path, arrays)
    data = None if isinstance(arrays, dict) else store
    with pytest.raises(InputError, match=message):
        evaluate(None, tmp_path / "out", predictions=path, data=data, context=CONTEXT if data else None)
    assert [path.name for path in tmp_path.iterdir()] == [path.name]


def test_predictions_without_a_truth_need_data(tmp_path):
    np.save(tmp_path / "theirs.npy", np.zeros(SHAPE, np.uint8))
    with pytest.raises(InputError, match="come without the true frames"):
        evaluate(None, tmp_path / "out", predictions=tmp_path / "theirs.npy")
