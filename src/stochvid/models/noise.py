"""The noise behind the latents: an input of the model, keyed by what it is for.

Axes: `B` clips, `S` samples, `K` context frames, `T'` steps; the latents of a step have any shape, () for none.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import torch
from torch import Tensor

from stochvid.core.errors import InputError
from stochvid.core.philox import Streams
from stochvid.core.shapes import Float, Frames


def check_temperature(temperature: float) -> None:
    """Raises InputError unless it is a number from 0 on."""
    if not 0 <= temperature < math.inf:
        raise InputError(f"temperature must be 0 or more, got {temperature:g}. 1 is the model as trained.")


@dataclass(frozen=True)
class Branch:
    """A future that others follow for its first frames, before they part from it: "more like this one".

    It names that future by what it was drawn with, so nothing of it has to be kept.

    Attributes:
        seed: that it was drawn with.
        sample: its number, from 0.
        frames: predicted frames to follow it for, at least 0 (then only the latents of the context are shared).
        temperature: that it was drawn with.
        parent: the future that it had itself parted from, or None.

    Raises:
        InputError: a sample, a number of frames or a temperature below 0.
    """

    seed: int
    sample: int
    frames: int
    temperature: float = 1.0
    parent: "Branch | None" = None

    def __post_init__(self) -> None:
        check_temperature(self.temperature)
        for name, value in (("sample", self.sample), ("frames", self.frames)):
            if value < 0:
                raise InputError(f"{name} of a branch must be 0 or more, got {value}.")

    @property
    def depth(self) -> int:
        """How often this line of futures has parted: 1 without a parent."""
        return 1 + (self.parent.depth if self.parent else 0)


def rollout_noise(
    seed: int,
    clip_ids: Sequence[int],
    samples: int,
    known: int,
    horizon: int,
    latent_shape: tuple[int, ...],
    first_sample: int = 0,
    temperature: float = 1.0,
    branch: Branch | None = None,
) -> Float[Tensor, "B {samples} {known+horizon} *latent"]:
    """The noise of context and future: that of a followed future first, where there is one, then the samples' own.

    Futures that part from one have fresh noise, even under its own seed.

    Args:
        seed: any integer.
        clip_ids: B integers that identify the clips.
        samples: how many samples, S.
        known: steps of the context, K − 1; their noise is never scaled.
        horizon: steps of the future.
        latent_shape: of a step's latents; () for none, which gives (…, 0).
        first_sample: number of the first sample.
        temperature: scale of the future's noise.
        branch: the future to follow, or None.

    Returns:
        (B, S, known + horizon, *latent_shape) float32 on the CPU.
    """
    depth = branch.depth if branch else 0
    noise = latent_noise(seed, clip_ids, samples, known + horizon, latent_shape, first_sample, depth)
    noise[:, :, known:] *= temperature
    if branch:
        b, frames = branch, min(branch.frames, horizon)
        followed = rollout_noise(
            b.seed, clip_ids, 1, known, frames, latent_shape, b.sample, temperature=b.temperature, branch=b.parent
        )
        noise[:, :, : known + frames] = followed
    return noise


def latent_noise(
    seed: int,
    clip_ids: Sequence[int],
    samples: int,
    steps: int,
    latent_shape: tuple[int, ...],
    first_sample: int = 0,
    depth: int = 0,
) -> Float[Tensor, "B {samples} {steps} *latent"]:
    """Standard normal noise keyed by (seed, clip, sample), never by the place in a batch.

    The noise of a sample is one stream over time, so fewer steps, samples or clips are a part of more.

    Args:
        seed: any integer.
        clip_ids: B integers that identify the clips.
        samples: how many samples, S.
        steps: how many steps, T'.
        latent_shape: of a step's latents; () for none, which gives (…, 0).
        first_sample: number of the first sample.
        depth: streams of different depths are independent (see `Branch.depth`).

    Returns:
        (B, S, T', *latent_shape) float32 on the CPU.
    """
    streams = Streams(seed, f"latents of branch {depth}" if depth else "latents")
    noise = np.empty((len(clip_ids), samples, steps, *(latent_shape or (0,))), dtype=np.float32)
    for b, clip in enumerate(clip_ids):
        for s in range(samples):
            streams.at(int(clip), first_sample + s).standard_normal(out=noise[b, s], dtype=np.float32)
    return torch.from_numpy(noise)


def content_ids(frames: Frames[Tensor, "B T C H W"]) -> list[int]:
    """Identities of clips (B, T, C, H, W) from what they show: 64-bit digests of their bytes in [0, 255]."""
    pixels = frames if frames.dtype == torch.uint8 else (frames.double() * 255).round().to(torch.uint8)
    return [
        int.from_bytes(blake2b(clip.tobytes(), digest_size=8).digest(), "little")
        for clip in pixels.contiguous().cpu().numpy()
    ]
