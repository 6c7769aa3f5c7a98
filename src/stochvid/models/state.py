"""What goes into the verbs of a model of any family, and comes out of them.

Axes: `B` clips, `S` samples, `T` time, `C H W` image; a step's latents have a model's `latent_shape`.
"""

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from torch import Tensor

from stochvid.core.errors import InputError
from stochvid.core.shapes import Float, Frames
from stochvid.models.recurrent import Gaussian


@dataclass
class State:
    """Everything that carries from one frame to the next, of any family: a dataclass of tensors, rows first.

    A field may be None, a tensor, or a tuple or list of such. Rows are B clips, or B · S once samples differ.
    """

    def repeat(self, rows: int) -> Self:
        """The state of `rows` rows, each of its own as often as fits, one after another.

        Raises:
            InputError: its rows do not divide them.
        """
        return replace(self, **{spec.name: repeat_rows(getattr(self, spec.name), rows) for spec in fields(self)})


if TYPE_CHECKING:  # defaults of type variables are of Python 3.13
    from typing_extensions import TypeVar as Defaulted

    StateT = Defaulted("StateT", bound=State, default=Any)
else:
    StateT = TypeVar("StateT", bound=State)  # that of a family
Rows = TypeVar("Rows", None, Tensor, tuple, list)


def repeat_rows(x: Rows, rows: int) -> Rows:
    """Tensors with their rows first, in tuples and lists of any depth, with each row as often as `rows` asks for.

    Raises:
        InputError: their rows do not divide them.
    """
    if isinstance(x, tuple | list):
        return type(x)(repeat_rows(part, rows) for part in x)
    if x is None or x.shape[0] == rows:
        return x
    if rows % x.shape[0]:
        raise InputError(
            f"the state has {x.shape[0]} rows, which cannot be shared out to {rows}, clips × samples of the noise. "
            "Give noise of as many samples as the state has, or of a multiple of them."
        )
    return x.repeat_interleave(rows // x.shape[0], 0)


@dataclass(frozen=True)
class Observation(Generic[StateT]):
    """What `observe` saw. T' = T − 1 steps, or T when it continued from a state.

    Attributes:
        frames: reconstructions x̂ of the observed frames, (B, S, T', C, H, W) in (0, 1), or None if not decoded.
        posterior: q(z_t | x_≤t), (B, T', *latent_shape), None without latents.
        prior: p(z_t | x_<t), (B, T', *latent_shape), None without latents.
        state: to go on from.
        std_map: σ of the prior in each cell of the frame, (B, T', h, w); None where latents have no place in it.
        kl_map: KL(q ‖ p) of each cell in nats, likewise; the cells of a step sum up to its KL.
    """

    frames: Float[Tensor, "B S steps C H W"] | None
    posterior: Gaussian | None
    prior: Gaussian | None
    state: StateT
    std_map: Float[Tensor, "B steps h w"] | None = None
    kl_map: Float[Tensor, "B steps h w"] | None = None


@dataclass(frozen=True)
class Fit:
    """What a model makes of clips while it is trained.

    Attributes:
        frames: its versions of the clips' last frames, as many as it makes, (B, T', C, H, W) in [0, 1].
        kl: KL(q ‖ p) in nats, summed over the latents of a step, a mean over clips and steps; None without latents.
        logits: of which the frames are the sigmoids; None where they are none.
    """

    frames: Float[Tensor, "B made C H W"]
    kl: Float[Tensor, ""] | None = None
    logits: Float[Tensor, "B made C H W"] | None = None


@dataclass(frozen=True)
class Imagination(Generic[StateT]):
    """What `imagine` drew.

    Attributes:
        frames: (B, S, horizon, C, H, W) in (0, 1).
        prior: the prior at every step, (B, S, horizon, *latent_shape); (…, 0) without latents.
        state: to go on from; None unless asked for.
        std_map: σ of the prior in each cell of the frame, (B, S, horizon, h, w); None where latents have no place.
    """

    frames: Float[Tensor, "B S horizon C H W"]
    prior: Gaussian
    state: StateT | None
    std_map: Float[Tensor, "B S horizon h w"] | None = None


@dataclass
class Prediction:
    """Futures of B clips, and how uncertain the prior was at every step.

    Attributes:
        frames: (B, S, horizon, C, H, W), float in (0, 1); uint8 in [0, 255] where many are kept, as by the page.
        prior_mean: μ_ψ, (B, S, horizon, *latent_shape); (…, 0) without latents.
        prior_std: σ_ψ, likewise: low while the motion is predictable (SVG paper, fig. 3).
        latents: z, what was drawn from it, likewise.
        std_map: σ_ψ in each cell of the frame, (B, S, horizon, h, w); (…, 0, 0) where latents have no place in it.
    """

    frames: Frames[Tensor, "B S horizon C H W"]
    prior_mean: Float[Tensor, "B S horizon *latent"]
    prior_std: Float[Tensor, "B S horizon *latent"]
    latents: Float[Tensor, "B S horizon *latent"]
    std_map: Float[Tensor, "B S horizon h w"]
