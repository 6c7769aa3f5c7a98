"""Copies for inference, activation checkpointing and kept memory: faster or smaller, and the same."""

import copy
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from commands import STOCHVID
from stochvid import SVG, InputError
from stochvid.cli import main
from stochvid.core.memory import SWITCH, rollout_bytes
from stochvid.models.noise import latent_noise
from tiny import BACKBONES, elbo, make_clips, make_model, narrow


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_copy_for_inference_has_no_batch_norm_and_equals_its_model_in_eval_mode(backbone):
    config = narrow(backbone=backbone, image_size=64)
    model = make_model(config)
    clips, noise = make_clips(config, 5), latent_noise(0, range(2), 3, 4, (config.z_dim,)).double()
    frozen = model.for_inference()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in frozen.modules())
    assert sum(isinstance(module, nn.BatchNorm2d) for module in model.modules()) > 5
    with torch.inference_mode():
        whole, folded = (m.observe(clips, noise) for m in (model, frozen))
    torch.testing.assert_close(folded.frames, whole.frames, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(folded.prior.mean, whole.prior.mean, rtol=1e-10, atol=1e-12)


def test_making_and_using_a_copy_changes_nothing_of_the_model():
    model = make_model(narrow()).train()
    before = copy.deepcopy(model.state_dict())
    model.predict(make_clips(model.config, 3), 2, 2)
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.requires_grad for p in model.parameters())


def test_a_copy_for_inference_cannot_be_saved(tmp_path):
    with pytest.raises(RuntimeError, match="Save the model"):
        SVG(narrow()).for_inference().save_pretrained(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_bf16_futures_are_those_of_fp32_up_to_its_rounding():
    model = make_model(narrow()).float()
    context = make_clips(model.config, 3).float()
    exact = model.predict(context, 4, 3, seed=5)
    rough = model.for_inference(torch.bfloat16).predict(context, 4, 3, seed=5)
    assert rough.frames.dtype == torch.float32
    difference = (rough.frames - exact.frames).abs()
    assert 0 < difference.max() < 0.1
    assert difference.mean() < 0.01
    torch.testing.assert_close(rough.prior_std, exact.prior_std, rtol=0.1, atol=0.05)


def test_little_memory_makes_pieces_of_the_samples_and_the_same_futures():
    rolled = []

    class Large(SVG):
        """Two samples of two clips fill the memory that there is."""

        @property
        def row_bytes(self) -> int:
            return rollout_bytes(torch.device("cpu")) // 5

        def imagine(self, state, horizon, noise, *others, **options):
            rolled.append(noise.shape[1])
            return super().imagine(state, horizon, noise, *others, **options)

    model = make_model(narrow())
    large = Large(model.config).double().eval()
    large.load_state_dict(model.state_dict())
    context = make_clips(model.config, 3)
    at_once = model.predict(context, 3, 5).frames
    torch.testing.assert_close(large.predict(context, 3, 5).frames, at_once, rtol=1e-12, atol=1e-12)
    assert rolled == [2, 2, 1]


@pytest.mark.parametrize(("backbone", "synchronised"), [*zip(BACKBONES, [False, False], strict=True), ("dcgan", True)])
def test_recomputing_activations_changes_neither_gradients_nor_statistics(backbone, synchronised):
    config = narrow(backbone=backbone)
    plain = make_model(config).train()
    if synchronised:  # as on several GPUs; alone, it is plain batch-norm
        plain = torch.nn.SyncBatchNorm.convert_sync_batchnorm(plain)
    again = copy.deepcopy(plain)
    again.encoder.recompute = again.decoder.recompute = True
    clips, noise = make_clips(config, config.frames), latent_noise(0, range(2), 1, 5, (config.z_dim,)).double()
    convolved = {id(model): 0 for model in (plain, again)}
    for model in (plain, again):

        def count(*_, model=model):
            convolved[id(model)] += 1

        model.decoder.stages[1].d.register_forward_hook(count)
        elbo(model, clips, noise)["loss"].backward()
    assert list(convolved.values()) == [1, 2]
    for (name, a), b in zip(plain.named_parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(b.grad, a.grad, rtol=1e-12, atol=0, msg=lambda m, n=name: f"{n}: {m}")
    for (name, a), b in zip(plain.named_buffers(), again.buffers(), strict=True):
        torch.testing.assert_close(b, a, rtol=0, atol=0, msg=lambda m, n=name: f"{n}: {m}")
    assert not torch.equal(
        plain.encoder.stages[0][1].running_mean, make_model(config).encoder.stages[0][1].running_mean
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "model"
    make_model(narrow()).float().save_pretrained(folder)
    return folder


def run_stochvid(folder, *words, **environment):
    done = subprocess.run(
        [*STOCHVID, *map(str, words)],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_the_commands_draw_in_bf16_when_asked_and_in_fp32_otherwise(saved, tmp_path):
    futures = {}
    for precision in ("fp32", "bf16"):
        words = ["predict", str(saved), "moving-mnist:1", "--samples", "2", "--precision", precision]
        assert main([*words, "--out", str(tmp_path / precision)]) == 0
        futures[precision] = np.load(tmp_path / precision / "moving-mnist-1" / "futures.npz")["futures"].astype(int)
    difference = np.abs(futures["fp32"] - futures["bf16"])
    assert 0 < difference.max() < 32
    assert difference.mean() < 3


@pytest.mark.parametrize("words", [("predict", "moving-mnist:1", "--compile"), ("evaluate", "--compile")], ids=str)
def test_compiling_without_a_compiler_says_what_is_missing(saved, tmp_path, monkeypatch, capsys, words):
    monkeypatch.setenv("CXX", "no-such-compiler")
    command, *rest = words
    assert main([command, str(saved), *rest, "--device", "cpu", "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "--compile needs a C++ compiler (no-such-compiler)" in said
    assert "leave --compile out" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.unchecked
def test_compiled_futures_are_the_same(saved, tmp_path):
    for out, more in (("plain", []), ("compiled", ["--compile"])):
        code, said = run_stochvid(tmp_path, "predict", saved, "moving-mnist:1", "--samples", 2, "--out", out, *more)
        assert code == 0, said
    plain, compiled = (
        np.load(tmp_path / out / "moving-mnist-1" / "futures.npz")["futures"].astype(int)
        for out in ("plain", "compiled")
    )
    assert np.abs(plain - compiled).max() <= 1


def test_no_clips_are_refused():
    with pytest.raises(InputError, match="context must hold one clip or more"):
        SVG(narrow()).predict(torch.zeros(0, 3, 1, 32, 32), 2)


FAULTS = """
import resource, torch
from stochvid.cli import main
from stochvid.core.memory import keep_freed_memory
print(keep_freed_memory())
for exponent in (26, 24, 24):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(1 << exponent)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="this is about glibc")
def test_freed_memory_is_kept_and_not_faulted_in_again_unless_it_is_switched_off():
    def run(switch: str) -> tuple[str, int]:
        done = subprocess.run(
            [sys.executable, "-c", FAULTS],
            env=os.environ | {SWITCH: switch},
            capture_output=True,
            text=True,
            check=True,
        )
        kept, *faults = done.stdout.split()
        return kept, int(faults[-1])

    kept, faults = run("1")
    assert kept == "True"
    assert faults < 100  # of 16,384 pages
    kept, faults = run("0")
    assert kept == "False"
    assert faults >= 32  # with huge pages, a fault maps 512 of them
