"""What every family of models is: two verbs, a loss in named terms, and all that is written once for all of them.

Axes: `B` clips, `S` samples, `T` time, `C H W` image; `K` context frames. Frames count from 1: step t makes frame t
from frame t−1, so T frames have T−1 steps. Tensors in and out are (B, T, C, H, W) or (B, S, T, C, H, W), float in
[0, 1]; uint8 in [0, 255] is accepted and converted. The latents of a step have the shape `latent_shape`.

Two verbs share one state: `observe` runs known frames under the posterior, `imagine` rolls the future under the prior.
Training is `observe` alone; prediction is `observe` then `imagine`.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, Self

import torch
from torch import Tensor, nn

from stochvid.core.clips import ACTIONS, Clips, tracks_between
from stochvid.core.errors import InputError
from stochvid.core.memory import rollout_bytes
from stochvid.core.shapes import Float, Frames
from stochvid.data.tracks import Track
from stochvid.model_configs import KL, ModelConfig
from stochvid.models.action_input import some_of, with_actions
from stochvid.models.errors import change_weights, errors
from stochvid.models.noise import Branch, check_temperature, content_ids, rollout_noise
from stochvid.models.pretrained import Pretrained
from stochvid.models.state import Fit, Imagination, Observation, Prediction, StateT


class VideoModel(Pretrained, Generic[StateT], ABC):
    """A model of one family, whose state is a `StateT`. `CONTRIBUTING.md` says how to add one.

    Args:
        config: what to build; it travels with the weights.

    Attributes:
        config: of the model.
        frozen: whether this is a copy `for_inference`.
        batchwise: whether that takes the batch-norm statistics of the batch.
    """

    frozen = False
    batchwise = False

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config, self.documents = config, {}

    # ------------------------------------------------------------------------------------------ what a family decides

    @abstractmethod
    def observe(
        self,
        clips: Clips | Frames[Tensor, "B T C H W"],
        noise: Float[Tensor, "B S steps *latent"] | None = None,
        state: StateT | None = None,
        context: int | None = None,
        decode: bool = True,
    ) -> Observation[StateT]:
        """Runs known frames under the posterior, all steps at once (teacher forcing; but see `for_inference`).

        Args:
            clips: B clips of T frames, or their frames alone, (B, T, C, H, W), float in [0, 1] or uint8.
            noise: (B, S, T', *latent_shape) for z = μ_φ + σ_φ · noise, T' = T − 1, or T with a `state`; None takes the
                posterior's mean (S = 1).
            state: what an earlier `observe` of the same clips returned, to go on from.
            context: frames that count as context, as in training; None: all of them.
            decode: whether to reconstruct the frames.

        Returns:
            Reconstructions, posterior and prior of every step, and the state after the last frame.
        """

    @abstractmethod
    def imagine(
        self,
        state: StateT,
        horizon: int,
        noise: Float[Tensor, "B S {horizon} *latent"] | None = None,
        tracks: Mapping[str, Tensor] | None = None,
        go_on: bool = True,
    ) -> Imagination[StateT]:
        """Rolls the future under the prior, every generated frame read back.

        Args:
            state: what `observe` or an earlier `imagine` returned, rows B or B · S.
            horizon: frames to generate, at least 1.
            noise: (B, S, horizon, *latent_shape) for z = μ_ψ + σ_ψ · noise, S a multiple of the state's; None only
                without latents (then S = 1).
            tracks: what is known of the future's frames, (rows, horizon, …) each, rows B or B · S; a family takes those
                that it knows.
            go_on: whether to compute the state after the last frame, too.

        Returns:
            The frames, the prior at every step, and the state after the last frame.

        Raises:
            InputError: the state has other samples than the noise.
        """

    @abstractmethod
    def fit(
        self,
        clips: Clips | Frames[Tensor, "B T C H W"],
        noise: Float[Tensor, "B 1 steps *latent"],
        feed_back: bool = False,
    ) -> Fit:
        """What the model makes of clips, of which its loss then says how right it is.

        Args:
            clips: B clips of T frames, or their frames alone; the first `config.context` are the context.
            noise: (B, 1, T − 1, *latent_shape) for the posterior's samples.
            feed_back: whether the model reads its own frames after the context; only where `config.feeds_back`.
        """

    # --------------------------------------------------------------------------------------- what it may decide, too

    @property
    def row_bytes(self) -> int:
        """About how many bytes a sample takes while it is rolled."""
        return 64 * self.config.channels * self.config.image_size**2

    @property
    def dtype(self) -> torch.dtype:
        """Of the state and the latents, to which frames are converted as they come in."""
        return next(self.parameters()).dtype

    def learn(self, tracks: Mapping[str, Track]) -> None:
        """Takes over, before training, what it has to know of the tracks that it is driven by: their statistics."""

    def recompute(self, on: bool) -> None:
        """Keeps fewer activations for the gradients, and computes them again.

        Raises:
            InputError: the family cannot.
        """
        if on:
            raise InputError(f"models of the family {self.config.family!r} keep all activations. Leave out recompute.")

    def make_fast(self, dtype: torch.dtype | None, compile: bool, batch_statistics: bool) -> None:
        """Makes this frozen copy fast; arguments as `for_inference`.

        Raises:
            InputError: the family cannot do what is asked for.
        """
        if compile or batch_statistics:
            what = "compile" if compile else "batch_statistics"
            raise InputError(f"models of the family {self.config.family!r} do not know {what}. Leave it out.")
        self.to(dtype or self.dtype)

    # ------------------------------------------------------------------------------------------------ the same for all

    def terms(
        self,
        clips: Clips | Frames[Tensor, "B T C H W"],
        noise: Float[Tensor, "B 1 steps *latent"],
        feed_back: bool = False,
        change_weight: Tensor | None = None,
        also: Sequence[str] = (),
    ) -> dict[str, Float[Tensor, ""]]:
        """What the loss of clips is made of, by name; an objective weighs the terms (`training/objectives.py`).

        Args:
            clips: as of `fit`.
            noise: likewise.
            feed_back: likewise.
            change_weight: what pixels that changed since the frame before count more than others, a scalar; only where
                `config.weighs_changes`.
            also: errors of `models/errors.py` beside the model's own.

        Returns:
            Scalars by the names of `config.term_weights` and of `also`, each per step: a mean over the batch and over
            the steps.
        """
        frames = self.as_input(Clips.of(clips).frames)
        fit = self.fit(clips, noise, feed_back=True) if feed_back else self.fit(clips, noise)
        made = fit.frames.shape[1]
        weight = change_weights(frames, made, change_weight)
        terms = errors((self.config.error, *also), fit.frames, frames[:, -made:], fit.logits, weight)
        if KL in self.config.term_weights:
            terms[KL] = frames.new_zeros(()) if fit.kl is None else fit.kl
        return terms

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of the latents of a step; () for a deterministic model."""
        return self.config.latent_shape

    @property
    def stochastic(self) -> bool:
        """Whether it has latents, so that its futures differ."""
        return bool(self.latent_shape)

    @property
    def summary(self) -> str:
        """What kind of model it is, in a line."""
        c, weights = self.config, sum(p.numel() for p in self.parameters())
        frames = f"{c.image_size}×{c.image_size}×{c.channels}, {c.context} → {c.horizon} frames"
        return f"{c.kind}, {c.network.split(':')[0]}, {frames}, {weights:,} weights"

    def check_context(self, frames: int, name: str = "context") -> int:
        """Checks how many frames the model is to be given; gives the number.

        Args:
            frames: how many.
            name: what a user calls it.

        Raises:
            InputError: too few.
        """
        least = self.config.least_context
        if frames < least:
            why = f" for a model of {self.config.kind} with these settings" if least > 1 else ""
            raise InputError(f"{name} must be at least {least}{why}, got {frames}.")
        return frames

    def for_inference(
        self, dtype: torch.dtype | None = None, compile: bool = False, batch_statistics: bool = False
    ) -> Self:
        """A frozen copy that draws the same futures faster. It can be neither trained nor saved.

        Args:
            dtype: of encoder and decoder, such as torch.bfloat16; None: this model's. Recurrent parts keep theirs.
            compile: whether to compile the steps of the future with `torch.compile`, on a GPU into CUDA graphs. It
                takes a while whenever sizes are new.
            batch_statistics: take the batch-norm statistics of the batch, one frame and one sample of all its clips at
                a time, as the published code of SVG-LP does. A future then depends on its batch mates.
        """
        frozen = copy.deepcopy(self).eval().requires_grad_(False)
        frozen.frozen, frozen.batchwise = True, batch_statistics
        frozen.make_fast(dtype, compile, batch_statistics)
        for part in frozen.modules():
            if isinstance(part, nn.LSTM):
                part.flatten_parameters()  # on a GPU, copies are no longer in one piece, as cuDNN wants them
        return frozen

    def as_input(self, frames: Frames[Tensor, "B T C H W"]) -> Float[Tensor, "B T C H W"]:
        """Frames as the model computes with them: float in [0, 1] of its `dtype`.

        Raises:
            InputError: they are neither uint8 nor float.
        """
        dtype = self.dtype
        if frames.dtype != torch.uint8 and not frames.is_floating_point():
            raise InputError(f"frames must be uint8, or float in [0, 1], got {frames.dtype}.")
        return frames.to(dtype) / 255 if frames.dtype == torch.uint8 else frames.to(dtype)

    @torch.inference_mode()
    def predict(
        self,
        context: Clips | Frames[Tensor, "B K C H W"],
        horizon: int,
        samples: int = 1,
        seed: int = 0,
        *,
        clip_ids: Sequence[int] | None = None,
        first_sample: int = 0,
        chunk: int | None = None,
        temperature: float = 1.0,
        branch: Branch | None = None,
        actions: Float[Tensor, "B _ horizon A"] | None = None,
    ) -> Prediction:
        """Draws `samples` futures of every clip. Batch-norm uses its running statistics.

        A future depends on the weights, the seed, the clip's context, the sample's number, temperature and branch
        alone: but for rounding, not on the other clips, on how many samples there are, on `chunk`, or (in its first
        frames) on the horizon. What samples follow in common is drawn once, and is equal in all of them.

        Args:
            context: B clips of K frames, or their frames alone, (B, K, C, H, W), float in [0, 1] or uint8. Their tracks
                go on into the future, (B, K + horizon, …) or longer; of a track that does not, the future is not told.
            horizon: frames to predict, at least 1.
            samples: futures per clip, at least 1.
            seed: of the latents.
            clip_ids: B integers that identify the clips to the noise; None: digests of the contexts themselves.
            first_sample: number of the first sample, to draw some of many.
            chunk: samples per clip to roll at once; None: as many as memory is good for.
            temperature: z = μ_ψ + temperature · σ_ψ · noise in the future: 0 takes the prior's mean, 1 is the model.
            branch: a future of this clip to follow for its first frames: its latents first, fresh ones after.
            actions: of a model that is driven by them: what leads to each frame of the future, (B, S, horizon, A), or
                (B, 1, horizon, A) for all samples, in the units of the training data; None: the track of the clips.

        Returns:
            Frames, the prior's mean and standard deviation, and the latents drawn from it, on the context's device.

        Raises:
            InputError: a shape or tracks that do not fit the model, a horizon or sample count below 1, or a negative
                (or infinite) temperature.
        """
        clips = Clips.of(context)
        context = clips.frames
        if actions is not None:
            self._check_actions(actions, len(context), samples, horizon)
            clips = clips._replace(tracks=with_actions(clips.tracks, actions[:, 0], context))
        self._check_clips(context)
        check_temperature(temperature)
        for name, value in (("horizon", horizon), ("samples", samples), ("chunk", chunk or 1)):
            if value < 1:
                raise InputError(f"{name} must be at least 1, got {value}.")
        self._check_tracks(clips, horizon)
        clips = clips.to(context.device)
        if clip_ids is None:
            clip_ids = content_ids(context)
        model = self if self.frozen else self.for_inference()
        chunk = 1 if self.batchwise else chunk or self._samples_at_once(len(context), horizon, context.device)
        known, followed = context.shape[1] - 1, min(branch.frames, horizon) if branch else None

        def draw(first: int, count: int) -> tuple[Tensor, ...]:
            noise = rollout_noise(
                seed, clip_ids, count, known, horizon, self.latent_shape, first_sample + first, temperature, branch
            )
            return model._roll(clips, horizon, noise.to(context.device), followed, some_of(actions, first, count))

        return self._in_chunks(samples, chunk, draw, actions)

    @torch.inference_mode()
    def predict_from(
        self,
        state: StateT,
        horizon: int,
        samples: int = 1,
        seed: int = 0,
        *,
        clip_id: int = 0,
        chunk: int | None = None,
        temperature: float = 1.0,
        actions: Float[Tensor, "1 _ horizon A"] | None = None,
    ) -> Prediction:
        """As `predict`, of a clip whose frames were observed already.

        Args:
            state: after them, of one clip and one sample, as `observe` left it; it stays as it is.
            horizon: frames to predict, at least 1.
            samples: futures, at least 1.
            seed: of the latents.
            clip_id: an integer that identifies the clip, and where in it this is, to the noise.
            chunk: as in `predict`.
            temperature: likewise.
            actions: likewise, (1, S, horizon, A) or (1, 1, horizon, A).

        Raises:
            InputError: a horizon or sample count below 1, or a negative (or infinite) temperature.
        """
        check_temperature(temperature)
        for name, value in (("horizon", horizon), ("samples", samples), ("chunk", chunk or 1)):
            if value < 1:
                raise InputError(f"{name} must be at least 1, got {value}.")
        if actions is not None:
            self._check_actions(actions, 1, samples, horizon)
        model, device = self if self.frozen else self.for_inference(), next(self.parameters()).device

        def draw(first: int, count: int) -> tuple[Tensor, ...]:
            noise = rollout_noise(seed, [clip_id], count, 0, horizon, self.latent_shape, first, temperature)
            return model._go_on(state, horizon, noise.to(device), {}, actions=some_of(actions, first, count))

        return self._in_chunks(samples, chunk or self._samples_at_once(1, horizon, device), draw, actions)

    # -------------------------------------------------------------------------------------------------------- private

    def _in_chunks(
        self, samples: int, chunk: int, draw: Callable[[int, int], tuple[Tensor, ...]], actions: Tensor | None
    ) -> Prediction:
        """All samples, at most so many at once; `draw` makes some, from the number of the first and how many."""
        differ = self.stochastic or (actions is not None and actions.shape[1] > 1)
        drawn = samples if differ else 1  # without latents all futures are one
        parts = [draw(first, min(chunk, drawn - first)) for first in range(0, drawn, chunk)]
        joined = (torch.cat(tensors, dim=1) for tensors in zip(*parts, strict=True))
        return Prediction(*(x if drawn == samples else x.expand(-1, samples, *x.shape[2:]) for x in joined))

    def _roll(
        self,
        clips: Clips,
        horizon: int,
        noise: Float[Tensor, "B S _ *latent"],
        followed: int | None,
        actions: Float[Tensor, "B _ horizon A"] | None,
    ) -> tuple[Tensor, ...]:
        """What a prediction holds, of the samples whose noise this is (B, S, K − 1 + horizon, *latent_shape).

        Samples that follow one future, and do the same, have its frames in common: these are drawn once, and repeated.
        """
        frames = clips.frames.shape[1]
        known, context = frames - 1, clips.between(0, frames)
        tracks = {name: track for name, track in clips.tracks.items() if track.shape[1] >= frames + horizon}
        sampled = noise[:, :, :known] if self.config.samples_context else None
        if followed is not None and sampled is not None:
            sampled = sampled[:, :1]
        state = self.observe(context, sampled, decode=False).state
        told = tracks_between(tracks, frames, frames + horizon)
        return self._go_on(state, horizon, noise[:, :, known:], told, followed, actions)

    def _go_on(
        self,
        state: StateT | None,
        horizon: int,
        future: Float[Tensor, "B S {horizon} *latent"],
        tracks: Mapping[str, Tensor],
        followed: int | None = None,
        actions: Float[Tensor, "B _ horizon A"] | None = None,
    ) -> tuple[Tensor, ...]:
        """What a prediction holds, from a state on."""
        samples, parts = future.shape[1], []
        if actions is not None:
            tracks = {**tracks, ACTIONS: actions.flatten(0, 1).to(future.device)}
            followed = followed if actions.shape[1] == 1 else None
        for first, last, rows in ((0, followed or 0, 1), (followed or 0, horizon, samples)):
            if first < last:
                assert state is not None
                drawn = future[:, :rows, first:last]
                told = tracks_between(tracks, first, last)
                seen = self.imagine(state, last - first, drawn, told, go_on=last < horizon)
                prior, state = seen.prior, seen.state
                cells = seen.std_map
                if cells is None:
                    cells = prior.mean.new_empty(*seen.frames.shape[:3], 0, 0)
                values = (seen.frames, prior.mean, prior.std, prior.sample(drawn.to(prior.mean)), cells)
                parts.append([x.expand(-1, samples, *x.shape[2:]) for x in values])
        return tuple(torch.cat(values, dim=2) for values in zip(*parts, strict=True))

    def _samples_at_once(self, clips: int, horizon: int, device: torch.device) -> int:
        """How many samples per clip may be rolled at once."""
        frames = 2 * 4 * horizon * self.config.channels * self.config.image_size**2
        samples = rollout_bytes(device) // (clips * (self.row_bytes + frames))
        return 1 << max(0, samples.bit_length() - 1)  # a power of two, so that few sizes are ever compiled

    def _check_actions(self, actions: Tensor, clips: int, samples: int, horizon: int) -> None:
        wanted = self.config.tracks.get(ACTIONS)
        if wanted is None:
            raise InputError(
                f"the model ({self.config.kind}) is not driven by actions. Leave them out, or take one that was "
                "trained with --model.action_dim."
            )
        if not isinstance(actions, Tensor) or actions.ndim != 4 or actions.shape[1] not in (1, samples) or (
            (actions.shape[0], *actions.shape[2:]) != (clips, horizon, *wanted)
        ):  # fmt: skip
            got = tuple(actions.shape) if isinstance(actions, Tensor) else type(actions).__name__
            raise InputError(
                f"actions must be a tensor ({clips}, {samples} or 1, {horizon}, {wanted[0]}): clips, samples, frames "
                f"to predict, components; got {got}."
            )
        if not actions.isfinite().all():
            raise InputError("actions must be finite numbers, and hold NaN or infinity.")

    def _check_tracks(self, clips: Clips, horizon: int) -> None:
        known, shapes = clips.frames.shape[1], {name: track.shape[2:] for name, track in clips.tracks.items()}
        self.config.check_tracks(shapes, "context")
        for name, track in clips.tracks.items():
            least = known + horizon if name in self.config.tracks else known
            if track.ndim < 2 or len(track) != len(clips.frames) or track.shape[1] < least:
                raise InputError(
                    f"track {name!r} must be ({len(clips.frames)}, {least} or more, …) of {known} given frame(s) and a "
                    f"horizon of {horizon}, got {tuple(track.shape)}."
                )

    def _check_clips(self, context: Tensor) -> None:
        size, channels = self.config.image_size, self.config.channels
        if not isinstance(context, Tensor):
            raise InputError(f"context must be a torch tensor, got {type(context).__name__}. Use torch.as_tensor.")
        if context.ndim != 5 or context.shape[2:] != (channels, size, size):
            raise InputError(
                f"context must be (B, K, {channels}, {size}, {size}), got {tuple(context.shape)}. "
                "Resize the frames and convert their channels first."
            )
        if not len(context):
            raise InputError(f"context must hold one clip or more, got shape {tuple(context.shape)}.")
        self.check_context(context.shape[1], "the number of context frames")
        if context.is_floating_point():
            low, high = (edge.item() for edge in context.aminmax())
            if not 0 <= low <= high <= 1:  # nor is NaN
                raise InputError(f"context must be in [0, 1], got {low:.4g} to {high:.4g}. Divide it, or give uint8.")
        if self.batchwise and len(context) < 2:
            raise InputError(
                "batch-norm statistics of the batch need two clips or more, got one. Give more, or leave out "
                "--batch-statistics."
            )
