"""A model cut in two for export: its context graph reads the given frames, its step graph draws the next one.

Dictionaries of tensors go in and come out, and every tensor has its rows first, so that whoever runs the graphs can
repeat and choose rows of all of them alike. What a step graph calls `next_x` is what it takes as `x` in the step after.

Axes: `B` clips, `N` rows of a rollout (clips × samples), `K` context frames, `C H W` image, `G` features, `Z` latents:
of SVG, both are vectors; of SVG′, both are maps, and have two more axes.
"""

from abc import ABC, abstractmethod
from dataclasses import fields

import torch
from torch import Tensor, nn

from stochvid.core.clips import ACTIONS, Clips
from stochvid.core.errors import InputError
from stochvid.models.base import VideoModel
from stochvid.models.convlstm import ConvLSTMForecaster, ConvLSTMState, LayerState
from stochvid.models.layers import in_format, make_plain
from stochvid.models.recurrent import LSTMState
from stochvid.models.sprites import Sprites, SpriteState
from stochvid.models.svg_base import SVGBase

NEXT = "next_"
SEEN = "seen"  # how many frames the skips are the mean of, where they are one
ACTION = "action"  # what leads to the frame of a step, (N, A), in the units of the training data
BEFORE, GIVEN = "before", "given"  # the frame before and the last given one, of which frames are composed


class Graph(nn.Module, ABC):
    """What all graphs share.

    Args:
        model: a copy `for_inference`, which is then the graph's own: its layers become plain ones.

    Attributes:
        name: of the graph.
        rows: name of the first axis of everything that goes in and comes out.
    """

    name: str
    rows: str

    def __init__(self, model: VideoModel):
        super().__init__()
        make_plain(model)
        self.model = in_format(model, torch.contiguous_format)  # which runtimes and files expect

    @abstractmethod
    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Tensors by name in and out."""


class ContextGraph(Graph):
    """The given frames under the posterior → the state that the first step takes."""

    name, rows = "context", "B"

    def example(self, context: int, batch: int = 2) -> dict[str, Tensor]:
        """Inputs for so many frames of so many clips, uniform frames and normal noise, always the same."""
        c, generator = self.model.config, torch.Generator().manual_seed(0)
        inputs = {"frames": torch.rand(batch, context, c.channels, c.image_size, c.image_size, generator=generator)}
        if self.model.stochastic and context > 1:
            inputs["noise"] = torch.randn(batch, context - 1, *self.model.latent_shape, generator=generator)
        if context > 1:  # nothing led to the first frame
            inputs |= {
                name: torch.randn(batch, context, *shape, generator=generator) for name, shape in c.tracks.items()
            }
        return inputs


class StepGraph(Graph):
    """A state and noise → the next frame, the prior that it was drawn from, and the next state."""

    name, rows = "step", "N"

    def example(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Inputs for a state of a context graph, with normal noise, always the same.

        No two of them are one tensor, which the exporter would take for one input.
        """
        inputs: dict[str, Tensor] = {}
        rows, generator = next(iter(state.values())).shape[0], torch.Generator().manual_seed(0)
        if self.model.stochastic:
            inputs["noise"] = torch.randn(rows, *self.model.latent_shape, generator=generator)
        if shape := self.model.config.tracks.get(ACTIONS):
            inputs[ACTION] = torch.randn(rows, *shape, generator=generator)
        return inputs | {name: x.clone() for name, x in state.items()}


def graphs_of(model: VideoModel) -> tuple[ContextGraph, StepGraph]:
    """Both graphs of a model of any family that can be exported.

    Raises:
        InputError: of another family.
    """
    if isinstance(model, SVGBase):
        return SVGContext(model.for_inference()), SVGStep(model.for_inference())
    if isinstance(model, Sprites):
        return SpritesContext(model.for_inference()), SpritesStep(model.for_inference())
    if isinstance(model, ConvLSTMForecaster):
        return ConvLSTMContext(model.for_inference()), ConvLSTMStep(model.for_inference())
    raise InputError(
        f"models of the family {model.config.family!r} cannot be exported, only svg, svg-prime, sprites and convlstm."
    )


# ---------------------------------------------------------------------------------------------------- SVG and SVG′


class SVGGraph(Graph):
    """What both graphs of SVG and SVG′ share."""

    model: SVGBase

    def _state(self, prior: LSTMState | None, predictor: LSTMState, features: Tensor) -> dict[str, Tensor]:
        """What every step hands on: features (N, G) and, of each LSTM, hidden and cell state (N, layers, hidden)."""
        state = {"features": features}
        for part, lstm in (("prior", prior), ("predictor", predictor)):
            if lstm is not None:
                state |= {_name(part, i): x for i, x in enumerate(lstm)}
        return state

    def _maps(self, skips: list[Tensor]) -> dict[str, Tensor]:
        """Skips → the maps that the decoder adds, (N, …, size, size) each, named by their size, coarsest first."""
        return {f"skip_{x.shape[-1]}": x for x in self.model.decoder.hoist(skips)}


class SVGContext(SVGGraph, ContextGraph):
    """As `ContextGraph`, of SVG and SVG′."""

    def __init__(self, model: SVGBase):
        super().__init__(model)
        del model.decoder.head  # of the decoder it takes the skips' halves alone: files hold no weights in vain
        for stage in model.decoder.stages:
            del stage.d, stage.then

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """As `SVGBase.observe` without reconstruction.

        Args:
            inputs: `frames` (B, K, C, H, W) in [0, 1]; and, unless K is 1 or the model has no latents, `noise`
                (B, K − 1, Z) for z = μ_φ + σ_φ · noise; and, of a model that is driven by them, unless K is 1,
                `actions` (B, K, A), what led to each frame.
        """
        noise, frames = inputs.get("noise"), inputs["frames"]
        tracks = {ACTIONS: inputs[ACTIONS]} if ACTIONS in inputs else {}
        if self.model.actions is not None and not tracks:  # a single frame, to which nothing led
            tracks = {ACTIONS: frames.new_zeros(frames.shape[0], 1, self.model.actions.size)}
        clips = Clips(frames, tracks)
        state = self.model.observe(clips, None if noise is None else noise[:, None], decode=False).state
        known = self._state(state.prior, state.predictor, state.features) | self._maps(state.future_skips)
        if state.seen is not None:
            known[SEEN] = state.seen
        if state.frame is not None and state.given is not None:
            known |= {BEFORE: state.frame, GIVEN: state.given.clone()}  # two outputs of a graph are two tensors
        return known


class SVGStep(SVGGraph, StepGraph):
    """As `StepGraph`, of SVG and SVG′."""

    def __init__(self, model: SVGBase):
        super().__init__(model)
        model.posterior = None
        if not model.config.new_skips:
            for stage in model.decoder.stages:
                del stage.skip, stage.bias

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """As a step of `SVGBase.imagine`, with the drawn frame read back.

        Args:
            inputs: the state; and, unless the model has no latents, `noise` (N, Z) for z = μ_ψ + σ_ψ · noise; and, of a
                model that is driven by actions, `action` (N, A), what leads to the frame.

        Returns:
            `frame` (N, C, H, W) in (0, 1), `prior_mean` and `prior_std` (N, Z) of a model with latents, and `next_x`
            for every x of the state that changes.
        """
        features = inputs["features"]
        noise = inputs.get("noise", features.new_zeros(features.shape[0], 0))
        hoisted = [x for name, x in inputs.items() if name.startswith("skip_")]
        start = _lstm(inputs, "predictor")
        assert start is not None
        action = None
        if self.model.actions is not None:
            action = self.model.actions.given({ACTIONS: inputs[ACTION][:, None]}, 1)[:, 0]
        frame, prior, prior_state, predictor_state = self.model._step(
            features, noise, hoisted, _lstm(inputs, "prior"), start, inputs.get(BEFORE), inputs.get(GIVEN), action
        )
        features, skips, _ = self.model._encode(frame)
        after = self._state(prior_state, predictor_state, features)
        if self.model.config.new_skips:
            after |= self._maps(skips)
        if SEEN in inputs:  # a mean of skips is one of their halves of the decoder, too
            after[SEEN] = inputs[SEEN] + 1
            for name in [name for name in after if name.startswith("skip_")]:
                after[name] = torch.lerp(inputs[name], after[name], 1 / after[SEEN][:, None, None, None])
        if BEFORE in inputs:
            after[BEFORE] = frame.clone()
        outputs = {"frame": frame}
        if self.model.stochastic:
            outputs |= {"prior_mean": prior.mean, "prior_std": prior.std}
        return outputs | {NEXT + name: x for name, x in after.items()}


def _name(part: str, i: int) -> str:
    return f"{part}_{'hc'[i]}"


def _lstm(inputs: dict[str, Tensor], part: str) -> LSTMState | None:
    names = (_name(part, 0), _name(part, 1))
    return (inputs[names[0]], inputs[names[1]]) if names[0] in inputs else None


# ---------------------------------------------------------------------------------------------------------- sprites


class SpritesContext(ContextGraph):
    """As `ContextGraph`, of sprites."""

    model: Sprites

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """As `Sprites.observe`; arguments as those of `SVGContext.forward`, noise (B, K − 1, sprites, 2)."""
        noise = inputs.get("noise")
        state = self.model.observe(inputs["frames"], None if noise is None else noise[:, None], decode=False).state
        return {spec.name: getattr(state, spec.name) for spec in fields(state)}


class SpritesStep(StepGraph):
    """As `StepGraph`, of sprites."""

    model: Sprites

    def __init__(self, model: Sprites):
        super().__init__(model)
        del model.segmenter, model.dynamics.posterior

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """As a step of `Sprites.imagine`; as `SVGStep.forward`, noise (N, sprites, 2)."""
        noise = inputs["noise"][:, None, None]
        state = SpriteState(**{spec.name: inputs[spec.name] for spec in fields(SpriteState)})
        drawn = self.model.imagine(state, 1, noise)
        assert drawn.state is not None
        outputs = {"frame": drawn.frames, "prior_mean": drawn.prior.mean, "prior_std": drawn.prior.std}
        after = {NEXT + name: getattr(drawn.state, name) for name in ("place", "memory", "latent")}
        return {name: x[:, 0, 0] for name, x in outputs.items()} | after


# --------------------------------------------------------------------------------------------------------- ConvLSTM


def _named(states: list[LayerState]) -> dict[str, Tensor]:
    """Of each layer, the lowest first, hidden and cell state (N, H, h, w)."""
    return {
        f"{part}_{i}": x for i, layer in enumerate(states) for part, x in zip(("hidden", "cell"), layer, strict=True)
    }


class ConvLSTMContext(ContextGraph):
    """As `ContextGraph`, of a ConvLSTM."""

    model: ConvLSTMForecaster

    def __init__(self, model: ConvLSTMForecaster):
        super().__init__(model)
        del model.forecaster, model.head

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """As `ConvLSTMForecaster.observe` without reconstruction: the forecaster's first state is the encoder's last.

        Args:
            inputs: `frames` (B, K, C, H, W) in [0, 1].
        """
        return _named(self.model.observe(inputs["frames"], decode=False).state.encoder)


class ConvLSTMStep(StepGraph):
    """As `StepGraph`, of a ConvLSTM."""

    model: ConvLSTMForecaster

    def __init__(self, model: ConvLSTMForecaster):
        super().__init__(model)
        del model.encoder

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """As a step of `ConvLSTMForecaster.imagine`: `frame` (N, C, H, W) in (0, 1) and the state, as `next_x` each.

        Args:
            inputs: the state.
        """
        state = ConvLSTMState([(inputs[f"hidden_{i}"], inputs[f"cell_{i}"]) for i in range(len(self.model.forecaster))])
        drawn = self.model.imagine(state, 1)
        assert drawn.state is not None
        assert drawn.state.forecaster is not None
        after = {NEXT + name: x for name, x in _named(drawn.state.forecaster).items()}
        return {"frame": drawn.frames[:, 0, 0]} | after
