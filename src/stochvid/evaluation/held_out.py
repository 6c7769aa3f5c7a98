"""The clips that an evaluation is about, always the same ones in the same order. Nothing here imports torch.

Axes: `B` clips, `T` frames, `C H W` image.
"""

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from stochvid.config import RUN_CONFIG, TRAINING, DataConfig, TrainConfig, config_path, load_config
from stochvid.core.clips import FRAMES
from stochvid.core.errors import InputError
from stochvid.data.clip_names import ClipName
from stochvid.data.moving_mnist import MovingMNIST, digit_tracks
from stochvid.data.opening import shapes_of
from stochvid.data.places import find_data
from stochvid.data.store import Store, prepare_command
from stochvid.evaluation.protocols import DATA_SETS
from stochvid.model_configs import ModelConfig

if TYPE_CHECKING:
    from stochvid.inference.trained import Trained

TEST_SEED = 2 << 32  # made clips are the same in every evaluation, and others than those of any training or validation


class TestClips(Protocol):
    """Clips to be tested on.

    Attributes:
        about: what they are, for people and for the record.
        data_set: which published data set they are of (`protocols.DATA_SETS`), or None.
        departures: in what they differ from that data set as published, in words.
        count: how many there are, None if without end.
    """

    __test__: ClassVar[bool] = False  # for pytest: no tests in here

    about: dict[str, Any]
    data_set: str | None
    departures: list[str]
    count: int | None

    def read(self, numbers: Sequence[int]) -> dict[str, np.ndarray]:
        """`frames` (B, T, C, H, W) uint8, and tracks by name, (B, T, …)."""


class MadeClips(TestClips):
    """Moving MNIST with held-out digits.

    Args:
        data: digits and motion.
        model: frame size and channels.
        length: frames of a clip.
    """

    count = None

    def __init__(self, data: DataConfig, model: ModelConfig, length: int):
        self._clips = MovingMNIST.from_config(data, model, "test", length, TEST_SEED)
        names = ("variant", "deterministic", "digits", "num_digits", "digit_size", "max_speed")
        self.about = {"source": "moving-mnist"} | {name: getattr(data, name) for name in names}
        self.about |= {"image_size": model.image_size, "channels": model.channels, "seed": TEST_SEED}
        self.data_set, self.departures = _moving_mnist(self.about)

    def __str__(self) -> str:
        a = self.about
        motion = ", deterministic" if a["deterministic"] else ""
        digits = {"mnist": "MNIST digit(s)", "builtin": "built-in digit(s)", "both": "digit(s)"}[a["digits"]]
        side = a["image_size"]
        return f"Moving MNIST, {a['variant']}{motion}, {a['num_digits']} {digits}, {side}×{side}, made"

    def read(self, numbers: Sequence[int]) -> dict[str, np.ndarray]:
        """As `TestClips.read`."""
        return self._clips.__getitems__(numbers)


class StoredWindows(TestClips):
    """Pieces of the clips of a store: the first of every clip, then the second of every clip that has one, and so on.

    Pieces do not overlap, and the first begins with the clip.

    Args:
        store: to read from.
        split: of the store; None: test, or else val.
        length: frames of a piece.
        stride: take every so many-th frame.

    Raises:
        InputError: no such split, or no clip is long enough.
    """

    def __init__(self, store: Store, split: str | None, length: int, stride: int = 1):
        if split is None:
            split = next((name for name in ("test", "val") if name in store.splits), None)
            if split is None:
                raise InputError(
                    f"store {str(store)!r} has no held-out clips, only train. Name it, {store}:train, "
                    "or prepare the store with a --split that has test."
                )
        if split not in store.splits:
            raise InputError(f"store {str(store)!r} has no split {split!r}, only {', '.join(store.splits)}.")
        self.store, self.split, self.length, self.stride = store, split, length, stride
        index, self._span = store.splits[split], (length - 1) * stride + 1
        pieces = np.array(index.lengths) // self._span
        if not pieces.any():
            strided = f" (at a stride of {stride})" if stride > 1 else ""
            raise InputError(
                f"store {str(store)!r} has no clip of {self._span} frames{strided} in {split!r}: context and "
                f"horizon together are {length}, and its longest has {max(index.lengths)}. Use a smaller --horizon or "
                "--context, or longer clips."
            )
        self._places = [(clip, k) for k in range(pieces.max()) for clip in np.flatnonzero(pieces > k).tolist()]
        self.count, self.short = len(self._places), int((pieces == 0).sum())
        plan = _plan(store)
        self.about = {"source": "store", "path": str(store.path), "split": split, "stride": stride, "plan": plan}
        self.data_set, self.departures = _stored(store, split)
        if stride > 1:
            self.departures.append(f"one frame in {stride}")

    def __str__(self) -> str:
        short = f" ({self.short:,} clip(s) with less than {self._span} frames are left out)" if self.short else ""
        side = self.store.size
        return f"{self.split} of {self.store}, {side}×{side}, {self.count:,} clip(s) of {self.length} frames{short}"

    def read(self, numbers: Sequence[int]) -> dict[str, np.ndarray]:
        """As `TestClips.read`."""
        index, array = self.store.splits[self.split], self.store.array(self.split)
        batch: dict[str, list[np.ndarray]] = {}
        for clip, k in (self._places[number] for number in numbers):
            first = k * self._span
            start = index.offsets[clip] + first
            batch.setdefault(FRAMES, []).append(array[start : start + self._span : self.stride])
            for name, values in self.store.tracks_at(self.split, clip, first, self.length, self.stride).items():
                batch.setdefault(name, []).append(values)
        return {name: np.stack(values) for name, values in batch.items()}


@dataclass
class Found:
    """Clips whose length is not known yet.

    Attributes:
        source: a store, or what made clips are like.
        split: of the store, None if none was named.
        stride: of the store's frames.
        config: the model's part of the config that named the clips, None if none did.
    """

    source: Store | DataConfig
    split: str | None
    stride: int
    config: ModelConfig | None

    @property
    def image(self) -> tuple[int, int]:
        """Size and channels of the frames."""
        if isinstance(self.source, Store):
            return self.source.size, self.source.channels
        assert self.config is not None  # it named them
        return self.config.image_size, self.config.channels

    @property
    def data_set(self) -> str | None:
        """Which published data set they are of."""
        return _stored(self.source, self.split)[0] if isinstance(self.source, Store) else self.open(1).data_set

    def open(self, length: int) -> TestClips:
        """The clips, of so many frames each."""
        if isinstance(self.source, Store):
            return StoredWindows(self.source, self.split, length, self.stride)
        assert self.config is not None
        return MadeClips(self.source, self.config, length)

    def check_fit(self, model: ModelConfig) -> None:
        """Checks that a model takes such frames and tracks.

        Raises:
            InputError: it does not.
        """
        wanted = (model.image_size, model.channels)
        for what, have, want in zip(("pixels a side", "channel(s)"), self.image, wanted, strict=True):
            if have != want:
                option = f"--{'size' if what.startswith('p') else 'channels'} {want}"
                fix = f"Prepare a store with {option}" if isinstance(self.source, Store) else "Name another --data"
                raise InputError(f"the data have frames of {have} {what}, the model takes {want} {what}. {fix}.")
        source = self.source
        tracks = source.tracks if isinstance(source, Store) else digit_tracks(source.num_digits)
        model.check_tracks(shapes_of(tracks, self.stride), "the data")


def find_test_clips(
    data: str | None,
    trained: TrainConfig | None,
    mnist: str | Path | None,
    stride: int = 1,
    model: ModelConfig | None = None,
) -> Found:
    """Finds what `--data` means.

    Args:
        data: a store, `STORE:SPLIT`, the name of a config, a YAML file, or the folder of a run or model; None: what the
            model was trained on.
        trained: the config that the model was trained with, if there is one.
        mnist: folder of MNIST's files, in place of the config's; where there is neither, `both` means built-in digits.
        stride: of the model's training, for a store that is named by itself.
        model: which will see the clips, if one does; for advice.

    Raises:
        InputError: there is nothing of that name.
    """
    if data is not None and (named := ClipName.of_store(data)):
        return Found(named.store(), named.part or None, stride, None)
    if data is None and trained is None:
        raise InputError(
            "--data is needed: a store, STORE:SPLIT, or a config such as laptop or smmnist-srvp-lp. There is no model "
            "that says what it was trained on."
        )
    if data is not None:
        path = _config_of(data, model)
        config = load_config(path)
        config.data = find_data(config.data, path.parent, "--data STORE")
    else:
        assert trained is not None
        config = trained
    if config.data.store:
        return Found(Store(config.data.store), None, config.data.stride, config.model)
    made = dataclasses.replace(config.data, mnist=str(mnist) if mnist else config.data.mnist)
    if made.digits == "both" and made.mnist is None:
        made.digits = "builtin"  # half of what it was trained on needs no files
    return Found(made, None, 1, config.model)


def find_clips_for(trained: "Trained", data: str | None, mnist: str | Path | None) -> Found:
    """As `find_test_clips`, for a model that says what it was trained on; checks that they fit."""
    training = trained.training if data is None else None
    if training is not None:
        training = dataclasses.replace(training, data=find_data(training.data, trained.folder, "--data STORE"))
    found = find_test_clips(data, training, mnist, trained.preprocessing["stride"], trained.config)
    found.check_fit(trained.config)
    found.config = trained.config
    return found


def digest(frames: np.ndarray) -> str:
    """Identity of a clip's frames, 16 hexadecimal digits."""
    return hashlib.blake2b(np.ascontiguousarray(frames).tobytes(), digest_size=8).hexdigest()


def digest_of(digests: Iterable[str]) -> str:
    """Identity of all clips of an evaluation, in their order."""
    return hashlib.blake2b(" ".join(digests).encode(), digest_size=16).hexdigest()


def _config_of(data: str, model: ModelConfig | None) -> Path:
    folder = Path(data)
    for name in (RUN_CONFIG, TRAINING, f"model/{TRAINING}"):
        if (folder / name).is_file():
            return folder / name
    if folder.is_dir() or (folder.is_file() and folder.suffix.lower() not in (".yaml", ".yml")):
        options = [] if model is None else ["--size", str(model.image_size), "--channels", str(model.channels)]
        command, store = prepare_command(folder, *options, "--split", "test")
        raise InputError(
            f"--data {data!r} is neither a store nor a run. Prepare it first: {command}. Then --data {store} names it."
        )
    try:
        return config_path(data)
    except InputError as error:
        raise InputError(f"--data {data!r} is not a store, and {error}") from None


def _moving_mnist(about: dict[str, Any]) -> tuple[str | None, list[str]]:
    """Which data set clips are of, and in what they are not the published ones."""
    wanted = {"image_size": 64, "num_digits": 2, "digits": "mnist", "max_speed": 4, "deterministic": False}
    wanted["digit_size"] = 28 if about["variant"] == "srvp2020" else 32
    differences = [
        f"{name.replace('_', ' ')} {about[name]} instead of {want}"
        for name, want in wanted.items()
        if about.get(name) not in (None, want)
    ]
    if differences:
        return None, differences
    other = [] if about["variant"] == "srvp2020" else [f"motion of {about['variant']}"]
    return "smmnist", ["made clips, not the published set", *other]


def _stored(store: Store, split: str | None) -> tuple[str | None, list[str]]:
    plan = _plan(store)
    kind = plan.get("format")
    departures = [] if split in (None, "test") else [f"clips of {split}"]
    if kind == "moving-mnist":
        if plan.get("published") and not plan.get("deterministic"):
            return "smmnist", departures
        data_set, differences = _moving_mnist({"image_size": store.size, "variant": "svg2018"} | plan)
        return data_set, departures + differences
    if kind not in DATA_SETS or store.size != 64 or store.channels != (3 if kind == "bair" else 1):
        return None, []
    departures += [f"prepared with {name} {plan[name]}" for name in ("fps", "crop") if plan.get(name, "none") != "none"]
    if kind == "kth" and plan.get("split") != "srvp-test":
        departures.append("clips of another split than srvp-test")
    if store.about.get("left_out"):
        departures.append("clips that could not be read are left out")
    return kind, departures


def _plan(store: Store) -> dict[str, Any]:
    plan = store.about.get("plan")
    return plan if isinstance(plan, dict) else {}
