"""SVG: stochastic video generation with a learned, fixed or no prior (Denton & Fergus, ICML 2018).

Axes: `B` clips, `S` samples, `T` time, `C H W` image, `G` features, `Z` latents; `K` context frames. Frames count
from 1: step t makes frame t from frame t−1, so T frames have T−1 steps. Tensors in and out are (B, T, C, H, W) or
(B, S, T, C, H, W), float in [0, 1]; uint8 in [0, 255] is accepted and converted.

Two verbs share one state: `observe` runs known frames under the posterior, time-parallel; `imagine` rolls the future
under the prior. Training is `observe` alone; prediction is `observe` then `imagine`.
"""

import copy
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from stochvid.core.errors import InputError
from stochvid.core.memory import rollout_bytes
from stochvid.model_configs import SVGConfig
from stochvid.models.backbones import BACKBONES, init_weights
from stochvid.models.compiling import compiled
from stochvid.models.folding import fold_batch_norm, keep_batch_statistics
from stochvid.models.noise import Branch, check_temperature, content_ids, rollout_noise
from stochvid.models.pretrained import Pretrained
from stochvid.models.recurrent import FramePredictor, Gaussian, GaussianLSTM, LSTMState
from stochvid.models.state import Imagination, Loss, Observation, Prediction, State


def _repeat_rows(x: Tensor, rows: int, dim: int = 0) -> Tensor:
    return x if x.shape[dim] == rows else x.repeat_interleave(rows // x.shape[dim], dim)


class SVG(nn.Module, Pretrained):
    """Encoder, posterior, prior, frame predictor and decoder (paper, fig. 2).

    Args:
        config: what to build; `SVG(config).config` travels with the weights.
    """

    frozen = False  # whether this is a copy `for_inference`
    batchwise = False  # whether that takes the batch-norm statistics of the batch

    def __init__(self, config: SVGConfig):
        super().__init__()
        self.config, self.documents = config, {}
        c = config
        encoder, decoder = BACKBONES[c.backbone]
        self.encoder = encoder(c.image_size, c.channels, c.base_channels, c.g_dim)
        self.decoder = decoder(c.image_size, c.channels, c.base_channels, c.g_dim)
        self.z_dim = 0 if c.prior == "none" else c.z_dim
        self.predictor = FramePredictor(c.g_dim + self.z_dim, c.g_dim, c.rnn_size, c.predictor_layers)
        self.posterior = self.prior = None
        if c.prior != "none":
            self.posterior = GaussianLSTM(c.g_dim, c.z_dim, c.rnn_size, c.posterior_layers)
        if c.prior == "learned":
            self.prior = GaussianLSTM(c.g_dim, c.z_dim, c.rnn_size, c.prior_layers)
        self.apply(init_weights)
        self.to(memory_format=torch.channels_last)  # how convolutions are fastest, on CPUs as on GPUs

    @property
    def summary(self) -> str:
        """What kind of model it is, in a line."""
        c, kinds = self.config, {"learned": "SVG-LP", "fixed": "SVG-FP", "none": "SVG without latents"}
        weights = sum(p.numel() for p in self.parameters())
        frames = f"{c.image_size}×{c.image_size}×{c.channels}, {c.context} → {c.horizon} frames"
        return f"{kinds[c.prior]}, {c.backbone.upper()}, {frames}, {weights:,} weights"

    @property
    def row_bytes(self) -> int:
        """About how much memory a sample takes while it is rolled: the widest maps of a frame, some of them alive."""
        widest = self.config.image_size // (1 if self.config.backbone == "vgg" else 2)
        return 6 * 4 * self.config.base_channels * widest**2

    def for_inference(
        self, dtype: torch.dtype | None = None, compile: bool = False, batch_statistics: bool = False
    ) -> Self:
        """A frozen copy that draws the same futures faster: batch-norm, with its running statistics, is folded away.

        It can be neither trained nor saved.

        Args:
            dtype: of encoder and decoder, such as torch.bfloat16; None: this model's. The LSTMs keep theirs.
            compile: whether to compile the steps of the future with `torch.compile`, on a GPU into CUDA graphs. It
                takes a while whenever sizes are new.
            batch_statistics: do not fold, but take the statistics of the batch, one frame and one sample of all its
                clips at a time, as the published code of SVG-LP does. A future then depends on its batch mates.
        """
        frozen = copy.deepcopy(self).eval().requires_grad_(False)
        for part in (frozen.encoder, frozen.decoder):
            (keep_batch_statistics if batch_statistics else fold_batch_norm)(part)
            part.to(dtype or part.dtype)
        for part in frozen.modules():
            if isinstance(part, nn.LSTM):
                part.flatten_parameters()  # on a GPU, copies are no longer in one piece, as cuDNN wants them
        frozen.frozen, frozen.batchwise = True, batch_statistics
        if compile:
            frozen._step, frozen._features = compiled(frozen._step), compiled(frozen._features)
        return frozen

    # -------------------------------------------------------------------------------------------------- the two verbs

    def observe(
        self,
        frames: Tensor,
        noise: Tensor | None = None,
        state: State | None = None,
        context: int | None = None,
        decode: bool = True,
    ) -> Observation:
        """Runs known frames under the posterior, all steps at once (teacher forcing; but see `for_inference`).

        Args:
            frames: (B, T, C, H, W), float in [0, 1] or uint8.
            noise: (B, S, T', Z) for z = μ_φ + σ_φ · noise, T' = T − 1, or T with a `state`; None takes the
                posterior's mean (S = 1).
            state: what an earlier `observe` of the same clips returned, to go on from.
            context: frames that count as context for the skips, as in training; None: all of them.
            decode: whether to reconstruct the frames.

        Returns:
            Reconstructions, posterior and prior of every step, and the state after the last frame.
        """
        frames = self._as_input(frames)
        batch = frames.shape[0]
        # rows are (T, B) inside: the frames of a step, and all frames up to one, are slices then, and never copied
        steps = frames.shape[1] - (state is None)
        own = batch * self._steps_with_skips(steps, context)
        rows = frames.transpose(0, 1)
        if self.batchwise:
            features, skips, _ = zip(*map(self._encode, rows), strict=True)
            flat, skips = torch.cat(features), [torch.cat(maps) for maps in zip(*skips, strict=True)]
            used = [skip[:own] for skip in skips]
        else:
            flat, skips, used = self._encode(rows.flatten(0, 1), own if state is None else None)
        if state is not None:  # the state's frame is frame 1: put it in front
            flat = torch.cat([state.features, flat])
            skips = [torch.cat(pair) for pair in zip(state.skips, skips, strict=True)]
            used = [skip[:own] for skip in skips]
        features = flat.unflatten(0, (-1, batch))
        before, after = features[:-1], features[1:]

        posterior, posterior_state, prior, prior_state = self._latents(before, after, state)
        latent = before.new_zeros(steps, batch, 1, 0)
        if posterior is not None:
            latent = posterior.mean[:, :, None]
            if noise is not None:
                sampled = noise.permute(2, 0, 1, 3).to(latent)
                latent = Gaussian(latent, posterior.log_var[:, :, None]).sample(sampled)
        samples = latent.shape[2]
        h = before[:, :, None].expand(-1, -1, samples, -1)
        # [h_{t-1}, z_t]: (T', B, S, G + Z) → rows B · S
        joined = torch.cat([h, latent.to(h.dtype)], dim=-1).flatten(1, 2)
        start = state and _branch_lstm(state.predictor, batch * samples)
        g, predictor_state = self.predictor(joined, start)

        images = None
        if decode:
            rolled, hoisted = g.unflatten(1, (batch, samples)), self.decoder.hoist(used)
            decode = self._decode_one_by_one if self.batchwise else self._decode
            images = decode(rolled, hoisted).permute(1, 2, 0, 3, 4, 5)
        return Observation(
            images,
            posterior and posterior.transpose(0, 1),
            prior and prior.transpose(0, 1),
            self._state_after(flat, skips, batch, posterior_state, prior_state, predictor_state),
        )

    def imagine(self, state: State, horizon: int, noise: Tensor | None = None, go_on: bool = True) -> Imagination:
        """Rolls the future under the prior, every generated frame read back.

        Args:
            state: what `observe` or an earlier `imagine` returned, rows B or B · S.
            horizon: frames to generate, at least 1.
            noise: (B, S, horizon, Z) for z = μ_ψ + σ_ψ · noise, S a multiple of the state's; None only without latents
                (then S = 1).
            go_on: whether to encode the last frame, too, for the state after it.

        Returns:
            The frames, the prior at every step, and the state after the last frame.

        Raises:
            InputError: the state has other samples than the noise.
        """
        if noise is None:
            noise = state.features.new_zeros(state.features.shape[0], 1, horizon, 0)
        batch, samples = noise.shape[:2]
        assert noise.shape[2:] == (horizon, self.z_dim), (noise.shape, horizon, self.z_dim)
        rows, known = batch * samples, state.predictor[0].shape[1]
        if rows % known:
            raise InputError(f"the noise is of {batch} clips × {samples} samples, but the state has {known} rows.")
        noise = noise.to(state.features).flatten(0, 1)
        features, skips, used = _repeat_rows(state.features, rows), state.skips, state.future_skips
        prior_state = state.prior and _branch_lstm(state.prior, rows)
        predictor_state = _branch_lstm(state.predictor, rows)

        hoisted = self.decoder.hoist(used)
        images, priors = [], []
        for t in range(horizon):
            if t and self.config.future_skip == "previous":
                features, used, _ = self._encode(images[-1])
                hoisted = self.decoder.hoist(used)
            elif t:
                features = self._features(images[-1])
            image, p, prior_state, predictor_state = self._step(
                features, noise[:, t], hoisted, prior_state, predictor_state
            )
            images.append(image)
            priors.append(p)

        after = None
        if go_on:
            features, skips, _ = self._encode(images[-1])
            used = skips if self.config.future_skip == "previous" else used
            after = State(state.posterior, prior_state, predictor_state, features, skips, used)
        prior = Gaussian(
            *(torch.stack(parts, dim=1).unflatten(0, (batch, samples)) for parts in zip(*priors, strict=True))
        )
        return Imagination(torch.stack(images, dim=1).unflatten(0, (batch, samples)), prior, after)

    def _step(
        self,
        features: Tensor,
        noise: Tensor,
        hoisted: list[Tensor],
        prior_state: LSTMState | None,
        predictor_state: LSTMState,
    ) -> tuple[Tensor, Gaussian, LSTMState | None, LSTMState]:
        """One step of the future: h (N, G) and noise (N, Z) → frame (N, C, H, W), prior (N, Z), new LSTM states."""
        if self.prior is None:  # the fixed prior, N(0, I)
            p = Gaussian(torch.zeros_like(noise), torch.zeros_like(noise))
        else:
            p, prior_state = self.prior(features[None], prior_state)
            p = Gaussian(p.mean[0], p.log_var[0])
        z = p.sample(noise).to(features.dtype)
        g, predictor_state = self.predictor(torch.cat([features, z], dim=-1)[None], predictor_state)
        clips = hoisted[0].shape[0]  # rows that share a skip
        image = self._decode(g.unflatten(1, (clips, -1)), hoisted)[0].flatten(0, 1)
        return image, p, prior_state, predictor_state

    # ---------------------------------------------------------------------------------------- what users do with them

    def loss(self, frames: Tensor, noise: Tensor) -> Loss:
        """The teacher-forced negative β-ELBO of clips (paper, eq. 3).

        Args:
            frames: (B, T, C, H, W), float in [0, 1] or uint8; the first `config.context` are the context.
            noise: (B, 1, T − 1, Z) for the posterior's samples.
        """
        frames = self._as_input(frames)
        seen = self.observe(frames, noise, context=self.config.context)
        steps = frames.shape[1] - 1
        mse = (seen.frames[:, 0].to(frames.dtype) - frames[:, 1:]).square().mean()
        kl = mse.new_zeros(()) if seen.posterior is None else seen.posterior.kl(seen.prior).mean()
        return Loss(steps * (mse + self.config.beta * kl), mse, kl)

    @torch.inference_mode()
    def predict(
        self,
        context: Tensor,
        horizon: int,
        samples: int = 1,
        seed: int = 0,
        *,
        clip_ids: Sequence[int] | None = None,
        first_sample: int = 0,
        chunk: int | None = None,
        temperature: float = 1.0,
        branch: Branch | None = None,
    ) -> Prediction:
        """Draws `samples` futures of every clip. Batch-norm uses its running statistics.

        A future depends on the weights, the seed, the clip's context, the sample's number, temperature and branch
        alone: but for rounding, not on the other clips, on how many samples there are, on `chunk`, or (in its first
        frames) on the horizon. What samples follow in common is drawn once, and is equal in all of them.

        Args:
            context: (B, K, C, H, W), float in [0, 1] or uint8.
            horizon: frames to predict, at least 1.
            samples: futures per clip, at least 1.
            seed: of the latents.
            clip_ids: B integers that identify the clips to the noise; None: digests of the contexts themselves.
            first_sample: number of the first sample, to draw some of many.
            chunk: samples per clip to roll at once; None: as many as memory is good for.
            temperature: z = μ_ψ + temperature · σ_ψ · noise in the future: 0 takes the prior's mean, 1 is the model.
            branch: a future of this clip to follow for its first frames: its latents first, fresh ones after.

        Returns:
            Frames, the prior's mean and standard deviation, and the latents drawn from it, on the context's device.

        Raises:
            InputError: a shape that does not fit the model, a horizon or sample count below 1, or a negative (or
                infinite) temperature.
        """
        self._check_context(context)
        check_temperature(temperature)
        for name, value in (("horizon", horizon), ("samples", samples), ("chunk", chunk or 1)):
            if value < 1:
                raise InputError(f"{name} must be at least 1, got {value}.")
        if clip_ids is None:
            clip_ids = content_ids(context)
        drawn = samples if self.z_dim else 1  # without latents all futures are one
        model = self if self.frozen else self.for_inference()
        chunk = 1 if self.batchwise else chunk or self._fitting(context, horizon)
        known, parts = context.shape[1] - 1, []
        for first in range(0, drawn, chunk):
            count = min(chunk, drawn - first)
            noise = rollout_noise(
                seed, clip_ids, count, known, horizon, self.z_dim, first_sample + first, temperature, branch
            )
            parts.append(
                model._roll(context, horizon, noise.to(context.device), min(branch.frames, horizon) if branch else None)
            )
        together = (torch.cat(tensors, dim=1) for tensors in zip(*parts, strict=True))
        return Prediction(*(x if drawn == samples else x.expand(-1, samples, *x.shape[2:]) for x in together))

    # -------------------------------------------------------------------------------------------------------- private

    def _roll(self, context: Tensor, horizon: int, noise: Tensor, followed: int | None) -> tuple[Tensor, ...]:
        """What a prediction holds, of the samples whose noise this is (B, S, K − 1 + horizon, Z).

        Samples that follow one future have its frames in common: these are drawn once, and repeated.
        """
        known, samples = context.shape[1] - 1, noise.shape[1]
        sampled = noise[:, :, :known] if self.config.context_latent == "sample" else None
        if followed is not None and sampled is not None:
            sampled = sampled[:, :1]
        state, future, parts = self.observe(context, sampled, decode=False).state, noise[:, :, known:], []
        for first, last, rows in ((0, followed or 0, 1), (followed or 0, horizon, samples)):
            if first < last:
                drawn = future[:, :rows, first:last]
                seen = self.imagine(state, last - first, drawn, go_on=last < horizon)
                prior, state = seen.prior, seen.state
                values = (seen.frames, prior.mean, prior.std, prior.sample(drawn.to(prior.mean)))
                parts.append([x.expand(-1, samples, *x.shape[2:]) for x in values])
        return tuple(torch.cat(values, dim=2) for values in zip(*parts, strict=True))

    def _fitting(self, context: Tensor, horizon: int) -> int:
        """How many samples per clip may be rolled at once."""
        frames = 2 * 4 * horizon * context[0, 0].numel()
        fitting = rollout_bytes(context.device) // (len(context) * (self.row_bytes + frames))
        return 1 << max(0, fitting.bit_length() - 1)  # a power of two, so that few sizes are ever compiled

    def _as_input(self, frames: Tensor) -> Tensor:
        dtype = self.predictor.head.weight.dtype
        if frames.dtype != torch.uint8 and not frames.is_floating_point():
            raise InputError(f"frames must be uint8, or float in [0, 1], got {frames.dtype}.")
        return frames.to(dtype) / 255 if frames.dtype == torch.uint8 else frames.to(dtype)

    def _encode(self, frames: Tensor, first: int | None = None) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """As `Encoder.forward`, with features as the LSTMs take them."""
        h, *skips = self.encoder(frames.to(self.encoder.dtype), first)
        return h.to(self.predictor.head.weight.dtype), *skips

    def _features(self, frames: Tensor) -> Tensor:
        """Frames (N, C, H, W) → features (N, G) alone."""
        return self._encode(frames)[0]

    def _decode(self, g: Tensor, hoisted: list[Tensor]) -> Tensor:
        """g (T, B, S, G) → frames (T, B, S, C, H, W), as `Decoder.forward`."""
        return self.decoder(g.to(self.decoder.dtype), hoisted)

    def _decode_one_by_one(self, g: Tensor, hoisted: list[Tensor]) -> Tensor:
        """As `_decode`, a step and a sample of all clips at a time: each has batch-norm statistics of its own."""
        steps, clips, samples, _ = g.shape
        images = []
        for t in range(steps):
            own = [maps[min(t * clips, len(maps) - clips) :][:clips] for maps in hoisted]
            images += [self._decode(g[t : t + 1, :, s : s + 1], own) for s in range(samples)]
        return torch.cat(images).unflatten(0, (steps, samples)).squeeze(3).transpose(1, 2)

    def _latents(self, before: Tensor, after: Tensor, state: State | None):
        """Posterior and prior of every step, with their LSTM states: h_{t-1} and h_t (T', B, G) → (T', B, Z)."""
        if self.posterior is None:
            return None, None, None, None
        posterior, posterior_state = self.posterior(after, state and state.posterior)
        if self.prior is None:
            zeros = torch.zeros_like(posterior.mean)
            return posterior, posterior_state, Gaussian(zeros, zeros), None
        prior, prior_state = self.prior(before, state and state.prior)
        return posterior, posterior_state, prior, prior_state

    def _steps_with_skips(self, steps: int, context: int | None) -> int:
        """How many steps have skips of their own; later steps share the last of these."""
        if context is None or self.config.future_skip == "previous":
            return steps
        return min(steps, context - (self.config.future_skip == "second_last"))

    def _state_after(self, features, skips, batch, posterior_state, prior_state, predictor_state) -> State:
        last = features.shape[0] - batch  # where the rows of the last frame begin
        used = last - batch if self.config.future_skip == "second_last" and last else last
        # a slice would keep the maps of all frames in memory
        ends, chosen = ([skip[at : at + batch].clone() for skip in skips] for at in (last, used))
        return State(posterior_state, prior_state, predictor_state, features[last:], ends, chosen)

    def _check_context(self, context: Tensor) -> None:
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
        least = 2 if self.config.future_skip == "second_last" else 1
        if context.shape[1] < least:
            raise InputError(f"context needs at least {least} frame(s), got {context.shape[1]}.")
        if context.is_floating_point():
            low, high = (edge.item() for edge in context.aminmax())
            if not 0 <= low <= high <= 1:  # nor is NaN
                raise InputError(f"context must be in [0, 1], got {low:.4g} to {high:.4g}. Divide it, or give uint8.")
        if self.batchwise and len(context) < 2:
            raise InputError(
                "batch-norm statistics of the batch need two clips or more, got one. Give more, or leave out "
                "--batch-statistics."
            )


def _branch_lstm(state: LSTMState, rows: int) -> LSTMState:
    return _repeat_rows(state[0], rows, 1), _repeat_rows(state[1], rows, 1)
