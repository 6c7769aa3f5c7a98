"""What a command takes, as a dataclass that checks itself. Nothing here imports torch.

A field states an option once: its name, type, default, bounds, and what `--help` says of it. The command line parses it
(`cli/parsers.py`), and from Python it is a parameter of the function behind the command (`takes`).
"""

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar, Literal, ParamSpec, Protocol, TypeVar, overload

from stochvid.config import shipped_models
from stochvid.config_checks import Bounds, check_field

if TYPE_CHECKING:
    from stochvid.media.values import Range

P = ParamSpec("P")
Given = TypeVar("Given")
Result = TypeVar("Result")
GivenIn = TypeVar("GivenIn", contravariant=True)
ResultOut = TypeVar("ResultOut", covariant=True)

MODEL = f"a run, a model (shipped: {', '.join(shipped_models())}), or owner/name on the Hugging Face Hub"
DATA = (
    "a store, STORE:SPLIT, a config (laptop, mine.yaml), or a run, for the held-out clips of what it trains on "
    "(default: what the model was trained on)"
)

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "fp32", "bf16"]
Fit = Literal["squash", "crop", "pad"]


def option(default: Any, text: str, *, metavar: str | None = None, **bounds: Any) -> Any:
    """A field that is `--name` on the command line.

    Args:
        default: what it is when it is left out.
        text: for `--help`, which adds the default; of None, the text itself says what it comes to.
        metavar: what `--help` calls its value; None: as its name, or its choices.
        bounds: of a number, as `Bounds` takes them.
    """
    metadata = {"help": text, "metavar": metavar, "bounds": Bounds(**bounds)}
    return dataclasses.field(default=default, metadata=metadata)


def argument(text: str, default: Any = dataclasses.MISSING, *, metavar: str | None = None) -> Any:
    """A field that the command line takes by its place; a sequence takes one value or more. Arguments as `option`."""
    metadata = {"help": text, "metavar": metavar, "by_place": True}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass
class Options:
    """What a command takes: a subclass has its fields, made by `argument` and `option`.

    Attributes:
        missing: what is said where an argument is missing; "": which one.
        too_many: what is said of more arguments than it takes; "": which.
        others: what the command takes as well, by its title in `--help`: options of another kind of its work.
    """

    missing: ClassVar[str] = ""
    too_many: ClassVar[str] = ""
    others: ClassVar[dict[str, type["Options"]]] = {}

    def __post_init__(self) -> None:
        for spec in dataclasses.fields(self):
            check_field(self, spec, option_name(spec))
        self.check()

    def check(self) -> None:
        """Checks what no field can say alone.

        Raises:
            InputError: something does not work out.
        """

    @classmethod
    def lacking(cls, values: dict[str, Any]) -> list[dataclasses.Field]:
        """The fields without a default that are not among the values."""
        return [f for f in dataclasses.fields(cls) if f.default is dataclasses.MISSING and f.name not in values]

    @classmethod
    def given(cls, values: dict[str, Any]) -> "Options":
        """The options, from what was given on the command line.

        Args:
            values: by the names of fields, of this class and of `others`; nothing is lacking.

        Raises:
            InputError: a value is not what it should be.
        """
        return cls(**values)


def is_by_place(spec: dataclasses.Field) -> bool:
    """Whether the command line takes a field by its place."""
    return bool(spec.metadata.get("by_place"))


def option_name(spec: dataclasses.Field) -> str:
    """What a field is called on the command line."""
    return spec.name if is_by_place(spec) else f"--{spec.name.replace('_', '-')}"


def shown_name(spec: dataclasses.Field) -> str:
    """What `--help` calls the value of a field."""
    return spec.metadata.get("metavar") or spec.name.upper()


class Command(Protocol[P, GivenIn, ResultOut]):
    """The function behind a command, which takes its options or their fields."""

    @overload
    def __call__(self, options: GivenIn, /) -> ResultOut: ...

    @overload
    def __call__(self, *words: P.args, **options: P.kwargs) -> ResultOut: ...


def takes(kind: Callable[P, Given]) -> Callable[[Callable[[Given], Result]], Command[P, Given, Result]]:
    """Makes a function of an options object one of the options themselves: `f(Options(a, b=1))` is `f(a, b=1)`.

    Both work then. The second is for Python; the command line has the object already.

    Args:
        kind: the options, a dataclass.
    """

    assert isinstance(kind, type)

    def decorate(function: Callable[[Given], Result]) -> Command[P, Given, Result]:
        @wraps(function)
        def call(*words: Any, **options: Any) -> Result:
            ready = len(words) == 1 and not options and isinstance(words[0], kind)
            return function(words[0] if ready else kind(*words, **options))

        vars(call)["__signature__"] = inspect.signature(kind)
        return call

    return decorate


# ------------------------------------------------------------------------------------------- what several commands take


@dataclass(kw_only=True)
class ThreadsOptions(Options):
    """With how many threads to compute."""

    threads: int | None = option(
        None, "threads of the CPU to compute with (default: those that a short test finds fastest)", least=1, most=4096
    )


@dataclass(kw_only=True)
class DeviceOptions(ThreadsOptions):
    """Where to compute."""

    device: Device = option("auto", "where to compute")


@dataclass(kw_only=True)
class DrawingOptions(DeviceOptions):
    """How futures are computed."""

    precision: Precision = option(
        "fp32", "of the model; auto: bf16, 3 to 4 times faster, where the hardware computes it"
    )
    compile: bool = option(False, "compile the steps with torch.compile: for long work on a GPU")
    batch_statistics: bool = option(
        False,
        "batch-norm with the statistics of the clips themselves, as the published code draws with SVG-LP; slower, and "
        "a future depends on the other clips",
    )


@dataclass(kw_only=True)
class ValueOptions(Options):
    """What the numbers of arrays and images mean."""

    axes: str | None = option(None, "arrays: order of the axes, as in NTHWC (default: recognised)")
    range: Sequence[float] | str | None = option(
        None,
        "arrays and images: the values that are black and white, as --range 0 4095; or auto, the least and the largest "
        "(default: by the number of bits; for a model's clips as trained)",
        metavar="LOW HIGH",
    )

    def check(self) -> None:
        """Checks them, and takes capitals for the axes and numbers for the range."""
        if self.axes is not None:
            from stochvid.media.axes import check_axes

            self.axes = check_axes(self.axes)
        self.range = self.limits

    @property
    def limits(self) -> "Range":
        """The range, checked."""
        if self.range is None:
            return None
        from stochvid.media.values import check_range

        return check_range(self.range)


@dataclass(kw_only=True)
class ClipOptions(ValueOptions):
    """How clips are read."""

    fit: Fit | None = option(None, "how frames become square (default: as trained, else squash)")
    fps: float | None = option(
        None, "take frames of videos at this rate (default: as trained, else as they come)", above=0
    )
