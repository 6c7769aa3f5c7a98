"""Prediction for people: clips in, pictures and arrays of their futures out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stochvid.command_options import takes
from stochvid.core.clips import ACTIONS, FRAMES, Clips, events
from stochvid.core.devices import DTYPES, check_compiler, pick_device, pick_precision
from stochvid.core.errors import InputError
from stochvid.core.files import check_free, replacing, replacing_folder, writable_folder
from stochvid.core.threads import use_threads
from stochvid.data.clip_names import ClipName
from stochvid.inference.given_actions import actions_of_clip, read_actions
from stochvid.inference.options import PredictOptions
from stochvid.inference.sources import open_source
from stochvid.inference.trained import Trained
from stochvid.media.clip import Clip, fit_frames
from stochvid.media.heat import heated, in_rgb
from stochvid.media.pictures import FPS, FuturesPicture
from stochvid.media.plots import plot_uncertainty
from stochvid.media.video import to_bytes, write_png
from stochvid.model_configs import ModelConfig
from stochvid.models.base import VideoModel
from stochvid.models.state import Prediction

PICTURES = ("futures.gif", "futures.mp4", "strip.png")
MAPS = ("maps.gif", "maps.png")
ARRAYS = "futures.npz"
SHOWN = 11  # futures in a picture; the arrays hold all


@dataclass
class Job:
    """A clip that is ready for the model.

    Attributes:
        clip: as it was read, for its name, speed and tracks.
        context: (K, C, H, W) uint8.
        truth: (T', C, H, W) uint8, the frames after the context, perhaps none.
        folder: where its results go.
        plan: what leads to each frame to come, (S or 1, T, A); None: what the clip's track says.
    """

    clip: Clip
    context: np.ndarray
    truth: np.ndarray
    folder: Path
    plan: np.ndarray | None = None


@takes(PredictOptions)
def predict_clips(options: PredictOptions) -> list[Path]:
    """Draws futures of clips and writes them as GIF, MP4, PNG and NPZ, a folder for each clip.

    Everything that can be wrong with the input is found before anything is written.

    Args:
        options: `PredictOptions`, or their fields: the model, the clips, the folder, and others by name.

    Returns:
        The folders written, one for each clip.

    Raises:
        InputError: a model, clip, number or folder that does not work out.
    """
    o, place = options, pick_device(options.device)
    use_threads(o.threads)
    if o.compile:
        check_compiler(place, "--compile")
    names = [ClipName.parse(clip) for clip in o.clips]
    given = None if o.actions is None else read_actions(o.actions)
    trained = Trained.open(o.model, place)
    network = trained.network.for_inference(DTYPES[pick_precision(o.precision, place)], o.compile, o.batch_statistics)
    context = network.check_context(network.config.context if o.context is None else o.context, "--context")
    horizon = 2 * network.config.horizon if o.horizon is None else o.horizon
    if any(name.kind == "file" for name in names) and trained.knows_digits_alone:
        print(f"note: {o.model} was trained on moving digits alone; its futures of anything else mean nothing")
    jobs = list(_prepare(trained, names, o, given, context, horizon))
    if unlike := trained.unlike_actions([job.plan for job in jobs if job.plan is not None]):
        print(f"note: {unlike}", flush=True)
    for finding in chain(trained.findings, (trained.unlike(contexts_of([job], place), job.clip.name) for job in jobs)):
        if finding is not None:
            print(f"note: {finding}", flush=True)
    writable_folder(o.out)
    for job in jobs:
        check_free(job.folder, ARRAYS, o.overwrite)
    batch_size = len(jobs) if o.batch_statistics else 1
    for job, prediction in _predictions(network, jobs, batch_size, horizon, o.samples, o.seed, o.temperature):
        with replacing_folder(job.folder) as made:
            uncertain = ("uncertainty.png",) if network.stochastic else ()
            where = MAPS if network.stochastic and (o.samples > 1 or len(network.latent_shape) > 1) else ()
            for kind in (*PICTURES, *uncertain, *where, ARRAYS):
                write_result(made / kind, job, prediction, o.seed, o.temperature)
        print(f"  → {job.folder}: {', '.join(sorted(path.name for path in job.folder.iterdir()))}", flush=True)
    return [job.folder for job in jobs]


def _prepare(
    trained: Trained,
    names: Sequence[ClipName],
    options: PredictOptions,
    given: np.ndarray | str | None,
    context: int,
    horizon: int,
) -> Iterator[Job]:
    """Reads, checks and converts every clip, and says what was done to it; `given` are the actions asked for."""
    if given is not None and ACTIONS not in trained.config.tracks:
        raise InputError(
            f"model {trained.name!r} ({trained.config.kind}) is not driven by actions. Leave out --actions, or take a "
            "model that was trained with --model.action_dim."
        )
    config, how, o, taken = trained.config, trained.preprocessing, options, set()
    fit, fps, wanted = o.fit or trained.fit, o.fps or how["fps"], context + horizon
    limit, least = (None, 1) if o.start < 0 else (o.start + wanted, o.start + context)
    for called in names:
        opened = open_source(
            called, trained.folder, config, least, limit, fps, how["stride"], o.limits, o.axes, how["range"]
        ).start_at(o.start)
        clip = opened.read(wanted)
        if len(clip.frames) < context:
            given = f" from --start {o.start} on" if o.start else ""
            rate = f" at {clip.fps:g} frames/s (see --fps)" if clip.fps and fps else ""
            raise InputError(
                f"clip {called.text!r} has {len(clip.frames)} frame(s){given}{rate}, but the model is given {context}. "
                f"Use a longer clip or --context {len(clip.frames)}."
            )
        frames = fit_frames(clip, config.image_size, config.channels, fit)
        made = Clip(clip.name, frames.transpose(0, 2, 3, 1), clip.fps, times=clip.times)
        same = clip.frames.shape == made.frames.shape
        fitted = f", {fit}" if clip.frames.shape[1] != clip.frames.shape[2] else ""
        print(f"{called.text}: {clip}" + ("" if same else f" → {made}{fitted}"), flush=True)
        if note := opened.rate_note():
            print(note, flush=True)
        # two clips of one name from different folders get folders of their own
        numbered = (f"{clip.name}-{i}" for i in count(2))
        name = next(name for name in chain([clip.name], numbered) if name not in taken)
        taken.add(name)
        folder, what = Path(o.out, name), f"clip {called.text!r}"
        if given is None:
            check_tracks(clip, config, context, horizon, what)
            yield Job(clip, frames[:context], frames[context:], folder)
            continue
        size, known = config.tracks[ACTIONS][0], clip.tracks.get(ACTIONS)
        if known is not None and known.shape[1:] != (size,):
            config.check_tracks({ACTIONS: known.shape[1:]}, what)
        past, plan = actions_of_clip(given, known, size, context, horizon, o.samples, what)
        # what really happened came of other actions
        alone = replace(clip, frames=clip.frames[:context], tracks={ACTIONS: past})
        yield Job(alone, frames[:context], frames[context:context], folder, plan)


def check_tracks(clip: Clip, config: ModelConfig, context: int, horizon: int, what: str) -> None:
    """Checks that a clip has the tracks that a model needs, also of the frames to come.

    Raises:
        InputError: it has not.
    """
    config.check_tracks({name: track.shape[1:] for name, track in clip.tracks.items()}, what)
    known = len(clip.frames)
    if config.tracks and known < context + horizon:
        fix = "a longer clip" + (f", or a horizon of at most {known - context}" if known > context else "")
        raise InputError(
            f"{what} has {known} frames, and its track {min(config.tracks)!r} is known of no more; the model needs it "
            f"of all {context} + {horizon}. Use {fix}."
        )


def contexts_of(jobs: Sequence[Job], device: torch.device) -> Clips:
    """What the model is given of clips, one row each: their contexts, and their tracks as far as all of them go."""
    clips = [job.clip for job in jobs]
    shared = [name for name in clips[0].tracks if all(name in clip.tracks for clip in clips)]
    length = min(len(clip.frames) for clip in clips)
    batch = {name: np.stack([clip.tracks[name][:length] for clip in clips]) for name in shared}
    return Clips.of_batch({FRAMES: np.stack([job.context for job in jobs])} | batch).to(device)


def _predictions(
    network: VideoModel, jobs: Sequence[Job], batch_size: int, horizon: int, samples: int, seed: int, temperature: float
) -> Iterator[tuple[Job, Prediction]]:
    """Futures of every clip, (1, S, T, C, H, W), of so many clips at a time."""
    device = next(network.parameters()).device
    for first in range(0, len(jobs), batch_size):
        batch = jobs[first : first + batch_size]
        plans = [job.plan for job in batch if job.plan is not None]
        actions = torch.from_numpy(np.stack(plans)).to(device) if plans else None
        drawn = network.predict(
            contexts_of(batch, device), horizon, samples, seed, temperature=temperature, actions=actions
        )
        for i, job in enumerate(batch):
            one = slice(i, i + 1)
            yield job, Prediction(*(getattr(drawn, field.name)[one] for field in fields(Prediction)))


def write_result(path: Path, job: Job, prediction: Prediction, seed: int, temperature: float) -> Path:
    """Writes one of the files of a clip's folder, which one the name says.

    Args:
        path: futures.gif, futures.mp4, strip.png, uncertainty.png, maps.gif, maps.png or futures.npz, anywhere.
        job: the clip.
        prediction: of this clip alone, B = 1.
        seed: that it was drawn with.
        temperature: likewise.
    """
    futures, sigma = to_bytes(prediction.frames[0]), prediction.prior_std[0].float().cpu().numpy()
    fps = min(max(job.clip.fps or FPS, 1.0), 30.0)
    if path.name == ARRAYS:
        return _write_arrays(path, job, prediction, seed=seed, temperature=temperature)
    if path.name == "uncertainty.png":
        return plot_uncertainty(path, sigma, len(job.context), events(job.clip.tracks), job.clip.name)
    if path.name in MAPS:
        maps = _maps(job, futures, prediction.std_map[0].float().mean(0).cpu().numpy())
        return write_png(path, maps.strip()) if path.suffix == ".png" else maps.write_gif(path, fps)
    title = job.clip.name + (f" ({SHOWN} of {len(futures)} futures)" if len(futures) > SHOWN else "")
    picture = FuturesPicture(job.context, futures[:SHOWN], job.truth, title=title)
    if path.name == "strip.png":
        return write_png(path, picture.strip())
    return (picture.write_gif if path.suffix == ".gif" else picture.write_mp4)(path, fps)


def _maps(job: Job, futures: np.ndarray, cells: np.ndarray) -> FuturesPicture:
    """Where the future is open: how far futures (S, T, C, H, W) differ in each pixel, and σ of cells (T, h, w), if any.

    Both lie over the mean of the futures.
    """
    mean, rows = futures.mean(0).round().astype(np.uint8), {}
    spread = futures_std(futures)
    if len(futures) > 1:
        rows["spread"] = heated(mean, spread, 0, float(spread.max()))
    if cells.size:
        rows["prior σ"] = heated(mean, cells, float(cells.min()), float(cells.max()))
    rows = {"mean": in_rgb(mean)} | rows
    truth = in_rgb(job.truth) if len(job.truth) else None
    return FuturesPicture(in_rgb(job.context), np.stack(list(rows.values())), truth, job.clip.name, list(rows))


def futures_std(futures: np.ndarray) -> np.ndarray:
    """How far futures (S, T, C, H, W) uint8 differ in each pixel: standard deviation over them, (T, H, W) in [0, 0.5].

    Of several channels, the root of the mean variance.
    """
    return np.sqrt((futures.astype(np.float32) / 255).var(0).mean(1))


def _write_arrays(path: Path, job: Job, prediction: Prediction, **numbers: float) -> Path:
    arrays: dict[str, Any] = {"context": job.context, "truth": job.truth, "futures": to_bytes(prediction.frames[0])}
    for name in ("prior_mean", "prior_std", "latents"):
        arrays[name] = getattr(prediction, name)[0].float().cpu().numpy()
    if prediction.std_map.numel():
        arrays["std_map"] = prediction.std_map[0].cpu().numpy().astype(np.float16)
    arrays["futures_std"] = futures_std(arrays["futures"]).astype(np.float16)
    arrays |= job.clip.tracks
    if job.plan is not None:  # of a single plan (K + T, A), of several (S, K + T, A)
        known = np.broadcast_to(job.clip.tracks[ACTIONS], (len(job.plan), *job.clip.tracks[ACTIONS].shape))
        told = np.concatenate([known, job.plan], 1)
        arrays[ACTIONS] = told[0] if len(told) == 1 else told
    with replacing(path) as temporary:
        np.savez_compressed(temporary, **(arrays | numbers))
    return path
