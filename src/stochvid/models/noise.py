"""The noise behind the latents: an input of the model, keyed by what it is for.

Axes: `B` clips, `S` samples, `T'` steps, `Z` latents.
"""

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import torch
from torch import Tensor

from stochvid.philox import Streams


def latent_noise(
    seed: int, clip_ids: Sequence[int], samples: int, steps: int, z_dim: int, first_sample: int = 0
) -> Tensor:
    """Standard normal noise keyed by (seed, clip, sample), never by the place in a batch.

    The noise of a sample is one stream over time, so fewer steps, samples or clips are a part of more.

    Args:
        seed: any integer.
        clip_ids: B integers that identify the clips.
        samples: how many samples, S.
        steps: how many steps, T'.
        z_dim: latents per step, Z.
        first_sample: number of the first sample.

    Returns:
        (B, S, T', Z) float32 on the CPU.
    """
    streams = Streams(seed, "latents")
    noise = np.empty((len(clip_ids), samples, steps, z_dim), dtype=np.float32)
    for b, clip in enumerate(clip_ids):
        for s in range(samples):
            streams.at(int(clip), first_sample + s).standard_normal(out=noise[b, s], dtype=np.float32)
    return torch.from_numpy(noise)


def content_ids(frames: Tensor) -> list[int]:
    """Identities of clips (B, T, C, H, W) from what they show: 64-bit digests of their bytes in [0, 255]."""
    pixels = frames if frames.dtype == torch.uint8 else (frames.double() * 255).round().to(torch.uint8)
    return [
        int.from_bytes(blake2b(clip.tobytes(), digest_size=8).digest(), "little")
        for clip in pixels.contiguous().cpu().numpy()
    ]
