"""Checkpoints of the published code: read without running anything, and the same model afterwards."""

import io
import os
import pickle
import struct
import subprocess
import zipfile
from contextlib import suppress

import pytest
import torch
from torch import nn

from commands import STOCHVID
from official_files import make_checkpoint, published_modules, save_checkpoint
from oracle import OracleSVG, copy_weights
from stochvid import SVG, InputError
from stochvid.evaluation.evaluate import evaluate
from stochvid.interop.official import read_official
from stochvid.models.noise import content_ids, latent_noise
from tiny import elbo, make_clips, make_model, narrow

KINDS = (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, nn.Linear, nn.LSTMCell)


def sizes(**changes):
    usual = {"image_size": 64, "context": 3, "horizon": 3, "predictor_layers": 2, "future_skip": "second_last"}
    return narrow(**usual | changes)


def oracle_of(held: dict, config) -> OracleSVG:
    """The literal loop with a checkpoint's weights, layer by layer in the order in which both list them."""
    oracle = OracleSVG(config)
    names = {"frame_predictor": "predictor"}
    for name, part in held.items():
        if not isinstance(part, nn.Module):
            continue
        theirs = [m for m in part.modules() if isinstance(m, KINDS)]
        ours = [m for m in getattr(oracle, names.get(name, name)).modules() if isinstance(m, KINDS)]
        for a, b in zip(theirs, ours, strict=True):
            b.load_state_dict(a.state_dict(), strict=False)
    return oracle


@pytest.fixture(
    params=[
        (b, s, p, o)
        for b in ("dcgan", "vgg")
        for s, p, o in ((64, "learned", True), (64, "fixed", False), (128, "learned", False), (128, "fixed", True))
    ],
    ids=str,
)
def made(request, tmp_path):
    """A checkpoint, and the loop that has its weights."""
    backbone, size, prior, old = request.param
    torch.manual_seed(0)
    latent = "sample" if prior == "learned" else "mean"
    config = sizes(backbone=backbone, image_size=size, prior=prior, context_latent=latent)
    with published_modules(size) as classes:
        held = make_checkpoint(classes, config)
        oracle = oracle_of(held, config)
        save_checkpoint(held, tmp_path / "svg.pth", old)
    return tmp_path / "svg.pth", oracle


def test_an_imported_model_rolls_out_as_the_published_code_does(made):
    path, oracle = made
    model = read_official(path)
    config = model.config
    assert config.future_skip == "second_last"
    assert (config.prior, config.batch_statistics) in (("learned", True), ("fixed", False))
    context = make_clips(config, 3, batch=4).float()
    noise = latent_noise(3, content_ids(context), 2, 2 + 3, (config.z_dim,))
    batchwise = config.batch_statistics
    model = model.for_inference(batch_statistics=batchwise)
    oracle.train(batchwise)
    with torch.no_grad():
        frames, mean, std = oracle.rollout(context, 3, noise)
    found = model.predict(context, 3, 2, seed=3)
    torch.testing.assert_close(found.frames, frames, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.prior_mean, mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.prior_std, std, rtol=1e-4, atol=1e-5)


def test_an_imported_model_has_the_loss_of_the_published_code(made):
    path, oracle = made
    model = read_official(path)
    clips = make_clips(model.config, model.config.frames).float()
    noise = latent_noise(0, range(2), 1, model.config.frames - 1, (model.config.z_dim,))
    with torch.no_grad():
        found, wanted = elbo(model, clips, noise)["loss"], oracle.eval().loss(clips, noise[:, 0])
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_batch_statistics_need_a_batch_and_stay_out_of_the_model(made):
    model = read_official(made[0])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    context = make_clips(model.config, 3, batch=3).float()
    copy = model.for_inference(batch_statistics=True)
    assert not torch.allclose(copy.predict(context, 2).frames[:2], copy.predict(context[:2], 2).frames)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with pytest.raises(InputError, match="two clips or more"):
        copy.predict(context[:1], 2)


@pytest.mark.parametrize("prior", ["learned", "fixed"])
def test_batch_statistics_are_those_of_one_frame_at_a_time_in_reconstructions_too(prior):
    """The published loop in training mode, under the posterior alone."""
    config = narrow(prior=prior, future_skip="second_last", context_latent="sample", image_size=32, context=3)
    model = make_model(config)
    oracle = copy_weights(model, OracleSVG(config).double()).train()
    clips = make_clips(config, 6, batch=4)
    noise = latent_noise(0, range(4), 2, 5, (config.z_dim,)).double()
    seen = model.for_inference(batch_statistics=True).observe(clips, noise, context=3)
    with torch.no_grad():
        for s in range(2):
            rebuilt = oracle.reconstruct(clips, noise[:, s])
            torch.testing.assert_close(seen.frames[:, s], rebuilt, rtol=1e-9, atol=1e-12)


def test_batch_statistics_are_as_exact_in_fp32_as_in_the_published_loop():
    """Frames with little contrast, whose variance is easily lost: against float64."""
    config = narrow(backbone="vgg", image_size=64, base_channels=8)
    model = make_model(config)
    frames = make_clips(config, 8, batch=4).flatten(0, 1) * 0.1 + 0.8
    loop = copy_weights(model, OracleSVG(config).double()).train()
    with torch.no_grad():
        exact = model.for_inference(batch_statistics=True).encoder(frames)[0]
        ours = model.float().for_inference(batch_statistics=True).encoder(frames.float())[0]
        theirs = loop.float().encoder(frames.float())[0]
    assert (ours - exact).abs().mean() < 2 * (theirs - exact).abs().mean() < 1e-4


def write(tmp_path, size=64, old=True, change=None, **changes):
    with published_modules(size) as classes:
        held = make_checkpoint(classes, sizes(**changes))
        if change:
            change(held)
        save_checkpoint(held, tmp_path / "svg.pth", old)
    return tmp_path / "svg.pth"


def test_the_last_frame_skip_option_is_kept(tmp_path):
    path = write(tmp_path, change=lambda held: setattr(held["opt"], "last_frame_skip", True))
    assert read_official(path).config.future_skip == "previous"


class Canary:
    """An object that leaves a file behind when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize("place", ["opt", "encoder", "key"])
def test_a_file_that_would_run_a_command_is_refused_by_name_and_runs_nothing(tmp_path, old, place):
    canary = tmp_path / "canary"

    def plant(held):
        if place == "key":
            held["more"] = Canary(canary)
        else:
            (held["opt"] if place == "opt" else held["encoder"]).secret = Canary(canary)

    path = write(tmp_path, old=old, change=plant)
    with pytest.raises(InputError, match=r"names '(posix|nt)\.system', which no SVG checkpoint needs"):
        read_official(path)
    assert not canary.exists()


@pytest.mark.parametrize(
    "name",
    [
        "builtins.eval",
        "subprocess.Popen",
        "torch.load",
        "torch.hub.load",
        "numpy.load",
        "torch.nn.modules.os.system",
        "models.lstm.os",
        "os.system",
        "stochvid.cli.commands.main",
    ],
)
def test_names_outside_the_list_are_refused(tmp_path, name):
    module, _, attribute = name.rpartition(".")
    forged = b"\x80\x02" + f"c{module}\n{attribute}\n".encode() + b"(X\x02\x00\x00\x00idtR."
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2)
    (tmp_path / "x.pth").write_bytes(magic + forged + pickle.dumps([], 2))
    with pytest.raises(InputError):
        read_official(tmp_path / "x.pth")


@pytest.mark.parametrize("every", [10, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("old", [True, False])
def test_a_cut_or_changed_file_is_refused_or_read_but_never_crashes(tmp_path, old, every):
    data = write(tmp_path, old=old).read_bytes()
    broken = tmp_path / "broken.pth"
    for percent in range(0, 100, every):
        broken.write_bytes(data[: len(data) * percent // 100])
        with pytest.raises(InputError):
            read_official(broken)
    generator = torch.Generator().manual_seed(0)
    for place in torch.randint(min(len(data), 20_000), (200,), generator=generator)[::every].tolist():
        flipped = bytearray(data)
        flipped[place] ^= 1 << (place % 8)
        broken.write_bytes(flipped)
        with suppress(InputError):
            assert isinstance(read_official(broken), SVG)


def test_absurd_sizes_take_no_memory(tmp_path):
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2)
    for forged in (
        b"\x80\x02Nr\xff\xff\xff\xff.",
        b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b".",
        b"\x80\x02X\xff\xff\xff\x7f.",
    ):
        (tmp_path / "x.pth").write_bytes(magic + forged)
        with pytest.raises(InputError, match="not a whole file"):
            read_official(tmp_path / "x.pth")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", pickle.dumps(bytes(10_000_000)))
    (tmp_path / "x.pth").write_bytes(packed.getvalue())
    with pytest.raises(InputError, match="compressed"):
        read_official(tmp_path / "x.pth")


WRONG = {
    "a text": (b"hello", "not a whole file"),
    "a pickle of something": (pickle.dumps({"a": 1}), "not a whole file"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_other_files_are_refused(tmp_path, kind):
    data, said = WRONG[kind]
    (tmp_path / "x.pth").write_bytes(data)
    with pytest.raises(InputError, match=said):
        read_official(tmp_path / "x.pth")


def _archive(*names):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return packed.getvalue()


TAKEN_FOR_ONE = {
    "is an HTML page": b"\n<!DOCTYPE html><html><title>svg.pth - Google Drive</title>",
    "is a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 9\n",
    "is a safetensors file": struct.pack("<Q", 2) + b"{}",
    "is packed with gzip": b"\x1f\x8b\x08" + bytes(20),
    "is a tar archive": b"x" * 257 + b"ustar\0" + bytes(300),
    "is an HDF5 file": b"\x89HDF\r\n\x1a\n" + bytes(100),
    "is empty": b"",
    "is nothing but zeros": bytes(1000),
    "is an Office document": _archive("[Content_Types].xml", "word/document.xml"),
    "is a NumPy archive": _archive("frames.npy"),
    "is a zip archive that holds 'models/svg.pth'": _archive("models/svg.pth"),
    "is a zip archive of something else": _archive("readme.txt", "a/b"),
    "is a TorchScript archive": _archive("x/data.pkl", "x/constants.pkl", "x/code/__torch__.py"),
}


@pytest.mark.parametrize("said", TAKEN_FOR_ONE)
def test_a_file_that_people_take_for_a_checkpoint_is_called_what_it_is(tmp_path, said):
    (tmp_path / "svg.pth").write_bytes(TAKEN_FOR_ONE[said])
    with pytest.raises(InputError, match=f"svg.pth' {said}.*, not a checkpoint"):
        read_official(tmp_path / "svg.pth")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda held: held["encoder"].c1.main[0].weight.data.fill_(float("nan")),
            "'encoder.stages.0.0.weight' holds NaN",
        ),
        (lambda held: held["posterior"].embed.bias.data.fill_(float("inf")), "'posterior.embed.bias' holds NaN or inf"),
        (lambda held: held["encoder"].c1.main[1].running_var.fill_(-1), "'encoder.stages.0.1.running_var' .* below 0"),
    ],
)
def test_weights_that_no_model_works_with_are_refused(tmp_path, spoil, said):
    path = write(tmp_path, change=spoil)
    with pytest.raises(InputError, match=f"svg.pth': {said}"):
        read_official(path)


def test_a_state_dict_and_a_module_are_told_apart_from_a_checkpoint(tmp_path):
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "x.pth")
    with pytest.raises(InputError, match=r"is a state dict, tensors without their modules \(the first is 'weight'\)"):
        read_official(tmp_path / "x.pth")
    torch.save(nn.Linear(2, 2), tmp_path / "x.pth")
    with pytest.raises(InputError, match=r"it is an object of torch\.nn\.modules\.linear\.Linear, not modules"):
        read_official(tmp_path / "x.pth")


def test_checkpoints_of_something_else_are_refused(tmp_path):
    torch.save({"weights": torch.ones(3)}, tmp_path / "x.pth")
    with pytest.raises(InputError, match="has no 'opt'"):
        read_official(tmp_path / "x.pth")
    with pytest.raises(InputError, match="does not exist"):
        read_official(tmp_path / "missing.pth")
    with pytest.raises(InputError, match="is a folder"):
        read_official(tmp_path)
    path = write(tmp_path, change=lambda held: held.pop("posterior"))
    with pytest.raises(InputError, match="no module 'posterior'"):
        read_official(path)
    path = write(tmp_path, change=lambda held: setattr(held["opt"], "rnn_size", 7))
    with pytest.raises(InputError, match=r"'frame_predictor.embed.weight' has shape \(5, 9\)"):
        read_official(path)
    path = write(tmp_path, change=lambda held: delattr(held["opt"], "g_dim"))
    with pytest.raises(InputError, match="its 'opt' has no 'g_dim'"):
        read_official(path)


@pytest.mark.slow
def test_the_command_leaves_a_model_that_predicts_with_either_statistics(tmp_path):
    path = write(tmp_path, change=None)

    def stochvid(*words):
        done = subprocess.run([*STOCHVID, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    code, said = stochvid("import", str(path), "model")
    assert code == 0, said
    assert "SVG-LP, DCGAN, 64×64×1, 3 → 3 frames" in said
    line = said.strip().splitlines()[-1].removeprefix("Draw futures with: stochvid ")
    assert line == "predict model moving-mnist:1 moving-mnist:2 --batch-statistics"
    code, said = stochvid("import", str(path), "model")
    assert code == 2
    assert "--overwrite" in said
    clips = ["moving-mnist:1", "moving-mnist:2"]
    code, said = stochvid(*line.split(), "--samples", "2", "--out", "batch")
    assert code == 0, said
    code, said = stochvid("predict", "model", clips[0], "--samples", "2", "--batch-statistics", "--out", "one")
    assert code == 2
    assert "two clips or more" in said
    assert not (tmp_path / "one").exists() or not any((tmp_path / "one").iterdir())


def test_evaluation_draws_with_batch_statistics_when_asked(tmp_path):
    path = write(tmp_path, image_size=64)
    read_official(path).save_pretrained(tmp_path / "model")
    data = tmp_path / "builtin.yaml"
    data.write_text("model: {context: 3, horizon: 3}\ndata: {digits: builtin}\n")
    setting = {"data": str(data), "clips": 3, "samples": 2, "context": 3, "horizon": 2}
    plain = evaluate(str(tmp_path / "model"), tmp_path / "plain", **setting)
    batch = evaluate(str(tmp_path / "model"), tmp_path / "batch", batch_statistics=True, **setting)
    assert plain["metrics"]["ssim"]["best"]["mean"] != batch["metrics"]["ssim"]["best"]["mean"]
    assert batch["model"]["batch_statistics"]
    with pytest.raises(InputError, match="leaves one clip alone"):
        evaluate(str(tmp_path / "model"), tmp_path / "x", batch_statistics=True, **setting | {"clips": 1})
