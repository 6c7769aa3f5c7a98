"""Do futures part where the true one could have? In which directions things go on after their next bounce.

Until a thing bounces nobody is in doubt where it goes; then it takes a new direction by chance. Directions are told
relative to the wall that it bounced off, so that those of all clips and walls together show what chance does.

Axes: `S` samples, `T` predicted frames, `D` things, `C H W` image, `d × e` pixels of a thing. A box is top, left,
height and width in pixels.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stochvid.core.shapes import Bool, Float, Int
from stochvid.evaluation.metrics.identity import correlations
from stochvid.evaluation.metrics.pooling import mean

LAG = 3  # frames over which a direction is told
SECTORS = 8  # of 45°, the first of them around the way straight off the wall
LOST, NONE = -1, -2  # the thing is not found, or stands still; there is no bounce to look at
FOUND = 0.6  # least correlation with its image of a thing that is found
FLOOR_DRAWS = 200


def directions(
    samples: Float[Tensor, "S T C H W"],
    images: Float[Tensor, "D d e"],
    boxes: Int[Tensor, "frames D 4"],
    bounces: Bool[Tensor, "frames D"],
) -> tuple[Float[Tensor, "D S"], Float[Tensor, " D"]]:
    """The sector in which each thing goes on after its first bounce in the future: in every sample, and in truth.

    A thing is followed by normalised correlation with its image. Bounces in corners, and those with less than `LAG`
    frames or another bounce after them, are left out.

    Args:
        samples: float in [0, 1].
        images: of the things.
        boxes: where they truly are, of given and future frames.
        bounces: when they truly bounce: the first frame whose place depends on a new velocity.
    """
    known, size = len(boxes) - samples.shape[1], samples.shape[-2:]
    made = samples.new_full((len(images), len(samples)), NONE)
    true = samples.new_full((len(images),), NONE)
    for d in range(len(images)):
        at = _first(bounces[known:, d])
        normal = None if at is None else _normal(boxes[known + at - 1, d], size)
        if at is None or normal is None:
            continue
        corners = boxes[known:, d, :2].double()
        true[d] = _sector(corners[at + LAG] - corners[at], normal)
        ends = [_place(samples[:, t].mean(1), images[d]) for t in (at, at + LAG)]
        for s, way in enumerate(ends[1][0] - ends[0][0]):
            found = min(score[s].item() for _, score in ends) >= FOUND
            made[d, s] = _sector(way, normal) if found else LOST
    return made, true


def pooled(made: Sequence[Sequence[Sequence[float]]], true: Sequence[Sequence[float]]) -> dict[str, Any]:
    """How far the directions of samples are from those that chance takes, of all bounces of all clips.

    Args:
        made: of each clip, as of `directions`.
        true: likewise.

    Returns:
        `mean` and `ci95` of the total variation between the samples' directions after a bounce and the true ones of
        all bounces, 0 to 1; `floor`: what as many draws of those would have; `distinct`: how many sectors the samples
        of a bounce take, of `distinct_of_truth` that as many true draws would; `lost`: share of samples in which the
        thing is not found; `bounces`: how many.
    """
    rows = [
        (np.array(ways), int(truth))
        for clip, truths in zip(made, true, strict=True)
        for ways, truth in zip(clip, truths, strict=True)
        if truth >= 0
    ]
    if not rows:
        return {"mean": None, "ci95": None, "bounces": 0}
    chance = np.bincount([truth for _, truth in rows], minlength=SECTORS) / len(rows)
    shares = np.array([np.bincount(ways[ways >= 0].astype(int), minlength=SECTORS) / len(ways) for ways, _ in rows])
    lost = 1 - shares.sum(1)
    count = len(rows[0][0])
    drawn = np.random.default_rng(0).multinomial(count, chance, FLOOR_DRAWS) / count
    return mean((np.abs(shares - chance).sum(1) + lost) / 2) | {
        "floor": float(np.abs(drawn - chance).sum(1).mean() / 2),
        "distinct": float((shares > 0).sum(1).mean()),
        "distinct_of_truth": float((1 - (1 - chance) ** count).sum()),
        "lost": float(lost.mean()),
        "bounces": len(rows),
    }


def _first(bounces: Bool[Tensor, " T"]) -> int | None:
    """The first bounce, if it can be followed for long enough."""
    times = bounces.nonzero().flatten().tolist()
    if not times or times[0] == 0 or times[0] + LAG >= len(bounces):
        return None
    return None if any(times[0] < t <= times[0] + LAG for t in times) else times[0]


def _normal(box: Int[Tensor, " 4"], size: Sequence[int]) -> Float[Tensor, " 2"] | None:
    """The way straight off the wall, (down, right), that a box is nearest to; None in a corner."""
    top, left, height, width = box.tolist()
    gaps = [top, left, size[0] - top - height, size[1] - left - width]
    nearest = min(range(4), key=gaps.__getitem__)
    other = min(gaps[1 - nearest % 2], gaps[3 - nearest % 2])
    if other <= gaps[nearest]:
        return None
    return torch.tensor([[1, 0], [0, 1], [-1, 0], [0, -1]][nearest], dtype=torch.float64)


def _sector(way: Float[Tensor, " 2"], normal: Float[Tensor, " 2"]) -> int:
    """In which sector a way is, counted from the normal; `LOST` where it is none."""
    if not way.any():
        return LOST
    along, across = (way * normal).sum(), way[1] * normal[0] - way[0] * normal[1]
    return round(torch.atan2(across, along).item() * SECTORS / (2 * np.pi)) % SECTORS


def _place(
    frames: Float[Tensor, "N H W"], image: Float[Tensor, "d e"]
) -> tuple[Float[Tensor, "N 2"], Float[Tensor, " N"]]:
    """Where an image is found, (top, left), and how well."""
    found = correlations(frames, image[None])[:, 0]
    score, index = found.flatten(1).max(1)
    places = torch.stack([index // found.shape[-1], index % found.shape[-1]], 1).double()
    return places, score
