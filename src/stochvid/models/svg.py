"""SVG: stochastic video generation with a learned, fixed or no prior (Denton & Fergus, ICML 2018).

Axes: those of `models/base.py`, and `G` features, `Z` latents.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from stochvid.core.clips import Clips
from stochvid.core.errors import InputError
from stochvid.core.shapes import Float, Frames
from stochvid.model_configs import SVGConfig
from stochvid.models.backbones import BACKBONES, init_weights
from stochvid.models.base import VideoModel
from stochvid.models.compiling import compiled
from stochvid.models.folding import fold_batch_norm, keep_batch_statistics
from stochvid.models.layers import in_format
from stochvid.models.recurrent import FramePredictor, Gaussian, GaussianLSTM, LSTMState
from stochvid.models.state import Imagination, Observation, State, repeat_rows


@dataclass
class SVGState(State):
    """Everything that carries from one frame to the next. Rows: B clips, or B · S once samples differ.

    Attributes:
        posterior: LSTM state of the posterior (None without latents). `imagine` passes it on unchanged.
        prior: LSTM state of the learned prior (None without one).
        predictor: LSTM state of the frame predictor.
        features: h of the last frame, (rows, G).
        skips: encoder skips of the last frame, finest first.
        future_skips: encoder skips that the future uses when the last frame ends the context.
    """

    posterior: LSTMState | None
    prior: LSTMState | None
    predictor: LSTMState
    features: Float[Tensor, "rows G"]
    skips: list[Float[Tensor, "_ _ _ _"]]
    future_skips: list[Float[Tensor, "_ _ _ _"]]


class SVG(VideoModel[SVGState]):
    """Encoder, posterior, prior, frame predictor and decoder (paper, fig. 2).

    Args:
        config: what to build; `SVG(config).config` travels with the weights.
    """

    config: SVGConfig
    posterior: GaussianLSTM | None
    prior: GaussianLSTM | None

    def __init__(self, config: SVGConfig):
        super().__init__(config)
        c = config
        encoder, decoder = BACKBONES[c.backbone]
        self.encoder = encoder(c.image_size, c.channels, c.base_channels, c.g_dim)
        self.decoder = decoder(c.image_size, c.channels, c.base_channels, c.g_dim)
        self.predictor = FramePredictor(c.g_dim + self.z_dim, c.g_dim, c.rnn_size, c.predictor_layers)
        self.posterior = self.prior = None
        if c.prior != "none":
            self.posterior = GaussianLSTM(c.g_dim, c.z_dim, c.rnn_size, c.posterior_layers)
        if c.prior == "learned":
            self.prior = GaussianLSTM(c.g_dim, c.z_dim, c.rnn_size, c.prior_layers)
        self.apply(init_weights)
        in_format(self, torch.channels_last)  # how convolutions are fastest, on CPUs as on GPUs

    @property
    def z_dim(self) -> int:
        """Size Z of the latents; 0 without."""
        return sum(self.latent_shape)

    @property
    def row_bytes(self) -> int:
        """About how much memory a sample takes while it is rolled: the widest maps of a frame, some of them alive."""
        widest = self.config.image_size // (1 if self.config.backbone == "vgg" else 2)
        return 6 * 4 * self.config.base_channels * widest**2

    @property
    def dtype(self) -> torch.dtype:
        """Of the LSTMs."""
        return self.predictor.head.weight.dtype

    def make_fast(self, dtype: torch.dtype | None, compile: bool, batch_statistics: bool) -> None:
        """Folds batch-norm, with its running statistics, away, unless that of the batch is asked for."""
        for part in (self.encoder, self.decoder):
            (keep_batch_statistics if batch_statistics else fold_batch_norm)(part)
            part.to(dtype or part.dtype)
        if compile:
            self._step = compiled(self._step)  # type: ignore[method-assign]  # on this copy alone
            self._features = compiled(self._features)  # type: ignore[method-assign]  # likewise

    def recompute(self, on: bool) -> None:
        """As `VideoModel.recompute`, in encoder and decoder."""
        self.encoder.recompute = self.decoder.recompute = on

    # -------------------------------------------------------------------------------------------------- the two verbs

    def observe(
        self,
        clips: Clips | Frames[Tensor, "B T C H W"],
        noise: Float[Tensor, "B S steps Z"] | None = None,
        state: SVGState | None = None,
        context: int | None = None,
        decode: bool = True,
    ) -> Observation[SVGState]:
        """As `VideoModel.observe`; `context` decides which skips the steps after it share."""
        frames = self.as_input(Clips.of(clips).frames)
        batch = frames.shape[0]
        # rows are (T, B) inside: the frames of a step, and all frames up to one, are slices then, and never copied
        steps = frames.shape[1] - (state is None)
        own = batch * self._steps_with_skips(steps, context)
        rows = frames.transpose(0, 1)
        if self.batchwise:
            encoded = [self._encode(row) for row in rows]
            flat = torch.cat([h for h, _, _ in encoded])
            skips = [torch.cat(maps) for maps in zip(*(maps for _, maps, _ in encoded), strict=True)]
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
        start = state and repeat_rows(state.predictor, batch * samples)
        g, predictor_state = self.predictor(joined, start)

        images = None
        if decode:
            rolled, hoisted = g.unflatten(1, (batch, samples)), self.decoder.hoist(used)
            decoded = self._decode_one_by_one if self.batchwise else self._decode
            images = decoded(rolled, hoisted).permute(1, 2, 0, 3, 4, 5)
        return Observation(
            images,
            posterior and posterior.transpose(0, 1),
            prior and prior.transpose(0, 1),
            self._state_after(flat, skips, batch, posterior_state, prior_state, predictor_state),
        )

    def imagine(
        self,
        state: SVGState,
        horizon: int,
        noise: Float[Tensor, "B S {horizon} Z"] | None = None,
        tracks: Mapping[str, Tensor] | None = None,
        go_on: bool = True,
    ) -> Imagination[SVGState]:
        """As `VideoModel.imagine`; `go_on` encodes the last frame, too."""
        if noise is None:
            noise = state.features.new_zeros(state.features.shape[0], 1, horizon, 0)
        batch, samples = noise.shape[:2]
        assert noise.shape[2:] == (horizon, self.z_dim), (noise.shape, horizon, self.z_dim)
        rows, known = batch * samples, state.features.shape[0]
        if rows % known:
            raise InputError(f"the noise is of {batch} clips × {samples} samples, but the state has {known} rows.")
        noise = noise.to(state.features).flatten(0, 1)
        skips, used = state.skips, state.future_skips  # not repeated: their halves of the decoder are computed once
        features, prior_state, predictor_state = repeat_rows((state.features, state.prior, state.predictor), rows)

        hoisted = self.decoder.hoist(used)
        images: list[Tensor] = []
        priors: list[Gaussian] = []
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
            after = SVGState(state.posterior, prior_state, predictor_state, features, skips, used)
        prior = Gaussian(
            *(torch.stack(parts, dim=1).unflatten(0, (batch, samples)) for parts in zip(*priors, strict=True))
        )
        return Imagination(torch.stack(images, dim=1).unflatten(0, (batch, samples)), prior, after)

    def _step(
        self,
        features: Float[Tensor, "N G"],
        noise: Float[Tensor, "N Z"],
        hoisted: list[Float[Tensor, "_ _ _ _"]],
        prior_state: LSTMState | None,
        predictor_state: LSTMState,
    ) -> tuple[Float[Tensor, "N C H W"], Gaussian, LSTMState | None, LSTMState]:
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

    # --------------------------------------------------------------------------------------------------------- the loss

    def terms(
        self, clips: Clips | Frames[Tensor, "B T C H W"], noise: Float[Tensor, "B 1 steps Z"]
    ) -> dict[str, Float[Tensor, ""]]:
        """As `VideoModel.terms`, of the teacher-forced β-ELBO (paper, eq. 3).

        Returns:
            `mse`, the mean squared error per pixel, and `kl`, KL(q ‖ p) in nats, summed over Z.
        """
        frames = self.as_input(Clips.of(clips).frames)
        seen = self.observe(frames, noise, context=self.config.context)
        assert seen.frames is not None
        mse = (seen.frames[:, 0].to(frames.dtype) - frames[:, 1:]).square().mean()
        kl = mse.new_zeros(())
        if seen.posterior is not None and seen.prior is not None:
            kl = seen.posterior.kl(seen.prior).mean()
        return {"mse": mse, "kl": kl}

    # -------------------------------------------------------------------------------------------------------- private

    def _encode(
        self, frames: Float[Tensor, "N C H W"], first: int | None = None
    ) -> tuple[Float[Tensor, "N G"], list[Tensor], list[Tensor]]:
        """As `Encoder.forward`, with features as the LSTMs take them."""
        h, *skips = self.encoder(frames.to(self.encoder.dtype), first)
        return h.to(self.predictor.head.weight.dtype), *skips

    def _features(self, frames: Float[Tensor, "N C H W"]) -> Float[Tensor, "N G"]:
        """Frames (N, C, H, W) → features (N, G) alone."""
        return self._encode(frames)[0]

    def _decode(self, g: Float[Tensor, "T B S G"], hoisted: list[Tensor]) -> Float[Tensor, "T B S C H W"]:
        """g (T, B, S, G) → frames (T, B, S, C, H, W), as `Decoder.forward`."""
        return self.decoder(g.to(self.decoder.dtype), hoisted)

    def _decode_one_by_one(self, g: Float[Tensor, "T B S G"], hoisted: list[Tensor]) -> Float[Tensor, "T B S C H W"]:
        """As `_decode`, a step and a sample of all clips at a time: each has batch-norm statistics of its own."""
        steps, clips, samples, _ = g.shape
        images = []
        for t in range(steps):
            own = [maps[min(t * clips, len(maps) - clips) :][:clips] for maps in hoisted]
            images += [self._decode(g[t : t + 1, :, s : s + 1], own) for s in range(samples)]
        return torch.cat(images).unflatten(0, (steps, samples)).squeeze(3).transpose(1, 2)

    def _latents(
        self, before: Float[Tensor, "T B G"], after: Float[Tensor, "T B G"], state: SVGState | None
    ) -> tuple[Gaussian | None, LSTMState | None, Gaussian | None, LSTMState | None]:
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

    def _state_after(
        self,
        features: Float[Tensor, "rows G"],
        skips: list[Float[Tensor, "rows _ _ _"]],
        batch: int,
        posterior_state: LSTMState | None,
        prior_state: LSTMState | None,
        predictor_state: LSTMState,
    ) -> SVGState:
        last = features.shape[0] - batch  # where the rows of the last frame begin
        used = last - batch if self.config.future_skip == "second_last" and last else last
        # a slice would keep the maps of all frames in memory
        ends, chosen = ([skip[at : at + batch].clone() for skip in skips] for at in (last, used))
        return SVGState(posterior_state, prior_state, predictor_state, features[last:], ends, chosen)
