"""Videos in and out, with PyAV (FFmpeg) and Pillow.

Frames here are NumPy arrays, (H, W, C) uint8, as image libraries have them.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imageio.v3 as iio
import numpy as np
from PIL import Image

from stochvid.errors import InputError
from stochvid.files import replacing
from stochvid.io.containers import opened

if TYPE_CHECKING:
    import torch

LONGEST_STILL = 2_000  # ticks of a rate that one frame may fill

VARIABLE = 1.5  # frames that last so much longer than others are no constant rate (33 and 34 ms are)


@dataclass(frozen=True)
class VideoInfo:
    """What the header of a video says.

    Attributes:
        frames: about how many.
        height: of the stored frames, before a rotation.
        width: likewise.
        grey: whether it has no colour.
        fps: mean frames per second, None where it does not say.
    """

    frames: int
    height: int
    width: int
    grey: bool
    fps: float | None


@dataclass(frozen=True)
class Frame:
    """A decoded frame.

    Attributes:
        pixels: (H, W, C) uint8, C = 1 or 3, upright.
        time: seconds since the first frame.
    """

    pixels: np.ndarray
    time: float


# ---------------------------------------------------------------------------------------------------------------- in


def probe_video(path: Path, steady: bool = False) -> VideoInfo:
    """Reads the header of a video.

    Args:
        path: of the video.
        steady: whether it must have a constant rate; looked into only where the header lets one doubt it.

    Raises:
        InputError: it is no video, or of a variable rate.
    """
    with opened(path) as (container, stream):
        rate = stream.average_rate
        frames = stream.frames
        if not frames and rate:
            seconds = stream.duration * stream.time_base if stream.duration else (container.duration or 0) / 1e6
            frames = round(seconds * rate)
        if not frames:
            frames = sum(1 for packet in container.demux(stream) if packet.size)
        if steady and rate and stream.guessed_rate and abs(stream.guessed_rate / rate - 1) > 0.02:
            steps = _Steps(path)
            for stamp in sorted(packet.pts for packet in container.demux(stream) if packet.pts is not None):
                steps.add(float(stamp * stream.time_base))
        frames = max(1, min(frames, path.stat().st_size))  # a header may say anything; a frame takes a byte or more
        return VideoInfo(
            frames,
            stream.height,
            stream.width,
            (stream.codec_context.pix_fmt or "").startswith("gray"),
            float(rate) if rate else None,
        )


def decode_video(path: Path, threads: int | None = None) -> Iterator[Frame]:
    """Decodes a video from its start; 10-bit becomes 8-bit, rotated frames are turned upright.

    Args:
        path: of the video.
        threads: of the decoder (None: FFmpeg's choice).

    Raises:
        InputError: it is no video, breaks off, or changes its frame size.
    """
    from av.video.reformatter import VideoReformatter

    count, shape, start, end = 0, None, None, 0.0
    reformatter = VideoReformatter()  # kept, and with one thread: a new one for each frame takes 20 times as long
    with opened(path, lambda: count) as (container, stream):
        if threads is not None:
            stream.codec_context.thread_count = threads
        for frame in container.decode(stream):
            grey = frame.format.name.startswith("gray")
            pixels = reformatter.reformat(frame, format="gray" if grey else "rgb24", threads=1).to_ndarray()
            pixels = _upright(pixels.reshape(*pixels.shape[:2], -1), frame.rotation)
            if pixels.shape != (shape := shape or pixels.shape):
                raise InputError(f"clip {str(path)!r} changes its frame size at frame {count + 1}.")
            period = 1 / (stream.average_rate or 1)
            stamp = float(count * period) if frame.time is None else frame.time
            start = stamp if start is None else start
            end = stamp - start + float(frame.duration * frame.time_base if frame.duration else period)
            yield Frame(pixels, stamp - start)
            count += 1
        _check_end(path, container, stream, count, end)


def at_rate(frames: Iterable[Frame], fps: float, path: Path) -> Iterator[np.ndarray]:
    """Frames at a constant rate: at every tick of 1/fps, the one that is shown then.

    Raises:
        InputError: the times jump; or as `decode_video`.
    """
    ticks, shown, step = 0, None, 0.0
    for frame in frames:
        if shown is not None:
            step = frame.time - shown.time
        if step * fps > LONGEST_STILL:
            raise InputError(
                f"clip {str(path)!r} stands still for {step:.0f} s at {shown.time:.1f} s: its times are broken."
            )
        while shown is not None and ticks / fps < frame.time - 1e-6:
            yield shown.pixels
            ticks += 1
        shown = frame
    while shown is not None and (
        ticks == 0 or ticks / fps < shown.time + step - 1e-6
    ):  # the last lasts as the one before
        yield shown.pixels
        ticks += 1


def as_stored(frames: Iterable[Frame], path: Path) -> Iterator[np.ndarray]:
    """All frames as they come.

    Raises:
        InputError: the rate varies, so that equal steps in frames are not equal in time; or as `decode_video`.
    """
    steps = _Steps(path)
    for frame in frames:
        steps.add(frame.time)
        yield frame.pixels


class _Steps:
    """The shortest and the longest step in time between frames."""

    def __init__(self, path: Path):
        self.path, self.last, self.least, self.most = path, None, math.inf, 0.0

    def add(self, time: float) -> None:
        """The next frame's time.

        Raises:
            InputError: the rate varies.
        """
        if self.last is not None and (step := time - self.last) > 0:
            self.least, self.most = min(self.least, step), max(self.most, step)
            if self.most > VARIABLE * self.least + 2e-3:
                raise InputError(
                    f"clip {str(self.path)!r} has a variable frame rate: frames last {1000 * self.least:.0f} to "
                    f"{1000 * self.most:.0f} ms. Give --fps for a constant rate (and --overwrite, if there is "
                    "unfinished work)."
                )
        self.last = time


def _upright(pixels: np.ndarray, rotation: float) -> np.ndarray:
    """(H, W, C), turned as players show it."""
    quarters = round(rotation / 90) % 4  # counter-clockwise, as NumPy's
    return np.rot90(pixels, quarters) if quarters else pixels


def _check_end(path: Path, container: Any, stream: Any, count: int, end: float) -> None:
    """FFmpeg takes the end of a truncated file for the end of the video: compare with the header."""
    said, got, unit = 0.0, 0.0, "frames"
    if container.format.name == "avi":  # its duration is guessed from what is left of the file
        said, got = stream.frames, count
    elif stream.average_rate and (stream.duration or len(container.streams) == 1):
        seconds = stream.duration * stream.time_base if stream.duration else (container.duration or 0) / 1e6
        said, got, unit = float(seconds), end, "seconds"
    slack = 2 if unit == "frames" else 3 / float(stream.average_rate)
    if count and got < 0.95 * said - slack:
        raise InputError(
            f"clip {str(path)!r} is cut short: its header promises {said:.4g} {unit}, {got:.4g} can be decoded. "
            "Get the file again."
        )


# --------------------------------------------------------------------------------------------------------------- out


def to_bytes(frames: "torch.Tensor") -> np.ndarray:
    """Frames as uint8 on the CPU: float in [0, 1] is scaled and rounded, uint8 stays."""
    if frames.is_floating_point():
        frames = (frames.float().clamp(0, 1) * 255).round().byte()
    return frames.cpu().numpy()


def write_png(path: Path, pixels: np.ndarray) -> Path:
    """Writes one picture (H, W, 3) uint8."""
    with replacing(path) as temporary:
        Image.fromarray(pixels).save(temporary)
    return path


def write_gif(path: Path, frames: Iterable[np.ndarray], fps: float) -> Path:
    """Writes frames (H, W, 3) uint8 as an endless GIF that rests a second on its last frame."""
    frames = np.stack(list(frames))
    durations = [1000 / fps] * (len(frames) - 1) + [1000] if len(frames) > 1 else 1000
    with replacing(path) as temporary:
        iio.imwrite(temporary, frames, extension=".gif", plugin="pillow", duration=durations, loop=0)
    return path


def write_mp4(path: Path, frames: Iterable[np.ndarray], fps: float) -> Path:
    """Writes frames (H, W, 3) uint8 as H.264 that browsers play (even sides, yuv420p)."""
    from fractions import Fraction

    import av

    with replacing(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        stream = None
        for frame in frames:
            frame = np.pad(frame, ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)), mode="edge")
            if stream is None:
                rate = Fraction(fps).limit_denominator(1000)
                stream = container.add_stream("libx264", rate=rate, options={"crf": "18", "threads": "2"})
                stream.height, stream.width, stream.pix_fmt = *frame.shape[:2], "yuv420p"
            for packet in stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path
