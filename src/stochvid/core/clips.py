"""What a batch of clips is, everywhere: frames, and whatever else is known of each of them. Imports no torch."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, Union

if TYPE_CHECKING:
    from torch import Tensor

FRAMES, INDEX = "frames", "index"  # in a batch as a data set gives it; everything else there is a track


class Clips(NamedTuple):
    """Clips and their tracks.

    Attributes:
        frames: (B, T, C, H, W), float in [0, 1] or uint8.
        tracks: by name, what is known of every frame, (B, T, …): such as `bounces` (bool), `actions` (float).
    """

    frames: "Tensor"
    tracks: Mapping[str, "Tensor"] = {}

    @staticmethod
    def of(clips: Union["Clips", "Tensor"]) -> "Clips":
        """Clips as they are; frames alone as clips without tracks."""
        return clips if isinstance(clips, Clips) else Clips(clips)
