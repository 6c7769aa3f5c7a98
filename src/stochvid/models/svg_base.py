"""The two verbs of SVG and SVG′: what both are, whether features and latents are vectors or maps.

Axes: those of `models/base.py`, and `G` features, which are (G,) or (G, h, w).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from stochvid.core.clips import ACTIONS, Clips
from stochvid.core.errors import InputError
from stochvid.core.shapes import Float, Frames
from stochvid.data.tracks import Track
from stochvid.model_configs import LatentConfig
from stochvid.models.action_input import ActionInput
from stochvid.models.backbones import Decoder, Encoder
from stochvid.models.base import VideoModel
from stochvid.models.compiling import compiled
from stochvid.models.composing import compose
from stochvid.models.conv_recurrent import ConvFramePredictor, GaussianConvLSTM
from stochvid.models.folding import fold_batch_norm, keep_batch_statistics
from stochvid.models.recurrent import FramePredictor, Gaussian, GaussianLSTM, LSTMState
from stochvid.models.state import Fit, Imagination, Observation, State, repeat_rows


@dataclass
class SVGState(State):
    """Everything that carries from one frame to the next. Rows: B clips, or B · S once samples differ.

    Attributes:
        posterior: LSTM state of the posterior (None without latents). `imagine` passes it on unchanged.
        prior: LSTM state of the learned prior (None without one).
        predictor: LSTM state of the frame predictor.
        features: h of the last frame, (rows, G) or (rows, G, h, w).
        skips: encoder skips of the last frame, finest first.
        future_skips: encoder skips that the future uses when the last frame ends the context.
        seen: how many frames `future_skips` are the mean of, (rows,); None where they are those of one frame.
        frame: the last frame, (rows, C, H, W); None where frames are not composed.
        given: the last given frame, likewise.
    """

    posterior: LSTMState | None
    prior: LSTMState | None
    predictor: LSTMState
    features: Float[Tensor, "rows G *cells"]
    skips: list[Float[Tensor, "_ _ _ _"]]
    future_skips: list[Float[Tensor, "_ _ _ _"]]
    seen: Float[Tensor, " rows"] | None = None
    frame: Float[Tensor, "rows C H W"] | None = None
    given: Float[Tensor, "rows C H W"] | None = None


class SVGBase(VideoModel[SVGState]):
    """Encoder, posterior, prior, frame predictor and decoder (SVG paper, fig. 2); a family builds them.

    Args:
        config: what to build.
    """

    config: LatentConfig
    encoder: Encoder
    decoder: Decoder
    predictor: FramePredictor | ConvFramePredictor
    posterior: GaussianLSTM | GaussianConvLSTM | None
    prior: GaussianLSTM | GaussianConvLSTM | None
    actions: ActionInput | None

    @property
    def has_places(self) -> bool:
        """Whether latents are maps, (Z, h, w), each cell of which stands for its part of the frame."""
        return len(self.latent_shape) == 3

    @property
    def row_bytes(self) -> int:
        """About how much memory a sample takes while it is rolled: the widest maps of a frame, some of them alive."""
        widest = self.config.image_size // (1 if self.config.backbone == "vgg" else 2)
        return 6 * 4 * self.config.base_channels * widest**2

    @property
    def dtype(self) -> torch.dtype:
        """Of the recurrent parts' states."""
        return self.predictor.head.weight.dtype

    def make_fast(self, dtype: torch.dtype | None, compile: bool, batch_statistics: bool) -> None:
        """Folds batch-norm, with its running statistics, away, unless that of the batch is asked for."""
        for part in (self.encoder, self.decoder):
            (keep_batch_statistics if batch_statistics else fold_batch_norm)(part)
            part.to(dtype or part.dtype)
        if compile:
            self._step = compiled(self._step)  # type: ignore[method-assign]  # on this copy alone
            self._features = compiled(self._features)  # type: ignore[method-assign]  # likewise

    def learn(self, tracks: Mapping[str, Track]) -> None:
        """As `VideoModel.learn`."""
        if self.actions is not None and (statistics := tracks[ACTIONS].statistics) is not None:
            self.actions.learn(statistics)

    def recompute(self, on: bool) -> None:
        """As `VideoModel.recompute`, in encoder and decoder."""
        self.encoder.recompute = self.decoder.recompute = on

    # -------------------------------------------------------------------------------------------------- the two verbs

    def observe(
        self,
        clips: Clips | Frames[Tensor, "B T C H W"],
        noise: Float[Tensor, "B S steps *latent"] | None = None,
        state: SVGState | None = None,
        context: int | None = None,
        decode: bool = True,
    ) -> Observation[SVGState]:
        """As `VideoModel.observe`; `context` decides which skips the steps after it share."""
        clips = Clips.of(clips)
        frames = self.as_input(clips.frames)
        batch = frames.shape[0]
        # rows are (T, B) inside: the frames of a step, and all frames up to one, are slices then, and never copied
        steps = frames.shape[1] - (state is None)
        own = batch * self._steps_with_skips(steps, context)
        rows = frames.transpose(0, 1)
        flat, skips, used = self._encode_steps(rows, own if state is None else None)
        if state is not None:  # the state's frame is frame 1: put it in front
            flat = torch.cat([state.features, flat])
            skips = [torch.cat(pair) for pair in zip(state.skips, skips, strict=True)]
            used = [skip[:own] for skip in skips]
        features = flat.unflatten(0, (-1, batch))
        actions = self._actions(clips.tracks, steps)
        before, after = self._joined(features[:-1], actions), self._joined(features[1:], actions)

        posterior, posterior_state, prior, prior_state = self._latents(before, after, state)
        latent, samples = None, 1
        if posterior is not None:
            latent = posterior.mean[:, :, None]
            if noise is not None:
                sampled = noise.movedim(2, 0).to(latent)
                latent = Gaussian(latent, posterior.log_var[:, :, None]).sample(sampled)
            samples = latent.shape[2]
        start = state and repeat_rows(state.predictor, batch * samples)
        g, predictor_state = self.predictor(before, latent, start)

        averaged, seen = self._averaged(used, batch, steps, state)
        images = None
        if decode:
            maps = self._decode_steps(g, self.decoder.hoist(averaged))
            images = self._drawn(maps, *self._known(rows, context, state)).permute(1, 2, 0, 3, 4, 5)
        posterior, prior = posterior and posterior.transpose(0, 1), prior and prior.transpose(0, 1)
        std_map = kl_map = None
        if posterior is not None and prior is not None and self.has_places:
            std_map, kl_map = prior.std.mean(2), posterior.divergence(prior).sum(2)
        after_all = self._state_after(flat, skips, averaged, seen, batch, posterior_state, prior_state, predictor_state)
        if self.config.composes:
            after_all.frame = after_all.given = rows[-1]
        return Observation(
            images,
            posterior,
            prior,
            after_all,
            std_map,
            kl_map,
        )

    def imagine(
        self,
        state: SVGState,
        horizon: int,
        noise: Float[Tensor, "B S {horizon} *latent"] | None = None,
        tracks: Mapping[str, Tensor] | None = None,
        go_on: bool = True,
    ) -> Imagination[SVGState]:
        """As `VideoModel.imagine`; `go_on` encodes the last frame, too."""
        if noise is None:
            noise = state.features.new_zeros(state.features.shape[0], 1, horizon, 0)
        batch, samples = noise.shape[:2]
        assert noise.shape[2:] == (horizon, *(self.latent_shape or (0,))), (noise.shape, horizon, self.latent_shape)
        rows, known = batch * samples, state.features.shape[0]
        if rows % known:
            raise InputError(f"the noise is of {batch} clips × {samples} samples, but the state has {known} rows.")
        noise = noise.to(state.features).flatten(0, 1)
        # not repeated for the samples: the skips' halves of the decoder are computed once
        skips, used, seen = state.skips, state.future_skips, state.seen
        features, prior_state, predictor_state, frame, given = repeat_rows(
            (state.features, state.prior, state.predictor, state.frame, state.given), rows
        )

        actions = self._actions(tracks, horizon)
        actions = None if actions is None else repeat_rows(actions.transpose(0, 1), rows).transpose(0, 1)
        hoisted = self.decoder.hoist(used)
        images: list[Tensor] = []
        priors: list[Gaussian] = []
        for t in range(horizon):
            if t and self.config.new_skips:
                features, skips, _ = self._encode(images[-1])
                used, seen = self._updated(used, skips, seen)
                hoisted = self.decoder.hoist(used)
            elif t:
                features = self._features(images[-1])
            action = None if actions is None else actions[t]
            image, p, prior_state, predictor_state = self._step(
                features, noise[:, t], hoisted, prior_state, predictor_state, frame, given, action
            )
            images.append(image)
            priors.append(p)
            frame = image if self.config.composes else None

        after = None
        if go_on:
            features, skips, _ = self._encode(images[-1])
            if self.config.new_skips:
                used, seen = self._updated(used, skips, seen)
            after = SVGState(state.posterior, prior_state, predictor_state, features, skips, used, seen, frame, given)
        prior = Gaussian(
            *(torch.stack(parts, dim=1).unflatten(0, (batch, samples)) for parts in zip(*priors, strict=True))
        )
        std_map = prior.std.mean(3) if self.has_places else None
        return Imagination(torch.stack(images, dim=1).unflatten(0, (batch, samples)), prior, after, std_map)

    def _step(
        self,
        features: Float[Tensor, "N G *cells"],
        noise: Float[Tensor, " N *latent"],
        hoisted: list[Float[Tensor, "_ _ _ _"]],
        prior_state: LSTMState | None,
        predictor_state: LSTMState,
        frame: Float[Tensor, "N C H W"] | None = None,
        given: Float[Tensor, "N C H W"] | None = None,
        action: Float[Tensor, "N A"] | None = None,
    ) -> tuple[Float[Tensor, "N C H W"], Gaussian, LSTMState | None, LSTMState]:
        """One step of the future: h and noise of N rows → frames (N, C, H, W), prior (N, *latent), new LSTM states.

        `frame` and `given` are the frame before and the last given one, where frames are composed; `action` is what led
        to the new frame, standardised.
        """
        before = self._joined(features[None], None if action is None else action[None])
        if self.prior is None:  # the fixed prior, N(0, I)
            p = Gaussian(torch.zeros_like(noise), torch.zeros_like(noise))
        else:
            p, prior_state = self.prior(before, prior_state)
            p = Gaussian(p.mean[0], p.log_var[0])
        z = p.sample(noise).to(features.dtype)[None, :, None] if self.stochastic else None
        g, predictor_state = self.predictor(before, z, predictor_state)
        clips = hoisted[0].shape[0]  # rows that share a skip
        maps = self._decode(g[:, :, 0].unflatten(1, (clips, -1)), hoisted)[0].flatten(0, 1)
        image = self._drawn(maps, frame, given)
        return image, p, prior_state, predictor_state

    # --------------------------------------------------------------------------------------------------------- the loss

    def fit(
        self,
        clips: Clips | Frames[Tensor, "B T C H W"],
        noise: Float[Tensor, "B 1 steps *latent"],
        feed_back: bool = False,
    ) -> Fit:
        """As `VideoModel.fit`, for the β-ELBO (SVG paper, eq. 3): teacher-forced unless frames are fed back."""
        clips, context = Clips.of(clips), self.config.context
        clips = clips._replace(frames=self.as_input(clips.frames))
        if feed_back and clips.frames.shape[1] > context:
            images, posterior, prior = self._fed_back(clips, noise, context)
        else:
            seen = self.observe(clips, noise, context=context)
            assert seen.frames is not None
            images, posterior, prior = seen.frames[:, 0], seen.posterior, seen.prior
        if posterior is None or prior is None:
            return Fit(images)
        return Fit(images, posterior.kl(prior, len(self.latent_shape)).mean())

    def _fed_back(
        self, clips: Clips, noise: Float[Tensor, "B 1 steps *latent"], context: int
    ) -> tuple[Float[Tensor, "B steps C H W"], Gaussian | None, Gaussian | None]:
        """Frames 2 … T, posterior and prior (B, T − 1, *latent): after the context, of frames that it made itself.

        The posterior reads true frames, all at once; prior and predictor read the model's own.
        """
        frames = clips.frames
        given = self.observe(clips.between(0, context), noise[:, :, : context - 1], context=context)
        actions = self._actions(clips.tracks, frames.shape[1] - context)
        assert given.frames is not None
        state, noise = given.state, noise[:, 0, context - 1 :]
        posterior, latents = None, None
        if self.posterior is not None:
            after = self._encode(frames[:, context:].transpose(0, 1).flatten(0, 1))[0]
            after = self._joined(after.unflatten(0, (-1, len(frames))), actions)
            posterior, _ = self.posterior(after, state.posterior)
            latents = posterior.sample(noise.transpose(0, 1).to(posterior.mean))
        features, skips, used, seen = state.features, state.skips, state.future_skips, state.seen
        prior_state, predictor_state, hoisted = state.prior, state.predictor, self.decoder.hoist(state.future_skips)
        frame = state.frame
        images, priors = list(given.frames[:, 0].unbind(1)), []
        for t in range(frames.shape[1] - context):
            if t:
                features, skips, _ = self._encode(images[-1])
                if self.config.new_skips:
                    used, seen = self._updated(used, skips, seen)
                    hoisted = self.decoder.hoist(used)
            before = self._joined(features[None], None if actions is None else actions[t : t + 1])
            if self.prior is not None:
                p, prior_state = self.prior(before, prior_state)
                priors.append(p)
            z = None if latents is None else latents[t][None, :, None].to(features.dtype)
            g, predictor_state = self.predictor(before, z, predictor_state)
            frame = self._drawn(self._decode(g, hoisted)[0, :, 0], frame, state.given)
            images.append(frame)
        if posterior is None or given.posterior is None:
            return torch.stack(images, 1), None, None

        def joined(first: Gaussian, then: Gaussian) -> Gaussian:  # (B, T', …) and (T″, B, …)
            then = then.transpose(0, 1)
            return Gaussian(torch.cat([first.mean, then.mean], 1), torch.cat([first.log_var, then.log_var], 1))

        zeros = torch.zeros_like(posterior.mean)
        prior = Gaussian(*map(torch.cat, zip(*priors, strict=True))) if priors else Gaussian(zeros, zeros)
        assert given.prior is not None
        return torch.stack(images, 1), joined(given.posterior, posterior), joined(given.prior, prior)

    # -------------------------------------------------------------------------------------------------------- private

    def _actions(self, tracks: Mapping[str, Tensor] | None, steps: int) -> Float[Tensor, "{steps} N A"] | None:
        """What led to the last frames, standardised; None of a model that is not driven by actions."""
        return None if self.actions is None else self.actions.given(tracks, steps).transpose(0, 1)

    def _joined(
        self, features: Float[Tensor, "T N G *cells"], actions: Float[Tensor, "T N A"] | None
    ) -> Float[Tensor, "T N _ *cells"]:
        """What the recurrent parts read of frames: their features, and what was done."""
        if self.actions is None or actions is None:
            return features
        return self.actions(features, actions)

    def _encode(
        self, frames: Float[Tensor, "N C H W"], first: int | None = None
    ) -> tuple[Float[Tensor, "N G *cells"], list[Tensor], list[Tensor]]:
        """As `Encoder.forward`, with features as the recurrent parts take them."""
        h, *skips = self.encoder(frames.to(self.encoder.dtype), first)
        return h.to(self.dtype), *skips

    def _encode_steps(
        self, rows: Float[Tensor, "T B C H W"], first: int | None
    ) -> tuple[Float[Tensor, "N G *cells"], list[Tensor], list[Tensor]]:
        """As `_encode`, of the frames of all steps."""
        return self._encode(rows.flatten(0, 1), first)

    def _features(self, frames: Float[Tensor, "N C H W"]) -> Float[Tensor, "N G *cells"]:
        """Frames (N, C, H, W) → features alone."""
        return self._encode(frames)[0]

    def _decode(self, g: Float[Tensor, "T B S G *cells"], hoisted: list[Tensor]) -> Float[Tensor, "T B S M H W"]:
        """g (T, B, S, …) → maps (T, B, S, C + more, H, W), as `Decoder.forward`."""
        return self.decoder(g.to(self.decoder.dtype), hoisted)

    def _decode_steps(self, g: Float[Tensor, "T B S G *cells"], hoisted: list[Tensor]) -> Float[Tensor, "T B S M H W"]:
        """As `_decode`, of an observed clip."""
        return self._decode(g, hoisted)

    def _drawn(
        self,
        maps: Float[Tensor, "*rows M H W"],
        before: Float[Tensor, "*_ C H W"] | None,
        given: Float[Tensor, "*_ C H W"] | None,
    ) -> Float[Tensor, "*rows C H W"]:
        """Frames of what the decoder gave: its colours, or what is composed by it.

        Args:
            maps: logits of the colours; or as `compose` takes them.
            before: the frames before, which samples share.
            given: the last given frames, likewise.
        """
        if not self.config.composes:
            return torch.sigmoid(maps)
        assert before is not None
        assert given is not None
        rows = maps.shape[:-3]
        return compose(maps, before.expand(*rows, *before.shape[-3:]), given.expand(*rows, *given.shape[-3:]))

    def _known(
        self, rows: Float[Tensor, "T B C H W"], context: int | None, state: SVGState | None
    ) -> tuple[Tensor | None, Tensor | None]:
        """What frames are composed of beside what is decoded: of every step the frame before, and the last given one.

        (T', B, 1, C, H, W) each; None where frames are not composed.
        """
        if not self.config.composes:
            return None, None
        before = rows[:-1]
        if state is not None:
            assert state.frame is not None
            before = torch.cat([state.frame[None], before])
        given = before if context is None else before[:context]  # the last of them stays so in the steps after
        given = torch.cat([given, given[-1:].expand(len(before) - len(given), *given.shape[1:])])
        return before[:, :, None], given[:, :, None]

    def _latents(
        self, before: Float[Tensor, "T B G *cells"], after: Float[Tensor, "T B G *cells"], state: SVGState | None
    ) -> tuple[Gaussian | None, LSTMState | None, Gaussian | None, LSTMState | None]:
        """Posterior and prior of every step, with their LSTM states, from h_{t-1} and h_t."""
        if self.posterior is None:
            return None, None, None, None
        posterior, posterior_state = self.posterior(after, state and state.posterior)
        if self.prior is None:
            zeros = torch.zeros_like(posterior.mean)
            return posterior, posterior_state, Gaussian(zeros, zeros), None
        prior, prior_state = self.prior(before, state and state.prior)
        return posterior, posterior_state, prior, prior_state

    # ------------------------------------------------------------------------------------------------- which skips

    def _steps_with_skips(self, steps: int, context: int | None) -> int:
        """How many steps have skips of their own; later steps share the last of these."""
        if context is None or self.config.new_skips:
            return steps
        return min(steps, context - (self.config.future_skip == "second_last"))

    def _averaged(
        self, skips: list[Float[Tensor, "N _ _ _"]], batch: int, steps: int, state: SVGState | None
    ) -> tuple[list[Float[Tensor, "N _ _ _"]], int]:
        """The skips that steps use, given those of the frames before them, rows (T', B); and how many are averaged.

        The running mean goes on from a state's, whose own frame is the first of these.
        """
        if self.config.future_skip != "mean":
            return skips, 0
        known = 0 if state is None or state.seen is None else round(state.seen[0].item()) - 1
        counts = torch.arange(known + 1, known + 1 + steps, device=skips[0].device)
        means = []
        for i, skip in enumerate(skips):
            totals = skip.unflatten(0, (-1, batch)).cumsum(0)
            if known and state is not None:
                totals = totals + (state.future_skips[i] * (known + 1) - state.skips[i])
            means.append((totals / counts.view(-1, 1, 1, 1, 1)).flatten(0, 1).to(skip.dtype))
        return means, known + steps

    @staticmethod
    def _updated(
        used: list[Float[Tensor, "_ _ _ _"]], skips: list[Float[Tensor, "N _ _ _"]], seen: Float[Tensor, " _"] | None
    ) -> tuple[list[Float[Tensor, "N _ _ _"]], Float[Tensor, " N"] | None]:
        """The skips that the next step uses: those of a new frame, or their running mean with those used so far."""
        if seen is None:
            return skips, None
        seen = repeat_rows(seen, len(skips[0])) + 1
        share = seen.reciprocal().view(-1, 1, 1, 1)
        pairs = zip(repeat_rows(used, len(skips[0])), skips, strict=True)
        return [torch.lerp(old, new, share.to(new.dtype)) for old, new in pairs], seen

    def _state_after(
        self,
        features: Float[Tensor, "rows G *cells"],
        skips: list[Float[Tensor, "rows _ _ _"]],
        averaged: list[Float[Tensor, "_ _ _ _"]],
        seen: int,
        batch: int,
        posterior_state: LSTMState | None,
        prior_state: LSTMState | None,
        predictor_state: LSTMState,
    ) -> SVGState:
        last = features.shape[0] - batch  # where the rows of the last frame begin
        used = last - batch if self.config.future_skip == "second_last" and last else last
        # a slice would keep the maps of all frames in memory
        ends, chosen = ([skip[at : at + batch].clone() for skip in skips] for at in (last, used))
        count = None
        if self.config.future_skip == "mean":
            count = features.new_full((batch,), seen + 1)
            if seen:
                chosen = [
                    torch.lerp(old[-batch:], new, 1 / (seen + 1)) for old, new in zip(averaged, ends, strict=True)
                ]
        return SVGState(posterior_state, prior_state, predictor_state, features[last:], ends, chosen, count)
