"""Moving MNIST as stores: the two published test sets of Franceschi et al. (2020), and sets of any size from a seed."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from stochvid.command_options import takes
from stochvid.config import MOVING_MNIST, DataConfig
from stochvid.core.clips import FRAMES
from stochvid.core.errors import InputError
from stochvid.core.files import replacing_folder
from stochvid.data.digits import load_digits
from stochvid.data.moving_mnist import Motion, MovingMNIST, digit_tracks, draw_digits, move_srvp2020, values_of
from stochvid.data.store import Store, is_prepared
from stochvid.model_configs import SVGConfig
from stochvid.prepare.options import MovingMNISTOptions
from stochvid.prepare.store_writer import StoreWriter

# SHA-256 of the published arrays `sequences`, uint8 (T, 5000, 64, 64), and their lengths, by whether they are
# deterministic
PUBLISHED = {
    False: ("8783c4a2df402a3ab7e01f9f8bd633131562dfe93a33f02d88d64e1481e2bf00", 25),
    True: ("ca3b0a61364894a9b832c4094ce969e59550df5596ba90662e16ba9ed405f132", 100),
}
PUBLISHED_CLIPS, PUBLISHED_SEED, SIZE, SIDE, SPEED = 5_000, 42, 64, 28, 4
BEGIN = ((0, 37), (0, 37), (-SPEED, SPEED + 1), (-SPEED, SPEED + 1))  # row, column and their velocities
BATCH = 100


@takes(MovingMNISTOptions)
def prepare_moving_mnist(options: MovingMNISTOptions) -> Store:
    """Makes a store of Moving MNIST clips, which know where they bounce.

    With variant srvp2020, split test and nothing else said of the clips, it is the published test set of Franceschi et
    al. (2020), to the byte: 5,000 clips of MNIST's test digits, 25 frames each, or 100 if deterministic.

    Args:
        options: `MovingMNISTOptions`, or their fields: the folder of the store, and others by name.

    Returns:
        The store.

    Raises:
        InputError: an option or a folder does not work out.
    """
    o, out, split = options, Path(options.out), options.digits_of
    plan: dict[str, Any] = {
        "format": MOVING_MNIST,
        "variant": o.variant,
        "deterministic": o.deterministic,
        "split": split,
    }
    if o.published:
        source: Iterator[tuple[np.ndarray, ...]] = _published(load_digits("mnist", "test", o.mnist), o.deterministic)
        plan |= {"published": "srvp2020 test set"}
        size, channels, tracks = SIZE, 1, digit_tracks(2)
    else:
        data = DataConfig(
            variant=o.variant,
            deterministic=o.deterministic,
            digits=o.digits or ("mnist" if o.mnist else "builtin"),
            mnist=str(o.mnist) if o.mnist else None,
            num_digits=o.num_digits or 2,
        )
        model = SVGConfig(image_size=o.size or SIZE, channels=o.channels or 1)
        size, channels = model.image_size, model.channels
        clips, length, seed = o.clips or 1_000, o.length or 25, o.seed or 0
        moving = MovingMNIST.from_config(data, model, split, length, seed)
        source, tracks = _made(moving, clips), moving.tracks
        plan |= {"digits": data.digits, "num_digits": data.num_digits, "size": size, "channels": channels}
        plan |= {"clips": clips, "length": length, "seed": seed}
    if is_prepared(out, plan, o.overwrite):
        print(f"{out} is prepared already; nothing to do.", flush=True)
        return Store(out)
    with replacing_folder(out) as folder, StoreWriter(folder, size, channels, tracks) as writer:
        for number, (frames, *values) in enumerate(source):
            writer.add(split, f"{number:05}", frames, len(frames), tracks=dict(zip(tracks, values, strict=True)))
        writer.finish({"plan": plan, "source": MOVING_MNIST, "left_out": []})
        if o.published:
            _check_published(folder, o.deterministic)
    store = Store(out)
    made = store.splits[split]
    print(f"{split}: {len(made.names):,} clips of {made.lengths[0]} frames, {size}×{size}, {channels} channel(s)")
    if o.published:
        print(f"the published test set: as its array 'sequences', SHA-256 {PUBLISHED[o.deterministic][0]}")
    print(f"{store.tracks_text}Done: {out}", flush=True)
    return store


def sequences_sha256(array: np.ndarray, length: int) -> str:
    """SHA-256 of clips in the layout of the published files.

    Args:
        array: (N · T, 1, H, W) uint8, as a store has it.
        length: frames T of every clip.

    Returns:
        That of the bytes of `sequences`, (T, N, H, W).
    """
    clips, digest = array.reshape(-1, length, *array.shape[2:]), hashlib.sha256()
    for t in range(length):
        digest.update(np.ascontiguousarray(clips[:, t]).data)
    return digest.hexdigest()


def _published(digits: np.ndarray, deterministic: bool) -> Iterator[tuple[np.ndarray, ...]]:
    """Frames (T, 1, 64, 64) and every track (T, …) of each clip, with the published draws in the published order."""
    length, room = PUBLISHED[deterministic][1], SIZE - SIDE
    random = np.random.RandomState(PUBLISHED_SEED)
    which = random.permutation(len(digits))[: 2 * PUBLISHED_CLIPS].reshape(-1, 2)

    def draw(turning: np.ndarray, low: int, high: int) -> np.ndarray:
        return np.array([random.randint(low, high + 1) for _ in turning])

    # each digit draws its turns before the next one starts; where nothing is drawn, all may move together
    together = 2 * BATCH if deterministic else 1
    for first in range(0, PUBLISHED_CLIPS, BATCH):
        motions = []
        for _ in range(2 * BATCH // together):
            begin = [[random.randint(low, high) for low, high in BEGIN] for _ in range(together)]
            start, velocity = np.split(np.array(begin), 2, axis=1)
            motions.append(move_srvp2020(start, velocity, draw, length, room, deterministic, SPEED))
        positions = np.concatenate([motion.positions for motion in motions]).reshape(BATCH, 2, length, 2)
        bounces = np.concatenate([motion.bounces for motion in motions]).reshape(BATCH, 2, length)
        frames = draw_digits(digits[which[first : first + BATCH]], positions, SIZE)
        yield from zip(frames[:, :, None], *values_of(Motion(positions, bounces), SIDE).values(), strict=True)


def _made(source: MovingMNIST, clips: int) -> Iterator[tuple[np.ndarray, ...]]:
    """Frames (T, C, H, W) and every track (T, …) of each clip."""
    for first in range(0, clips, BATCH):
        batch = source.__getitems__(range(first, min(first + BATCH, clips)))
        yield from zip(batch[FRAMES], *(batch[name] for name in source.tracks), strict=True)


def _check_published(folder: Path, deterministic: bool) -> None:
    expected, length = PUBLISHED[deterministic]
    if sequences_sha256(Store(folder).array("test"), length) != expected:
        raise InputError(
            "the clips made are not those of the published test set: these are not the original MNIST test digits. Get "
            "t10k-images-idx3-ubyte again, or make a set of your own with --seed."
        )
