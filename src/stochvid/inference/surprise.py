"""When, and where, does a video do what nobody expects? KL(q ‖ p) and error of every frame, in constant memory.

Axes: `T` frames, `C H W` image, `h w` cells of the frame, where latents have a place in it.
"""

import csv
import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

from stochvid.command_options import takes
from stochvid.core.clips import FRAMES, Clips
from stochvid.core.errors import InputError
from stochvid.core.files import check_free, replacing_folder
from stochvid.core.threads import use_threads
from stochvid.data.clip_names import ClipName
from stochvid.inference.options import SurpriseOptions
from stochvid.inference.sources import ClipSource, open_source
from stochvid.inference.trained import Trained
from stochvid.media.clip import fit_frame
from stochvid.media.heat import heated, in_rgb
from stochvid.media.pictures import FPS, FuturesPicture
from stochvid.media.plots import plot_surprise
from stochvid.media.video import to_bytes
from stochvid.models.base import VideoModel

TABLE, PLOT, PICTURE, ARRAYS = "surprise.csv", "surprise.png", "maps.gif", "maps.npz"
AT_ONCE = 32  # frames
STRIP = 16  # frames in the filmstrip, at most twice as many are kept
MAPPED = 120  # frames in the pictures of where it was, at most twice as many are kept
SHOWN = 8  # peaks whose frames are shown
Kept = TypeVar("Kept")
OUTSTANDING = 6.0  # a peak stands so many robust standard deviations above the median


@takes(SurpriseOptions)
def surprise(options: SurpriseOptions) -> dict[str, np.ndarray]:
    """Measures how much each frame of a video surprises a model, and writes a table and a picture.

    KL(q(z_t | x_≤t) ‖ p(z_t | x_<t)) is how many nats the frame tells that its past did not; the reconstruction error
    is what even the posterior's mean cannot explain. The video is read frame by frame with the model's state handed on,
    so that its length does not matter. The first frames, as many as the context of training, are never peaks: a model
    that has seen no motion yet is always surprised.

    Args:
        options: `SurpriseOptions`, or their fields: the model, with latents, the video, the folder, and others by name.

    Returns:
        Columns of `surprise.csv`, (T − 1,) each: `frame` (from 2; frames count from 1), `seconds` (when the frame is
        shown, counted from the first; empty where that is unknown), `kl` (nats), `kl_smooth`, `mse`, `mse_smooth`,
        `peak` (bool).

    Raises:
        InputError: a model without latents, or a video that cannot be read or has a single frame.
    """
    o, called = options, ClipName.parse(options.video)
    use_threads(o.threads)
    out = Path(o.out or f"surprise/{called.label}")
    check_free(out, TABLE, o.overwrite)
    trained = Trained.open(o.model, o.device)
    network, how, config = trained.network.for_inference(), trained.preprocessing, trained.config
    if not network.stochastic:
        raise InputError(
            f"model {str(o.model)!r} is deterministic: it has no latents, and no KL to measure surprise with. "
            "Use one with a learned or a fixed prior."
        )
    fit, fps = o.fit or trained.fit, o.fps or how["fps"]
    source = open_source(
        called, trained.folder, config, 2, o.length, fps, how["stride"], o.limits, o.axes, how["range"]
    )
    frames = (fit_frame(frame, config.image_size, config.channels, fit) for frame in islice(source.frames, o.length))
    filmstrip = Filmstrip()
    config.check_tracks({name: track.shape[1:] for name, track in source.tracks.items()}, f"clip {called.text!r}")
    kl, mse = _sum_up(observe_pieces(network, frames, trained.device, source), filmstrip)
    if len(kl) == 0:
        raise InputError(f"video {called.text!r} has a single frame. Surprise needs two or more.")
    series = surprise_series(kl, mse, source.seconds, o.smooth, config.context)
    note = source.rate_note()
    if note:
        print(f"{note}. Seconds are the frames' own", flush=True)
    rate = ", variable frame rate" if note else f", {source.fps:g} frames/s" if source.fps else ""
    written = _write(out, series, filmstrip, source.name, f"{len(kl) + 1:,} frames{rate}", source.fps)
    _report(source.name, series)
    print(f"{out}: {', '.join(written)}")
    return series


class Told(NamedTuple):
    """A frame, (C, H, W) uint8, as it is explained, and KL of its cells, (h, w), where latents have a place."""

    frame: np.ndarray
    explained: np.ndarray
    kl_map: np.ndarray | None


class Evenly(Generic[Kept]):
    """Some of unknown many things, at equal distances.

    Args:
        most: at most twice so many are kept.

    Attributes:
        kept: the things, with their numbers, from 1.
        every: the distance between their numbers.
    """

    def __init__(self, most: int) -> None:
        self.most, self.kept, self.every = most, list[tuple[int, Kept]](), 1

    def add(self, number: int, thing: Kept) -> None:
        """Sees a thing; all numbers come, in order."""
        if (number - 1) % self.every == 0:
            self.kept.append((number, thing))
            if len(self.kept) > 2 * self.most:
                self.kept, self.every = self.kept[::2], 2 * self.every


class Filmstrip:
    """Frames that are kept of a video of unknown length: some at equal distances, and the most surprising ones."""

    def __init__(self) -> None:
        self.strip = Evenly[np.ndarray](STRIP)  # of frames (C, H, W) uint8
        self.told = Evenly[Told](MAPPED)
        self._highest: list[tuple[float, int, np.ndarray]] = []

    def add(self, number: int, frame: np.ndarray, surprise: float) -> None:
        """Sees a frame (C, H, W) uint8; frames count from 1."""
        self.strip.add(number, frame)
        heapq.heappush(self._highest, (surprise, number, frame))
        if len(self._highest) > 8 * SHOWN:
            heapq.heappop(self._highest)

    def frames(self, numbers: list[int]) -> list[tuple[int, np.ndarray]]:
        """Those of some frames that were kept as surprising, by number."""
        kept = {number: frame for _, number, frame in self._highest}
        return [(number, kept[number]) for number in numbers if number in kept]


@dataclass
class Piece:
    """Some frames of a video and what they told, frame by frame; the first frame of all told nothing.

    Attributes:
        frames: (T, C, H, W) uint8.
        explained: the frames as the posterior's mean explains them, (T', C, H, W) uint8; T' = T − 1 at the beginning.
        kl: nats, (T',) float64.
        mse: reconstruction error, (T',) float64.
        kl_map: nats of each cell, (T', h, w) float32, whose sum is `kl`; None where latents have no place.
    """

    frames: np.ndarray
    explained: np.ndarray
    kl: np.ndarray
    mse: np.ndarray
    kl_map: np.ndarray | None


def observe_pieces(
    network: VideoModel, frames: Iterator[np.ndarray], device: torch.device, source: ClipSource
) -> Iterator[Piece]:
    """Watches frames (C, H, W) uint8, some at once, with the model's state handed on.

    Args:
        network: with latents.
        frames: of the video, as the model takes them.
        device: of the network.
        source: of the frames, which knows their tracks.
    """
    state, read = None, 0
    while piece := list(islice(frames, AT_ONCE)):
        with torch.inference_mode():  # not around the yield: it would reach into whoever uses this
            batch = {FRAMES: np.stack(piece)} | source.tracks_of(read, read + len(piece))
            clips = Clips.of_batch({name: values[None] for name, values in batch.items()}).to(device)
            told = network.observe(clips, state=state)
            assert told.posterior is not None
            assert told.prior is not None
            assert told.frames is not None
            divergence = told.posterior.divergence(told.prior)[0]
            nats = divergence.flatten(1).sum(-1).double().cpu().numpy()
            cells = None if told.kl_map is None else told.kl_map[0].float().cpu().numpy()
            explained, known = told.frames[0, 0].float(), clips.frames[0, state is None :]
            error = (explained - known.float() / 255).square().mean((-1, -2, -3)).double().cpu().numpy()
            state, read = told.state, read + len(piece)
        yield Piece(np.stack(piece), to_bytes(explained), nats, error, cells)


def _sum_up(pieces: Iterator[Piece], filmstrip: Filmstrip) -> tuple[np.ndarray, np.ndarray]:
    """KL in nats and reconstruction MSE of frames 2 … T."""
    kl, mse, number = [np.empty(0)], [np.empty(0)], 0
    for piece in pieces:
        kl.append(piece.kl)
        mse.append(piece.mse)
        silent = len(piece.frames) - len(piece.kl)
        for frame, surprise in zip(piece.frames, [0.0] * silent + piece.kl.tolist(), strict=True):
            number += 1
            filmstrip.add(number, frame, surprise)
        for i, explained in enumerate(piece.explained):
            cells = None if piece.kl_map is None else piece.kl_map[i]
            filmstrip.told.add(number - len(piece.explained) + i, Told(piece.frames[silent + i], explained, cells))
    return np.concatenate(kl), np.concatenate(mse)


def surprise_series(
    kl: np.ndarray, mse: np.ndarray, seconds: np.ndarray | None, smooth: float, context: int
) -> dict[str, np.ndarray]:
    """The columns of `surprise.csv`, as `surprise` returns them.

    Args:
        kl: of frames 2 … T, (T − 1,) nats.
        mse: likewise.
        seconds: when all frames are shown, (T,); None: not known.
        smooth: as of `surprise`.
        context: frames that are no peaks.
    """
    series = {"frame": np.arange(2, len(kl) + 2)}
    series["seconds"] = np.full(len(kl), np.nan) if seconds is None else seconds[1:]
    for column, values in (("kl", kl), ("mse", mse)):
        smoothed = gaussian_filter1d(values, smooth, mode="nearest") if smooth else values
        series |= {column: values, f"{column}_smooth": smoothed}
    return series | {"peak": np.isin(np.arange(len(kl)), _peaks(kl, context))}


def _highest(series: dict[str, np.ndarray]) -> list[int]:
    """Places of the highest peaks, the highest first."""
    return sorted(np.flatnonzero(series["peak"]).tolist(), key=lambda i: -series["kl"][i])[:SHOWN]


def _report(name: str, series: dict[str, np.ndarray]) -> None:
    kl = series["kl"]
    peaks = f"{series['peak'].sum()} peak(s)"
    print(f"{name}: KL {kl.mean():.3g} nats a frame (median {np.median(kl):.3g}), {peaks}")
    for i in _highest(series):
        when = "" if np.isnan(series["seconds"][i]) else f" ({series['seconds'][i]:.2f} s)"
        print(f"  frame {series['frame'][i]}{when}: {kl[i]:.3g} nats, MSE {series['mse'][i]:.3g}")


def _peaks(kl: np.ndarray, context: int) -> np.ndarray:
    """Places of outstanding local maxima, after the context."""
    kl = kl.copy()
    usual = np.median(kl)
    kl[: context - 1] = usual
    deviation = 1.4826 * np.median(np.abs(kl - usual))  # σ of a Gaussian with this median absolute deviation
    height = usual + OUTSTANDING * max(deviation, 1e-3)
    return find_peaks(np.pad(kl, 1, constant_values=-np.inf), height=height, distance=2)[0] - 1


def write_table(path: Path, series: dict[str, np.ndarray]) -> Path:
    """Writes `surprise.csv`."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(series)
        for row in zip(*series.values(), strict=True):
            frame, seconds, *numbers, peak = row
            time = "" if np.isnan(seconds) else f"{seconds:.3f}"
            writer.writerow([frame, time, *(f"{value:.6g}" for value in numbers), int(peak)])
    return path


def _write(
    out: Path, series: dict[str, np.ndarray], filmstrip: Filmstrip, name: str, what: str, fps: float | None
) -> list[str]:
    peaks = np.flatnonzero(series["peak"])
    highest = sorted(series["frame"][_highest(series)].tolist())
    strip = filmstrip.strip.kept
    with replacing_folder(out) as folder:
        write_table(folder / TABLE, series)
        plot_surprise(
            folder / PLOT,
            series,
            peaks,
            strip[:: max(1, len(strip) // STRIP)],
            filmstrip.frames(highest),
            f"{name}: {what}",
        )
        _write_maps(folder, filmstrip.told, strip[0][1], name, fps)
        return sorted(path.name for path in folder.iterdir())


def _write_maps(folder: Path, told: Evenly[Told], first: np.ndarray, name: str, fps: float | None) -> None:
    """Where frames after the first were unexpected: an animation, and where latents have a place, KL of every cell."""
    frames, explained = (np.stack([getattr(x, field) for _, x in told.kept]) for field in ("frame", "explained"))
    error = np.square((frames.astype(np.float32) - explained) / 255).mean(1)
    rows = {"as explained": in_rgb(explained), "error": heated(frames, error, 0, float(error.max()))}
    maps = [x.kl_map for _, x in told.kept if x.kl_map is not None]
    if maps:
        cells = np.stack(maps)
        rows["KL"] = heated(frames, cells, 0, float(cells.max()))
        numbers = np.array([number + 1 for number, _ in told.kept])  # the first frame has no KL
        np.savez_compressed(folder / ARRAYS, frame=numbers, kl_map=cells)
    often = "" if told.every == 1 else f" (one frame of {told.every})"
    picture = FuturesPicture(
        in_rgb(first[None]), np.stack(list(rows.values())), in_rgb(frames), f"{name}{often}", list(rows),
        words=("video", "first", "explained"),
    )  # fmt: skip
    picture.write_gif(folder / PICTURE, min(max((fps or FPS) / told.every, 1.0), 30.0))
