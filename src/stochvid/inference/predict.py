"""Prediction for people: clips in, pictures and arrays of their futures out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import chain, count
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from stochvid.config import TRAINING, load_config
from stochvid.core.clips import FRAMES, Clips, events
from stochvid.core.devices import DTYPES, Precision, check_compiler, pick_device, pick_precision
from stochvid.core.errors import InputError
from stochvid.core.files import check_free, replacing, replacing_folder, writable_folder
from stochvid.data.store import is_store
from stochvid.inference.sources import MOVING_MNIST, open_source
from stochvid.media.axes import check_axes
from stochvid.media.clip import Clip, Fit, fit_frames
from stochvid.media.pictures import FPS, FuturesPicture
from stochvid.media.plots import plot_uncertainty
from stochvid.media.values import Range, check_range
from stochvid.media.video import to_bytes, write_png
from stochvid.model_configs import ModelConfig
from stochvid.models.base import VideoModel
from stochvid.models.noise import check_temperature
from stochvid.models.pretrained import find_model
from stochvid.models.state import Prediction
from stochvid.training.runs import seen_clips

PICTURES = ("futures.gif", "futures.mp4", "strip.png")
ARRAYS = "futures.npz"
MOST_FRAMES = 10**9  # of a clip: a year of video
SHOWN = 11  # futures in a picture; the arrays hold all


@dataclass
class Job:
    """A clip that is ready for the model.

    Attributes:
        clip: as it was read, for its name, speed and tracks.
        context: (K, C, H, W) uint8.
        truth: (T', C, H, W) uint8, the frames after the context, perhaps none.
        folder: where its results go.
    """

    clip: Clip
    context: np.ndarray
    truth: np.ndarray
    folder: Path


def predict_clips(
    model: str,
    clips: Sequence[str],
    out: str | Path,
    *,
    start: int = 0,
    context: int | None = None,
    horizon: int | None = None,
    samples: int = 5,
    seed: int = 0,
    temperature: float = 1.0,
    fit: Fit | None = None,
    fps: float | None = None,
    range: Range = None,
    axes: str | None = None,
    device: str = "auto",
    precision: Literal["auto"] | Precision = "fp32",
    compile: bool = False,
    batch_statistics: bool = False,
    overwrite: bool = False,
) -> list[Path]:
    """Draws futures of clips and writes them as GIF, MP4, PNG and NPZ, a folder for each clip.

    Everything that can be wrong with the input is found before anything is written.

    Args:
        model: as `stochvid.load` takes it.
        clips: as `read_clip` takes them; or `STORE:NUMBER`, a clip that a prepared store holds out; or
            `moving-mnist:SEED`, held-out digits.
        out: folder for the results.
        start: the first frame to give, counted from 0; negative: from the end, so that −K gives the last K.
        context: frames to give; None: as trained.
        horizon: frames to predict; None: twice as trained.
        samples: futures of each clip.
        seed: of the latents.
        temperature: scale of the latents' σ in the future; 1: as trained.
        fit: how frames of another shape become square; None: as in training, else squash.
        fps: take the frames of videos at this rate; None: as in training, else as they come.
        range: as `read_clip` takes it; None: as in training, where values have more than 8 bits.
        axes: as `read_clip` takes it.
        device: auto, cpu or cuda.
        precision: of the model, fp32, bf16 or auto: bf16 where the hardware computes it.
        compile: compile the steps of the future.
        batch_statistics: take batch-norm statistics of all clips together, as the published code of SVG-LP does.
        overwrite: replace earlier results of the same names.

    Returns:
        The folders written, one for each clip.

    Raises:
        InputError: a model, clip, number or folder that does not work out.
    """
    place = pick_device(device)
    if compile:
        check_compiler(place, "--compile")
    folder = find_model(model)
    network = VideoModel.from_pretrained(folder, device=place)
    network = network.for_inference(DTYPES[pick_precision(precision, place)], compile, batch_statistics)
    config = network.config
    context = config.context if context is None else context
    horizon = 2 * config.horizon if horizon is None else horizon
    network.check_context(context, "--context")
    for name, value in (("--horizon", horizon), ("--samples", samples)):
        if value < 1:
            raise InputError(f"{name} must be at least 1, got {value}.")
    if abs(start) > MOST_FRAMES:
        raise InputError(f"--start must be from -{MOST_FRAMES:,} to {MOST_FRAMES:,}, got {start:,}.")
    check_temperature(temperature)
    if fps is not None and fps <= 0:
        raise InputError(f"--fps must be above 0, got {fps:g}.")
    range, axes = check_range(range), check_axes(axes)
    if not clips:
        raise InputError(
            "no clip was given. Name a video, a folder of frames, .npy, .npz, STORE:NUMBER or moving-mnist:SEED."
        )
    if batch_statistics and len(clips) < 2:
        raise InputError("--batch-statistics are those of two clips or more, and one was given. Name more clips.")
    seen = seen_clips(folder)
    fit = fit or ("crop" if seen["crop"] == "centre" else "squash")
    fps = fps or seen["fps"]
    foreign = [
        clip for clip in clips if not clip.startswith(MOVING_MNIST) and not is_store(clip.rpartition(":")[0] or clip)
    ]
    if foreign and _knows_digits_alone(folder):
        print(f"note: {model} was trained on moving digits alone; what it makes of anything else tells nothing")
    jobs = list(_prepare(network, folder, clips, Path(out), context, horizon, fit, fps, start, range, axes, seen))
    writable_folder(out)
    for job in jobs:
        check_free(job.folder, ARRAYS, overwrite)
    together = len(jobs) if batch_statistics else 1
    for job, prediction in _predictions(network, jobs, together, horizon, samples, seed, temperature):
        with replacing_folder(job.folder) as made:
            for kind in PICTURES + (("uncertainty.png",) if network.stochastic else ()) + (ARRAYS,):
                write_result(made / kind, job, prediction, seed, temperature)
        print(f"  → {job.folder}: {', '.join(sorted(path.name for path in job.folder.iterdir()))}", flush=True)
    return [job.folder for job in jobs]


def _knows_digits_alone(model: Path) -> bool:
    return (model / TRAINING).is_file() and load_config(model / TRAINING).data.store is None


def _prepare(
    network: VideoModel,
    model: Path,
    clips: Sequence[str],
    out: Path,
    context: int,
    horizon: int,
    fit: Fit,
    fps: float | None,
    start: int,
    range: Range,
    axes: str | None,
    seen: dict[str, Any],
) -> Iterator[Job]:
    """Reads, checks and converts every clip, and says what was done to it."""
    config, names = network.config, set()
    for source in clips:
        wanted = context + horizon
        limit, least = (None, 1) if start < 0 else (start + wanted, start + context)
        opened = open_source(source, model, config, least, limit, fps, seen["stride"], range, axes, seen["range"])
        opened = opened.start_at(start)
        clip = opened.read(wanted)
        if len(clip.frames) < context:
            given = f" from --start {start} on" if start else ""
            rate = f" at {clip.fps:g} frames/s (see --fps)" if clip.fps and fps else ""
            raise InputError(
                f"clip {source!r} has {len(clip.frames)} frame(s){given}{rate}, but the model is given {context}. Use "
                f"a longer clip or --context {len(clip.frames)}."
            )
        frames = fit_frames(clip, config.image_size, config.channels, fit)
        made = Clip(clip.name, frames.transpose(0, 2, 3, 1), clip.fps, times=clip.times)
        same = clip.frames.shape == made.frames.shape
        how = f", {fit}" if clip.frames.shape[1] != clip.frames.shape[2] else ""
        print(f"{source}: {clip}" + ("" if same else f" → {made}{how}"), flush=True)
        if note := opened.rate_note():
            print(note, flush=True)
        # two clips of one name from different folders get folders of their own
        numbered = (f"{clip.name}-{i}" for i in count(2))
        name = next(name for name in chain([clip.name], numbered) if name not in names)
        names.add(name)
        check_tracks(clip, config, context, horizon, f"clip {source!r}")
        yield Job(clip, frames[:context], frames[context:], out / name)


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
    network: VideoModel, jobs: Sequence[Job], together: int, horizon: int, samples: int, seed: int, temperature: float
) -> Iterator[tuple[Job, Prediction]]:
    """Futures of every clip, (1, S, T, C, H, W), of so many clips at a time."""
    device = next(network.parameters()).device
    for first in range(0, len(jobs), together):
        batch = jobs[first : first + together]
        drawn = network.predict(contexts_of(batch, device), horizon, samples, seed, temperature=temperature)
        for i, job in enumerate(batch):
            one = slice(i, i + 1)
            yield job, Prediction(*(getattr(drawn, field.name)[one] for field in fields(Prediction)))


def write_result(path: Path, job: Job, prediction: Prediction, seed: int, temperature: float) -> Path:
    """Writes one of the files of a clip's folder, which one the name says.

    Args:
        path: futures.gif, futures.mp4, strip.png, uncertainty.png or futures.npz, anywhere.
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
    title = job.clip.name + (f" ({SHOWN} of {len(futures)} futures)" if len(futures) > SHOWN else "")
    picture = FuturesPicture(job.context, futures[:SHOWN], job.truth, title=title)
    if path.name == "strip.png":
        return write_png(path, picture.strip())
    return (picture.write_gif if path.suffix == ".gif" else picture.write_mp4)(path, fps)


def _write_arrays(path: Path, job: Job, prediction: Prediction, **numbers: float) -> Path:
    arrays: dict[str, Any] = {"context": job.context, "truth": job.truth, "futures": to_bytes(prediction.frames[0])}
    for name in ("prior_mean", "prior_std", "latents"):
        arrays[name] = getattr(prediction, name)[0].float().cpu().numpy()
    arrays |= job.clip.tracks
    with replacing(path) as temporary:
        np.savez_compressed(temporary, **(arrays | numbers))
    return path
