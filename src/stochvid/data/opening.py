"""Which clips a config means: made ones, or those of a store. Nothing here imports torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from stochvid.config import DataConfig
from stochvid.core.clips import ACTIONS
from stochvid.core.errors import InputError
from stochvid.data.moving_mnist import MovingMNIST, digit_tracks
from stochvid.data.store import INDEX, Store, prepare_command
from stochvid.data.stored_clips import StoredClips
from stochvid.data.tracks import Track, led_to_shape
from stochvid.model_configs import ModelConfig

VAL_SEED = 1 << 32  # validation clips are the same in every run, whatever its seed


def open_clips(
    data: DataConfig, model: ModelConfig, part: Literal["train", "held out"], length: int, seed: int
) -> MovingMNIST | StoredClips:
    """The clips that a config describes.

    Args:
        data: where they come from.
        model: frame size and channels.
        part: those to train on, or those that are held out (val or else test of a store, the test digits).
        length: frames of a clip.
        seed: of the clips.

    Raises:
        InputError: the store is missing, broken, of another size, lacks a track that the model needs, or its clips are
            too short.
    """
    if data.store is None:
        model.check_tracks(shapes_of(digit_tracks(data.num_digits)), "moving digits")
        return MovingMNIST.from_config(data, model, "train" if part == "train" else "test", length, seed)
    if Path(data.store).exists() and not (Path(data.store) / INDEX).exists():
        command, place = prepare_command(data.store, "--size", str(model.image_size), "--channels", str(model.channels))
        raise InputError(
            f"{data.store!r} is not a store (no {INDEX} there). Prepare it first: {command}. Then train with "
            f"--data.store {place}."
        )
    store = Store(data.store)
    for name, field, have, want in (
        ("px", "size", store.size, model.image_size),
        ("channel(s)", "channels", store.channels, model.channels),
    ):
        if have != want:
            raise InputError(
                f"store {data.store!r} has frames of {have} {name}, the model takes {want} {name}. Prepare it with "
                f"--{field} {want}, or train with --model.{'image_size' if field == 'size' else field} {have}."
            )
    split = "train" if part == "train" else store.held_out
    flip = data.flip and part == "train"
    model.check_tracks(shapes_of(store.tracks, data.stride), f"store {data.store!r}")
    clips = StoredClips(store, split, length, seed=seed, stride=data.stride, flip=flip)
    if lost := set(model.tracks) - set(clips.tracks):
        raise InputError(
            f"data.flip mirrors frames, but nobody knows what becomes of the track {min(lost)!r}, which the model "
            "needs. Leave out --data.flip."
        )
    return clips


def shapes_of(tracks: Mapping[str, Track], stride: int = 1) -> dict[str, tuple[int, ...]]:
    """Shape of a frame's value in each track, as clips of a stride have them."""
    return {name: led_to_shape(t.shape, stride) if name == ACTIONS else t.shape for name, t in tracks.items()}
