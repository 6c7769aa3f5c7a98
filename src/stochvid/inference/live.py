"""A model that watches: frames come one at a time, and at any moment it says how surprised it is and what may come."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from stochvid.command_options import Precision
from stochvid.core.clips import ACTIONS, FRAMES, Clips
from stochvid.core.devices import DTYPES, pick_precision
from stochvid.core.errors import InputError
from stochvid.inference.trained import Trained
from stochvid.media.clip import Fit, fit_frame
from stochvid.media.frames import as_frames
from stochvid.models.base import VideoModel
from stochvid.models.state import Prediction


class Surprise(NamedTuple):
    """What a frame told.

    Attributes:
        frame: its number, from 1.
        kl: KL(q ‖ p), in nats: what it tells that its past did not.
        std: σ of the prior, a mean over latents: how uncertain the model was of it, before it came.
        mse: mean squared error per pixel of what the posterior's mean makes of it.
        kl_map: nats of each cell of the frame, (h, w), whose sum is `kl`; None where latents have no place.
    """

    frame: int
    kl: float
    std: float
    mse: float
    kl_map: np.ndarray | None


class Live:
    """Keeps a model's state while frames come, in constant memory, however many.

    The first frames, as many as the context of training, are seen together, as in training; what comes after is told
    of at once. Given frames take the posterior's mean, as in `VideoModel.observe` without noise.

    Args:
        model: as `stochvid.load` takes it, or a model itself.
        device: auto, cpu or cuda; a model itself stays where it is.
        fit: how frames become square: squash, crop or pad (None: as trained, of a model itself squash).
        context: frames that are seen together at first; None: as many as in training.
        precision: auto, fp32 or bf16, of encoder and decoder; auto is bf16 where the hardware computes it, None the
            model's own.

    Attributes:
        network: the model, as it is for inference.
        frames: how many came.
        state: of the model after the last of them; None before it has seen its context.

    Raises:
        InputError: there is no such model or device, or it needs tracks other than actions.

    Example:
        live = Live("one-digit")
        for frame in camera:
            told = live.see(frame)
            if told and told.kl > 20:
                futures = live.futures(horizon=10, samples=8)
    """

    def __init__(
        self,
        model: str | Path | VideoModel,
        *,
        device: str = "auto",
        fit: Fit | None = None,
        context: int | None = None,
        precision: Precision | None = None,
    ):
        if isinstance(model, VideoModel):
            network, self.device, self.fit = model, next(model.parameters()).device, fit or "squash"
        else:
            trained = Trained.open(model, device)
            network, self.device, self.fit = trained.network, trained.device, fit or trained.fit
        known = {name: shape for name, shape in network.config.tracks.items() if name == ACTIONS}
        network.config.check_tracks(known, "a live clip")
        self.action_dim = known[ACTIONS][0] if known else 0
        self.context = network.check_context(network.config.context if context is None else context)
        dtype = None if precision is None else DTYPES[pick_precision(precision, self.device)]
        self.network = network if network.frozen else network.for_inference(dtype)
        self.reset()

    def reset(self) -> None:
        """Forgets what it saw: the next frame is the first."""
        self.frames, self.state = 0, None
        self._first, self._done = list[np.ndarray](), list[np.ndarray]()

    def see(self, frame: np.ndarray, action: np.ndarray | None = None) -> Surprise | None:
        """Watches the next frame.

        Args:
            frame: (H, W) or (H, W, C) of any size: uint8, bool, or float in [0, 1].
            action: of a model that is driven by actions, what led to it, (A,); None of the first frame, and of other
                models.

        Returns:
            What it told; None for the first frames, as many as the context, and of a deterministic model.

        Raises:
            InputError: it is no frame, its channels cannot be converted, or the action does not fit. Nothing is
                forgotten then.
        """
        config, done = self.network.config, self._action(action)
        frame = np.asarray(frame)
        if frame.ndim not in (2, 3):
            raise InputError(f"a frame has shape {frame.shape}; expected (H, W) or (H, W, C).")
        axes = "THWC" if frame.ndim == 3 else "THW"
        fitted = fit_frame(as_frames(frame[None], axes=axes)[0], config.image_size, config.channels, self.fit)
        self.frames += 1
        self._first.append(fitted)
        self._done.append(done)
        if self.frames < self.context:
            return None
        batch = {FRAMES: np.stack(self._first)[None]}
        if self.action_dim:
            batch[ACTIONS] = np.stack(self._done)[None]
        self._first, self._done = [], []
        with torch.inference_mode():
            clips = Clips.of_batch(batch).to(self.device)
            told = self.network.observe(clips, state=self.state)
            self.state = told.state
            if self.frames == self.context or not self.network.stochastic:
                return None
            assert told.posterior is not None
            assert told.prior is not None
            assert told.frames is not None
            error = told.frames[0, 0, -1].float() - clips.frames[0, -1].float() / 255
            cells = None if told.kl_map is None else told.kl_map[0, -1].float().cpu().numpy()
            kl = told.posterior.divergence(told.prior)[0, -1].double().sum()
            std = told.prior.std[0, -1].double().mean()
            return Surprise(self.frames, kl.item(), std.item(), error.double().square().mean().item(), cells)

    def _action(self, action: np.ndarray | None) -> np.ndarray:
        """What led to the next frame, (A,) float32; zeros where nothing did."""
        if action is not None and not self.action_dim:
            raise InputError(f"the model ({self.network.config.kind}) is not driven by actions. Leave the action out.")
        if action is None and self.action_dim and self.frames:
            raise InputError("what led to the frame is missing: every frame but the first needs its action.")
        done = np.zeros(self.action_dim, np.float32) if action is None else np.asarray(action, np.float32)
        if done.shape != (self.action_dim,) or not np.isfinite(done).all():
            raise InputError(f"an action must be {self.action_dim} finite number(s), got {action!s:.80}.")
        return done

    @torch.inference_mode()
    def futures(
        self,
        horizon: int | None = None,
        samples: int = 5,
        seed: int = 0,
        temperature: float = 1.0,
        actions: Tensor | None = None,
    ) -> Prediction:
        """Draws what may come after the last frame.

        Args:
            horizon: frames to predict; None: as many as in training.
            samples: futures to draw.
            seed: of their latents, beside the number of the last frame.
            temperature: scale of σ, as in `VideoModel.predict`.
            actions: what would lead to each frame, (1, samples, horizon, A) or (1, 1, horizon, A), as there.

        Returns:
            As `VideoModel.predict`, of one clip: frames (1, samples, horizon, C, H, W).

        Raises:
            InputError: there were fewer frames than the context, or a number that does not work out.
        """
        config = self.network.config
        if self.state is None:
            raise InputError(f"futures need {self.context} frames, and {self.frames} came so far.")
        return self.network.predict_from(
            self.state,
            config.horizon if horizon is None else horizon,
            samples,
            seed,
            clip_id=self.frames,
            temperature=temperature,
            actions=actions,
        )
