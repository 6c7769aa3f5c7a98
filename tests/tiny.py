"""Small models and stores that tests share; `runs.py` has runs, `made_data.py` clips in the formats of others."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stochvid import SVG, ConvLSTMConfig, DataConfig, ModelConfig, SpritesConfig, SVGConfig, SVGPrimeConfig, TrainConfig
from stochvid.config import CLIPS, TRAINING
from stochvid.core.clips import ACTIONS, Clips
from stochvid.data.store import Store
from stochvid.data.tracks import Track
from stochvid.media.video import write_mp4
from stochvid.models.base import VideoModel
from stochvid.models.noise import latent_noise
from stochvid.prepare.store_writer import StoreWriter
from stochvid.training.objectives import WeightedTerms

PRIORS, BACKBONES, SKIPS = ("learned", "fixed", "none"), ("dcgan", "vgg"), ("last", "second_last", "previous")


def narrow(**changes) -> SVGConfig:
    """A model that is made in no time."""
    sizes = {"image_size": 32, "base_channels": 2, "g_dim": 6, "z_dim": 3, "rnn_size": 5}
    return SVGConfig(**sizes | {"context": 3, "horizon": 3, "beta": 0.1} | changes)


def narrow_prime(**changes) -> SVGPrimeConfig:
    """An SVG′ that is made in no time."""
    sizes = {"image_size": 32, "base_channels": 2, "g_dim": 6, "z_dim": 2, "rnn_size": 4}
    return SVGPrimeConfig(**sizes | {"context": 3, "horizon": 3, "beta": 0.1} | changes)


def narrow_sprites(**changes) -> SpritesConfig:
    """Sprites that are made in no time."""
    sizes = {"image_size": 32, "base_channels": 8, "reach": 2, "rnn_size": 4}
    return SpritesConfig(**sizes | {"context": 3, "horizon": 2, "beta": 0.1} | changes)


def narrow_convlstm(**changes) -> ConvLSTMConfig:
    """A ConvLSTM that is made in no time."""
    return ConvLSTMConfig(
        **{"image_size": 32, "patch": 8, "widths": [4, 3], "kernel": 3, "context": 3, "horizon": 3} | changes
    )


def make_model(config: ModelConfig, seed: int = 0) -> VideoModel:
    """A float64 model in eval mode whose weights, biases and statistics are all far from trivial."""
    torch.manual_seed(seed)
    model = config.model_class()(config).double().eval()
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(0.3, 2.0)
            elif value.is_floating_point():
                value.add_(torch.randn_like(value) * 0.3)
    return model


def make_clips(config: ModelConfig, length: int, batch: int = 2, seed: int = 1) -> Tensor:
    """Clips of noise, (B, T, C, H, W) float64 in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, length, config.channels, config.image_size, config.image_size)
    return torch.rand(shape, generator=generator, dtype=torch.float64)


def noise_for(model: VideoModel, ids: Sequence[int], samples: int, steps: int, seed: int = 0) -> Tensor:
    """Noise of clips for a model, (B, S, T', *latent_shape) float64."""
    return latent_noise(seed, ids, samples, steps, model.latent_shape).double()


def save_model(folder: Path, **changes) -> Path:
    """A model whose weights are random, but not so small that nothing depends on anything."""
    torch.manual_seed(0)
    sizes = {"image_size": 32, "base_channels": 2, "g_dim": 6, "z_dim": 2, "rnn_size": 6, "context": 3, "horizon": 2}
    model = SVG(SVGConfig(**sizes | changes))
    for weights in model.parameters():
        torch.nn.init.normal_(weights, 0, 0.3)
    model.save_pretrained(folder)
    return folder


def save_driven(folder, stride=1, names=None, prior="learned", mean=0.5):
    """A model that is driven by actions of two components, beside the store that it was trained on."""
    statistics = {"mean": [mean, 0.5], "std": [0.5, 0.5], "min": [0.0, 0.0], "max": [1.0, 1.0]}
    track = Track("float32", (2,), names, statistics=statistics)
    config = narrow_prime(action_dim=2 * stride, prior=prior)
    model = make_model(config).float()
    model.learn({ACTIONS: track})
    training = TrainConfig(model=config)
    training.data.store, training.data.stride = str(folder / "store"), stride
    how = {"fps": None, "stride": stride, "crop": "none", "range": None}
    model.documents = {TRAINING: training.to_yaml(), CLIPS: json.dumps(how)}
    model.save_pretrained(folder / "driven")
    random = np.random.default_rng(0)
    (folder / "store").mkdir()
    with StoreWriter(folder / "store", 32, 1, {ACTIONS: track}) as writer:
        for name in ("one", "two"):
            frames = random.integers(0, 256, (20, 1, 32, 32), np.uint8)
            writer.add("test", name, frames, 20, tracks={ACTIONS: random.random((20, 2), np.float32)})
        writer.finish({"plan": {"format": "made"}})
    return folder / "driven"


def save_digit_model(folder: Path, **changes) -> str:
    """An untrained model whose samples do differ, as a folder that says that it was trained on a moving digit."""
    torch.manual_seed(0)
    sizes = {"image_size": 32, "base_channels": 2, "g_dim": 6, "z_dim": 4, "rnn_size": 8, "context": 3, "horizon": 2}
    config = SVGConfig(**sizes | changes)
    model = SVG(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "head" in name or "lstm" in name or "decoder" in name:
                parameter.mul_(6)
    model.save_pretrained(folder)
    data = DataConfig(num_digits=1, digit_size=16, batch_size=4, val_clips=4)
    (folder / TRAINING).write_text(TrainConfig(model=config, data=data).to_yaml())
    return str(folder)


def made_store(path: Path, lengths: Sequence[int], size: int = 32, bounces: Sequence[int] = ()) -> Store:
    """A store whose frame t of clip n is filled with 16 n + t; `bounces` are the frames of such a track, if any."""
    path.mkdir()
    with StoreWriter(path, size, 1, {"bounces": Track("bool")} if bounces else None) as writer:
        for n, length in enumerate(lengths):
            tracks = {"bounces": np.isin(np.arange(length), bounces)} if bounces else None
            values = 16 * n + np.arange(length, dtype=np.uint8)
            frames = np.broadcast_to(values[:, None, None, None], (length, 1, size, size))
            writer.add("test", f"{n}", frames, length, tracks=tracks)
        writer.finish({"plan": {"format": "videos"}, "source": "made", "left_out": []})
    return Store(path)


def elbo(model: VideoModel, frames: Tensor, noise: Tensor) -> dict[str, Tensor]:
    """The loss that a model is trained by, and its terms."""
    return WeightedTerms(model.config.term_weights)(model, Clips(frames), noise)


def close(a: Tensor, b: Tensor) -> None:
    """Checks that two tensors in float64 are the same up to rounding."""
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def movie(path: Path, size: tuple[int, int] = (48, 64), frames: int = 12, fps: float = 10) -> Path:
    """A video of noise."""
    rng = np.random.default_rng(0)
    return write_mp4(path, (rng.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in range(frames)), fps)
