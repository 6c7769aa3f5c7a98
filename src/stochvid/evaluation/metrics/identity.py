"""Do things keep their look? How well each true thing's image is found again in a frame, wherever it is.

Axes: `S` samples, `T` frames, `D` things, `C H W` image, `d × e` pixels of a thing. A box is top, left, height and
width in pixels.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from stochvid.core.shapes import Float, Int

FLAT = 1e-4  # variance of a place in which there is nothing, of pixels in [0, 1]
AT_ONCE = 256  # frames


def identity(frames: Float[Tensor, "S T C H W"], images: Float[Tensor, "D d e"]) -> Float[Tensor, "S T"]:
    """For each frame, the mean over things of the largest normalised cross-correlation of its image, over all places.

    Normalised is by mean and standard deviation of image and place (Lewis 1995): brightness and contrast do not count.
    1 means that each thing is there as it was; what lies over another in part changes it.

    Args:
        frames: float in [0, 1]; of several channels, their mean counts.
        images: of the things.
    """
    grey = frames.mean(2).flatten(0, 1)
    found = [correlations(piece, images).flatten(2).amax(-1) for piece in grey.split(AT_ONCE)]
    return torch.cat(found).mean(1).unflatten(0, frames.shape[:2])


def correlations(frames: Float[Tensor, "N H W"], images: Float[Tensor, "D d e"]) -> Float[Tensor, "N D _ _"]:
    """The normalised cross-correlation with each image at every place at which it fits into a frame, by its corner."""
    size, (height, width) = frames.shape[-2:], images.shape[-2:]
    centred = (images - images.mean((-1, -2), keepdim=True)).double()
    padded = F.pad(centred, (0, size[1] - width, 0, size[0] - height))
    frames = frames.double()
    product = torch.fft.irfft2(torch.fft.rfft2(frames)[:, None] * torch.fft.rfft2(padded).conj(), s=size)
    product = product[..., : size[0] - height + 1, : size[1] - width + 1]
    count = height * width
    total, squares = (_sums(x, height, width) for x in (frames, frames.square()))
    variance = squares / count - (total / count).square()
    deviation = (variance.clamp(min=0) * count).sqrt()[:, None] * centred.square().sum((-1, -2)).sqrt()[:, None, None]
    return torch.where(variance[:, None] > FLAT, product / deviation.clamp(min=1e-12), 0.0).float()


def _sums(x: Float[Tensor, "N H W"], height: int, width: int) -> Float[Tensor, "N _ _"]:
    """Sums over all places of height × width pixels."""
    table = F.pad(x.cumsum(-1).cumsum(-2), (1, 0, 1, 0))
    below, above = table[:, height:], table[:, :-height]
    return below[..., width:] - below[..., :-width] - above[..., width:] + above[..., :-width]


def images_in(frames: Float[Tensor, "T C H W"], boxes: Int[Tensor, "T D 4"]) -> Float[Tensor, "D d e"]:
    """The images of things that move over black, given their boxes: in each pixel, the darkest that it ever was.

    Where things are added, as digits of Moving MNIST are, that is the thing itself, unless another lay over a pixel of
    it all the time.
    """
    grey, images = frames.mean(1), []
    for thing in boxes.unbind(1):
        patches = [frame[y : y + h, x : x + w] for frame, (y, x, h, w) in zip(grey, thing.tolist(), strict=True)]
        images.append(torch.stack(patches).amin(0))
    return torch.stack(images)
