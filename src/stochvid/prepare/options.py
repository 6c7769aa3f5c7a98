"""What `stochvid prepare` takes: for a source on disk, for Moving MNIST, or to check a store. Imports no torch."""

import dataclasses
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from stochvid.command_options import Options, ValueOptions, argument, option, option_name
from stochvid.config import MOVING_MNIST
from stochvid.core.errors import InputError, nearest
from stochvid.core.untrusted import parse_yaml
from stochvid.model_configs import IMAGE_SIZES

SPLITS = ("train", "test")  # of Moving MNIST's digits
SIZES = f"{', '.join(map(str, IMAGE_SIZES[:-1]))} or {IMAGE_SIZES[-1]}"

GYM = "gym:"  # before the name of an environment

# what options of several kinds say alike
SOURCE = f"a folder or file of clips, {MOVING_MNIST}, or {GYM}ENV, an environment of Gymnasium"
KEY = "which array of .npz and HDF5 files with several, or which picture that an environment observes"
SEED = "of the clips, or of the first episode; each has the next one (default: 0)"
WORKERS = "processes that decode, or play; 0: this one (default: one for each core)"

FORMATS = ("videos", "arrays", "kth", "bair", "lerobot")


@dataclass(kw_only=True)
class StoreOptions(Options):
    """What all stores are made with."""

    size: int | None = option(
        None,
        f"height and width to store: {SIZES} (default: 64)",
        one_of=IMAGE_SIZES,
        said=f"{SIZES}, which models take",
    )
    channels: int | None = option(None, "1 grey, 3 RGB (default: as the source; KTH 1; moving-mnist 1)", least=1)
    split: str | None = option(
        None,
        "fractions (train=0.9,test=0.1), patterns on clips' names (train=day1/*,test=*), one name, or srvp-test (KTH's "
        "published test clips); default: as shipped, else train=0.9,test=0.1; of moving-mnist train or test (default: "
        "test)",
    )
    length: int | None = option(
        None, "frames of a clip: KTH's srvp-test (default: 40), moving-mnist (default: 25)", least=1
    )
    overwrite: bool = option(False, "replace another store, or unfinished work on one")


@dataclass
class VerifyOptions(Options):
    """What `stochvid prepare --verify` takes."""

    verify: str | Path = option(dataclasses.MISSING, "check a store and make nothing", metavar="STORE")


@dataclass
class MovingMNISTOptions(StoreOptions):
    """What `stochvid prepare moving-mnist` takes."""

    out: str | Path = argument("folder of the store")
    _: KW_ONLY
    variant: Literal["svg2018", "srvp2020"] = option("svg2018", "rules of motion")
    deterministic: bool = option(False, "mirror the velocity at walls")
    mnist: str | Path | None = option(None, "folder of MNIST's IDX files")
    digits: Literal["builtin", "mnist", "both"] | None = option(None, "default: mnist with --mnist, else builtin")
    num_digits: int | None = option(None, "digits in a clip (default: 2)", least=1)
    clips: int | None = option(None, "how many clips (default: 1000)", least=1)
    seed: int | None = option(None, SEED)

    def check(self) -> None:
        """Checks the split, and that the published test set has its digits."""
        if self.split not in (None, *SPLITS):
            raise InputError(f"--split of {MOVING_MNIST} must be {' or '.join(SPLITS)}, got {self.split!r}.")
        if self.published and self.mnist is None:
            raise InputError(
                "the published test set of srvp2020 is made of MNIST's test digits: --mnist PATH. For another set in "
                "this variant, say which: --seed, --clips, --digits builtin."
            )

    @property
    def digits_of(self) -> Literal["train", "test"]:
        """The split whose digits move."""
        return "train" if self.split == "train" else "test"

    @property
    def published(self) -> bool:
        """Whether it is the published test set: nothing else is said of the clips."""
        own = (self.digits, self.num_digits, self.size, self.channels, self.clips, self.length, self.seed)
        of_test = self.variant == "srvp2020" and self.split in (None, "test")
        return of_test and all(value is None for value in own)


@dataclass
class EnvironmentOptions(StoreOptions):
    """What `stochvid prepare gym:ENV` takes."""

    source: str | Path = argument(SOURCE)
    out: str | Path = argument("folder of the store")
    _: KW_ONLY
    episodes: int = option(100, "episodes to record", least=1, most=1_000_000)
    steps: int | None = option(
        None, "frames of an episode, at most (default: as the environment ends it)", least=2, most=1_000_000
    )
    policy: str = option(
        "random", "what is done: random, or a Python file with policy() → act(observation, env, random)",
        metavar="random|FILE",
    )  # fmt: skip
    hold: int = option(1, "steps that each action lasts", least=1)
    make: str | None = option(
        None, "arguments of the environment, as obs_type=pixels,observation_width=64", metavar="NAME=VALUE,…"
    )
    key: str | None = option(None, KEY)
    seed: int | None = option(None, SEED)
    workers: int | None = option(
        None, WORKERS, least=0, most=1000,
        said="from 0 to 1000",
    )  # fmt: skip

    def check(self) -> None:
        """Checks the policy, the arguments and the channels."""
        if self.channels not in (None, 1, 3):
            raise InputError(f"--channels must be 1 (grey) or 3 (RGB), got {self.channels}.")
        if self.length is not None:
            raise InputError("--length is for Moving MNIST and KTH. Say how long episodes are with --steps.")
        if self.policy != "random" and not Path(self.policy).is_file():
            raise InputError(f"--policy must be random, or a Python file; there is no file {self.policy!r}.")
        if not 0 <= (self.seed or 0) < 1 << 31:
            raise InputError(f"--seed of episodes must be from 0 to {(1 << 31) - 1:,}, got {self.seed}.")
        _ = self.arguments

    @property
    def arguments(self) -> dict[str, Any]:
        """What the environment is made with."""
        found: dict[str, Any] = {}
        for part in (self.make or "").split(",") if self.make else ():
            name, equals, value = part.partition("=")
            if not equals or not name.strip().isidentifier():
                raise InputError(
                    f"--make must be NAME=VALUE,…, as in obs_type=pixels,observation_width=64, got {part!r}."
                )
            try:
                found[name.strip()] = parse_yaml(value)
            except ValueError as error:
                raise InputError(f"--make: the value of {name.strip()} is none of YAML: {error!s:.200}.") from None
        return found


@dataclass
class PrepareOptions(StoreOptions, ValueOptions):
    """What `stochvid prepare` takes, for a source on disk."""

    missing: ClassVar = "prepare needs a source and a folder for the store: stochvid prepare my-videos data/videos."
    too_many: ClassVar = (
        "prepare takes one source and one folder for the store, got more. Give the folder that holds the clips, and "
        "choose among them with --split patterns."
    )
    others: ClassVar = {
        MOVING_MNIST: MovingMNISTOptions,
        f"{GYM}ENV": EnvironmentOptions,
        "instead of all this": VerifyOptions,
    }

    source: str | Path = argument(SOURCE)
    out: str | Path = argument("folder of the store")
    _: KW_ONLY
    format: str | None = option(
        None, "kind of source (default: recognised from the files)", metavar=f"{{{','.join(FORMATS)}}}"
    )
    fps: float | None = option(
        None, "take frames at this constant rate (default: as they come)", least=0.001, most=1000,
        said="from 0.001 to 1000",
    )  # fmt: skip
    crop: Literal["centre", "none"] = option("none", "centre: the middle square; none: squash the whole frame")
    workers: int | None = option(
        None, WORKERS, least=0, most=1000,
        said="from 0 to 1000",
    )  # fmt: skip
    skip_bad: bool = option(False, "leave out what cannot be read")
    key: str | None = option(None, KEY)
    camera: str | None = option(
        None, "lerobot: which camera (default: the only one), or several, A,B, which become channels"
    )
    actions: str | None = option(
        None, "what the source calls what was done at each frame: an array, a feature (default: actions or action)"
    )
    states: str | None = option(None, "likewise what was measured (default: state, states or observation.state)")

    def check(self) -> None:
        """Checks the format, the channels, and the length, of which a single frame is no clip."""
        super().check()
        if self.format not in (None, *FORMATS):
            raise InputError(f"there is no format {self.format!r}. {nearest(self.format, FORMATS)}")
        if self.channels not in (None, 1, 3):
            raise InputError(f"--channels must be 1 (grey) or 3 (RGB), got {self.channels}.")
        if self.length is not None and not 2 <= self.length <= 10_000:
            raise InputError(f"--length must be from 2 to 10000, got {self.length}.")

    @classmethod
    def lacking(cls, values: dict[str, Any]) -> list[dataclasses.Field]:
        """Nothing, where a store is to be checked; see `Options.lacking`."""
        return [] if "verify" in values else super().lacking(values)

    @classmethod
    def given(cls, values: dict[str, Any]) -> Options:
        """The options of the kind of work that the words are of; see `Options.given`."""
        if "verify" in values:
            if more := [name for name in values if name != "verify"]:
                raise InputError(f"--verify takes a store and nothing else, got {', '.join(more)}, too.")
            return VerifyOptions(**values)
        digits, played = values["source"] == MOVING_MNIST, str(values["source"]).startswith(GYM)
        kinds: dict[str, type[Options]] = {
            "a source on disk": cls, MOVING_MNIST: MovingMNISTOptions, f"{GYM}ENV": EnvironmentOptions
        }  # fmt: skip
        kind = MovingMNISTOptions if digits else EnvironmentOptions if played else cls
        values = {name: value for name, value in values.items() if not (digits and name == "source")}
        for name in values:
            takers = {what: spec for what, k in kinds.items() for spec in dataclasses.fields(k) if spec.name == name}
            own = next(what for what, k in kinds.items() if k is kind)
            if own not in takers:
                spec = next(iter(takers.values()))
                raise InputError(f"{option_name(spec)} is for {' and '.join(takers)}, not for {own}.")
        return kind(**values)
