"""Whether a video is whole: FFmpeg takes the end of a truncated file for the end of the video."""

import struct
from pathlib import Path
from typing import Any

from stochvid.core.errors import InputError
from stochvid.media.times import Clock, nominal_rate

MOST_CHUNKS = 5_000_000  # of an AVI that are looked at, a few seconds of work
LISTS = {b"RIFF", b"LIST"}
HEADER_LISTS = {b"hdrl", b"INFO", b"odml"}
NO_PICTURE = {b"wb", b"tx", b"pc"}  # sound, subtitles, a change of palette


def check_whole(path: Path, container: Any, stream: Any, clock: Clock, count: int, end: float) -> float:
    """Compares what was decoded with what the header promises.

    Args:
        path: of the video.
        container: PyAV's.
        stream: of pictures, decoded to its end.
        clock: of the stream.
        count: frames decoded.
        end: of the last of them, in seconds of the clock.

    Returns:
        When the last frame ends by the clock, if the container says more of it than the frame itself; else 0.

    Raises:
        InputError: the file is cut short.
    """
    rate = nominal_rate(stream)
    if not count or clock.restarted:
        return 0.0
    if container.format.name == "avi":  # its duration is guessed from what is left of the file
        shown = round(end * rate)
        if shown < stream.frames:  # the rest may be repetitions, which are empty chunks
            shown = max(shown, _avi_chunks(path, stream.index, stream.frames))
        _compare(path, stream.frames, shown, 2, "frames", count)
        return shown / rate
    if clock.first is not None and not (
        clock.jumps or clock.counts or clock.loops
    ):  # those have no header that promises anything
        promised = _promised_seconds(container, stream, clock.first)
        _compare(path, promised, end - clock.first, 3 / rate, "seconds", end - clock.first)
    return 0.0


def _compare(path: Path, promised: float, got: float, slack: float, unit: str, decoded: float) -> None:
    if got < 0.95 * promised - slack:
        raise InputError(
            f"clip {str(path)!r} is cut short: its header promises {promised:.4g} {unit}, {decoded:.4g} can be decoded."
            " Get the file again."
        )


def _promised_seconds(container: Any, stream: Any, first: float) -> float:
    """How long the pictures last by the header; 0: it does not say."""
    if stream.duration:
        said = float(stream.duration * stream.time_base)
    elif len(container.streams) == 1:
        said = (container.duration or 0) / 1e6
    else:
        return 0.0
    counts_from_zero = "mov" not in container.format.name.split(",") and said > first  # pieces of a longer recording
    return said - first if counts_from_zero else said


def _avi_chunks(path: Path, index: int, most: int) -> int:
    """How many frames of a stream an AVI holds, empty ones included."""
    size, found, place = path.stat().st_size, 0, 0
    with open(path, "rb") as file:
        for _ in range(MOST_CHUNKS):
            file.seek(place)
            head = file.read(12)
            if len(head) < 8 or found >= most:
                break
            name, length = struct.unpack("<4sI", head[:8])
            if name in LISTS and head[8:12] not in HEADER_LISTS:
                place += 12
                continue
            place += 8 + length + length % 2
            number, kind = name[:2], name[2:]
            if not name.strip(b"\0") or place > size + 1:
                break
            found += number.isdigit() and int(number) == index and kind not in NO_PICTURE
    return found
