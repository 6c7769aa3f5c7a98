"""Videos in and out, with PyAV (FFmpeg) and Pillow.

Frames here are NumPy arrays, (H, W, C) uint8, as image libraries have them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imageio.v3 as iio
import numpy as np
from PIL import Image

from stochvid.core.errors import InputError
from stochvid.core.files import replacing
from stochvid.media.containers import moving_pictures, opened, picture_decoder
from stochvid.media.pixels import Developer, is_grey
from stochvid.media.times import Clock, Frame, Pace, Timed, noting_pace, packet_pace
from stochvid.media.whole import check_whole

if TYPE_CHECKING:
    import torch

LONGEST_STILL = 20_000  # ticks of a rate that one frame may fill


@dataclass(frozen=True)
class VideoInfo:
    """What the header of a video says.

    Attributes:
        frames: about how many.
        height: of the stored frames, before a rotation.
        width: likewise.
        grey: whether it has no colour.
        fps: mean frames per second, None where it does not say.
        pace: how evenly frames follow each other, if the header lets one doubt that it is evenly.
        note: which of several streams of pictures is taken.
    """

    frames: int
    height: int
    width: int
    grey: bool
    fps: float | None
    pace: Pace | None = None
    note: str = ""


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
        rate, pace = stream.average_rate or stream.guessed_rate, None
        frames = stream.frames
        if not frames and rate:
            seconds = stream.duration * stream.time_base if stream.duration else (container.duration or 0) / 1e6
            frames = round(seconds * rate)
        if rate and stream.guessed_rate and abs(stream.guessed_rate / rate - 1) > 0.02:
            pace = packet_pace(container, stream)
            rate = pace.mean or rate
            if steady and pace.varies:
                raise variable(path, pace)
        elif not frames:
            frames = sum(1 for packet in container.demux(stream) if packet.size)
        frames = max(1, min(frames, path.stat().st_size))  # a header may say anything; a frame takes a byte or more
        size = stream.height, stream.width
        grey, fps = is_grey(stream.codec_context.pix_fmt), float(rate) if rate else None
        return VideoInfo(frames, *size, grey, fps, pace, _which(container, stream))


def _which(container: Any, stream: Any) -> str:
    """Which stream is taken, if there are several."""
    others = len(moving_pictures(container)) - 1
    if not others:
        return ""
    return f"{others + 1} video tracks: the one of {stream.width}×{stream.height} (stream {stream.index}) is taken"


def variable(path: Path, pace: Pace) -> InputError:
    """What to say of a variable rate where it must be constant."""
    return InputError(f"clip {str(path)!r} {pace.advice} (and --overwrite, if there is unfinished work).")


def decode_video(path: Path, threads: int | None = None) -> Iterator[Frame]:
    """Decodes a video from its start; 10-bit becomes 8-bit, and pictures are upright and of square pixels.

    Args:
        path: of the video.
        threads: of the decoder (None: FFmpeg's choice).

    Yields:
        Frames in the order of their times, which are the container's.

    Raises:
        InputError: it is no video, breaks off, or changes its frame size.
    """
    count, shape, held = 0, None, None
    with opened(path, lambda: count) as (container, stream):
        decoder = picture_decoder(stream)
        if threads is not None:
            decoder.thread_count = threads
        clock, developer = Clock(container, stream), Developer(stream.sample_aspect_ratio)
        end = 0.0
        for packet in container.demux(stream):
            clock.note(packet)
            for frame in decoder.decode(packet if packet.size else None):
                if held is not None:  # the last frame alone waits: it lasts until the video ends
                    yield held
                pixels = developer.develop(frame)
                if pixels.shape != (shape := shape or pixels.shape):
                    raise InputError(f"clip {str(path)!r} changes its frame size at frame {count + 1}.")
                time, lasts = clock.time(frame), clock.lasts(frame)
                end = time + lasts
                held = Frame(pixels, clock.since_first(time), lasts)
                count += 1
        promised = check_whole(path, container, stream, clock, count, end)
        if held is not None:
            assert clock.first is not None
            yield Frame(held.pixels, held.time, max(held.lasts, promised - clock.first - held.time))


def at_rate(frames: Iterable[Frame], fps: float, path: Path) -> Iterator[np.ndarray]:
    """Pixels at a constant rate, as `frames_at_rate`."""
    return (frame.pixels for frame in frames_at_rate(frames, fps, path))


def frames_at_rate(frames: Iterable[Frame], fps: float, path: Path) -> Iterator[Frame]:
    """Frames at a constant rate: at every tick of 1/fps, the one that is shown then.

    Raises:
        InputError: the times jump; or as `decode_video`.
    """
    ticks = 0
    shown: Frame | None = None

    def until(shown: Frame, time: float) -> Iterator[Frame]:
        nonlocal ticks
        step = time - shown.time
        if step * fps > LONGEST_STILL:
            raise InputError(
                f"clip {str(path)!r} stands still for {step:.0f} s at {shown.time:.1f} s: its times are broken."
            )
        while ticks / fps < time - 1e-6:
            yield shown
            ticks += 1

    for frame in frames:
        if shown is not None:
            yield from until(shown, frame.time)
        shown = frame
    if shown is not None:
        yield from until(shown, shown.time + shown.lasts)
        if not ticks:
            yield shown


def timed_video(path: Path, fps: float | None, info: VideoInfo) -> Timed:
    """The frames of a video as they come, or at a constant rate, and their times.

    Args:
        path: of the video.
        fps: the rate; None: as they come.
        info: of the video.

    Raises:
        InputError: as `decode_video` and `at_rate`, while they are read.
    """
    frames = decode_video(path)
    if fps:
        ticks = enumerate(at_rate(frames, fps, path))
        return Timed(((pixels, tick / fps) for tick, pixels in ticks), note=info.note)
    if info.pace is not None:
        return Timed(((frame.pixels, frame.time) for frame in frames), info.pace, info.note)
    pace = Pace()
    return Timed(noting_pace(frames, pace), pace, info.note)


def as_stored(frames: Iterable[Frame], path: Path) -> Iterator[np.ndarray]:
    """All frames as they come.

    Raises:
        InputError: the rate varies, so that equal steps in frames are not equal in time; or as `decode_video`.
    """
    pace = Pace()
    for frame in frames:
        pace.add(frame.time)
        if pace.varies:
            with opened(path) as (container, stream):
                whole = packet_pace(container, stream)
            raise variable(path, whole if whole.varies else pace)
        yield frame.pixels


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


def pack_gif(frames: Iterable[np.ndarray], fps: float) -> bytes:
    """Frames (H, W, 3) uint8 as an endless GIF that rests a second on its last frame."""
    frames = np.stack(list(frames))
    durations = [1000 / fps] * (len(frames) - 1) + [1000] if len(frames) > 1 else 1000
    return iio.imwrite("<bytes>", frames, extension=".gif", plugin="pillow", duration=durations, loop=0)


def write_gif(path: Path, frames: Iterable[np.ndarray], fps: float) -> Path:
    """Writes frames as `pack_gif` does."""
    packed = pack_gif(frames, fps)  # in memory first: on a full disk, imageio says more than we do
    with replacing(path) as temporary:
        temporary.write_bytes(packed)
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
        for packet in stream.encode() if stream else ():
            container.mux(packet)
    return path
