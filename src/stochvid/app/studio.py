"""What the page does, without the page: futures, branches and surprise, in steps between which it can be stopped.

Nothing is kept here but the model, so visitors cannot meet. Axes as in `models/svg.py`.
"""

import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from stochvid.config import DataConfig
from stochvid.core.clips import ACTIONS
from stochvid.core.errors import InputError
from stochvid.data.places import find_store
from stochvid.data.store import Store
from stochvid.evaluation.findings import unlike
from stochvid.evaluation.health import Health, given_of
from stochvid.inference.given_actions import actions_of_clip
from stochvid.inference.predict import Job, check_tracks, contexts_of
from stochvid.inference.sources import ClipSource, shown_split
from stochvid.inference.surprise import observe_pieces, surprise_series
from stochvid.inference.trained import Trained
from stochvid.media.clip import Clip, Fit
from stochvid.media.video import to_bytes
from stochvid.model_configs import ModelConfig
from stochvid.models.base import VideoModel
from stochvid.models.noise import Branch
from stochvid.models.state import Prediction

# Futures that are rolled at once, always so many, even if fewer are wanted: products of another shape are rounded in
# another way, and the same settings shall show the same futures. Between them, work can be stopped.
AT_ONCE = 4


@dataclass(frozen=True)
class Studio:
    """A model, ready for the page.

    Attributes:
        name: what people call it.
        folder: where it lies.
        network: a copy for inference.
        device: of the network.
        preprocessing: how its clips were made (`runs.read_preprocessing`).
        fit: how frames of another shape become square: as in training.
        summary: what it is, in a line.
        store: the store that it was trained on, if that is here; None: digits.
        trained: how its training was set up; None: it does not say.
        health: what its futures of held-out clips are worth; None: nobody has measured it.
        findings: what is wrong with it, a sentence each.
    """

    name: str
    folder: Path
    network: VideoModel
    device: torch.device
    preprocessing: dict[str, Any]
    fit: Fit
    summary: str
    store: Store | None = None
    trained: DataConfig | None = None
    health: Health | None = None
    findings: tuple[str, ...] = ()

    @classmethod
    def open(cls, model: str, device: str = "auto") -> Self:
        """Loads a model, as `stochvid.load` takes it.

        Raises:
            InputError: it cannot be loaded, or there is no such device.
        """
        trained = Trained.open(model, device)
        folder, summary, store = trained.folder, trained.network.summary, None
        data = trained.training.data if trained.training else None
        if data and data.store:
            try:
                store = Store(find_store(data.store, folder, "--data"))
            except InputError:
                name = Path(data.store).name
                summary += f", trained on clips of {name!r}, which are not here: digits tell nothing of it"
        network = trained.network.for_inference()
        found = tuple(finding.text for finding in trained.findings)
        how, fit, health = trained.preprocessing, trained.fit, trained.health
        return cls(trained.label, folder, network, trained.device, how, fit, summary, store, data, health, found)

    def unlike(self, job: Job) -> str:
        """A sentence where a clip is unlike those that it was trained on; else nothing."""
        if self.health is None:
            return ""
        given = given_of(self.network, contexts_of([job], self.device))
        found = unlike(self.health, given, "This clip")
        return "" if found is None else f" {found}"

    def without_paths(self, text: str) -> str:
        """A text for visitors: names in place of where things lie on this machine."""
        told = {str(self.folder)} | ({str(self.store.path)} if self.store else set())
        if self.trained:
            told |= {path for path in (self.trained.store, self.trained.mnist) if path}
        for path in sorted(told | {str(Path(path).resolve()) for path in told}, key=len, reverse=True):
            if os.sep in path:
                text = text.replace(path, Path(path).name)
        return text

    @property
    def held_out(self) -> int:
        """How many clips of its store are held out; 0: it has none."""
        return 0 if self.store is None else len(self.store.splits[shown_split(self.store)].names)

    @property
    def least_context(self) -> int:
        """How many frames it must be given."""
        return self.network.config.least_context


@dataclass(frozen=True)
class FuturesSettings:
    """The numbers that futures are drawn with; see `VideoModel.predict`.

    Actions, of models that are driven by them, are hold or zero, or a row for each frame to come, (T, A), or also for
    the given frames after the first; None: what was done in the clip.
    """

    context: int
    horizon: int
    futures: int
    seed: int
    temperature: float = 1.0
    branch: Branch | None = None
    actions: np.ndarray | str | None = None


def new_id() -> str:
    """A name that nothing else has."""
    return secrets.token_urlsafe(12)


@dataclass
class Futures:
    """Futures that a visitor looks at.

    Attributes:
        job: the clip.
        settings: what they were drawn with.
        prediction: B = 1, on the CPU, frames uint8.
        id: that no other has, of this server or another; copies keep it.
    """

    job: Job
    settings: FuturesSettings
    prediction: Prediction
    id: str = field(default_factory=new_id)

    def branch(self, sample: int, frames: int) -> Branch:
        """One of them, to be followed for its first frames.

        Raises:
            InputError: there is no such future, or it is not that long.
        """
        w = self.settings
        if not (0 <= sample < w.futures and 0 <= frames < w.horizon):
            raise InputError(
                f"There is no future {sample + 1} of which {frames} frames could be followed: there are {w.futures} of "
                f"{w.horizon} frames, and one must be left to draw."
            )
        return Branch(w.seed, sample, frames, w.temperature, w.branch)


def make_job(source: ClipSource, frames: Sequence[np.ndarray], context: int) -> Job:
    """A clip for the model, from its first frames (C, H, W) uint8.

    Raises:
        InputError: there are too few.
    """
    if len(frames) < context:
        raise InputError(
            f"{source.name!r} has {len(frames)} frame(s), but {context} are to be given. Use a longer clip, or give "
            "fewer frames."
        )
    pixels = np.stack(frames)
    clip = Clip(source.name, pixels.transpose(0, 2, 3, 1), source.fps, source.tracks_of(0, len(frames)))
    return Job(clip, pixels[:context], pixels[context:], Path(source.name))


def driven(job: Job, settings: FuturesSettings, config: ModelConfig) -> Job:
    """A clip whose future comes of other actions than those in it: what happened there is no truth of it.

    Raises:
        InputError: the actions do not fit the model or the clip.
    """
    clip, what = job.clip, repr(job.clip.name)
    if ACTIONS not in config.tracks:
        raise InputError(f"the model ({config.kind}) is not driven by actions. Leave the actions out.")
    size, known = config.tracks[ACTIONS][0], clip.tracks.get(ACTIONS)
    if known is not None and known.shape[1:] != (size,):
        config.check_tracks({ACTIONS: known.shape[1:]}, what)
    assert settings.actions is not None
    past, plan = actions_of_clip(
        settings.actions, known, size, settings.context, settings.horizon, settings.futures, what
    )
    alone = replace(clip, frames=clip.frames[: settings.context], tracks={ACTIONS: past})
    return replace(job, clip=alone, truth=job.truth[:0], plan=plan.astype(np.float32))


def draw_futures(
    studio: Studio, job: Job, settings: FuturesSettings, parents: Futures | None = None
) -> Iterator[int | Futures]:
    """Draws futures a few at a time: gives how many there are so far, and all of them in the end.

    Args:
        studio: the model.
        job: the clip.
        settings: what to draw.
        parents: the shown futures that a branch is one of: as far as it is followed, it is shown again as it was.
    """
    config, plan = studio.network.config, None
    if settings.actions is None:
        check_tracks(job.clip, config, settings.context, settings.horizon, repr(job.clip.name))
    else:
        job = driven(job, settings, config)
        assert job.plan is not None
        plan = torch.from_numpy(job.plan[None]).to(studio.device)
    if not studio.network.stochastic:
        settings = replace(settings, futures=1)  # all would be this one
    context, parts = contexts_of([job], studio.device), []
    for first in range(0, settings.futures, AT_ONCE):
        drawn = studio.network.predict(
            context,
            settings.horizon,
            AT_ONCE,
            settings.seed,
            first_sample=first,
            chunk=AT_ONCE,
            temperature=settings.temperature,
            branch=settings.branch,
            actions=plan,
        )
        parts.append(replace(drawn, frames=torch.from_numpy(to_bytes(drawn.frames))))
        yield min(first + AT_ONCE, settings.futures)
    joined = (torch.cat([getattr(part, f.name).cpu() for part in parts], dim=1) for f in fields(Prediction))
    values = [value[:, : settings.futures] for value in joined]
    if settings.branch and parents:
        sample, frames = settings.branch.sample, settings.branch.frames
        for value, field in zip(values, fields(Prediction), strict=True):
            value[:, :, :frames] = getattr(parents.prediction, field.name)[:, sample : sample + 1, :frames]
    yield Futures(job, settings, Prediction(*values))


@dataclass
class SurpriseResult:
    """A video and how much each of its frames surprised the model.

    Attributes:
        name: of the video.
        frames: (T, C, H, W) uint8.
        explained: frames 2 … T as the posterior's mean explains them, (T − 1, C, H, W) uint8.
        series: the columns of `surprise.csv`.
        tracks: what else is known of every frame, by name, (T, …).
        fps: frames per second, None where it is not known.
        kl_map: nats of each cell of frames 2 … T, (T − 1, h, w); None where latents have no place.
        id: as of `Futures`.
    """

    name: str
    frames: np.ndarray
    explained: np.ndarray
    series: dict[str, np.ndarray]
    tracks: dict[str, np.ndarray]
    fps: float | None
    kl_map: np.ndarray | None
    id: str = field(default_factory=new_id)


def watch(
    studio: Studio, source: ClipSource, frames: Iterator[np.ndarray], smooth: float
) -> Iterator[int | SurpriseResult]:
    """Watches a video a few frames at a time: gives how many it has seen so far, and what they told in the end.

    Args:
        studio: the model.
        source: of the frames.
        frames: (C, H, W) uint8 each.
        smooth: as of `stochvid surprise`.

    Raises:
        InputError: the model has no latents, or the video a single frame.
    """
    if not studio.network.stochastic:
        raise InputError(
            "This model has no latents, so there is nothing to measure surprise with. Use one with a prior."
        )
    shapes = {name: track.shape[1:] for name, track in source.tracks.items()}
    studio.network.config.check_tracks(shapes, repr(source.name))
    pieces, read = [], 0
    for piece in observe_pieces(studio.network, frames, studio.device, source):
        pieces.append(piece)
        read += len(piece.frames)
        yield read
    if read < 2:
        raise InputError(f"{source.name!r} has {read} frame(s). Surprise needs two or more.")
    shown, explained, kl, mse = (
        np.concatenate([getattr(p, f) for p in pieces]) for f in ("frames", "explained", "kl", "mse")
    )
    series = surprise_series(kl, mse, source.seconds, smooth, studio.network.config.context)
    maps = [piece.kl_map for piece in pieces if piece.kl_map is not None]
    kl_map = np.concatenate(maps) if maps else None
    yield SurpriseResult(source.name, shown, explained, series, source.tracks_of(0, read), source.fps, kl_map)
