"""When the frames of a video are shown: by the container's clock, whatever the decoder makes of it."""

import heapq
import math
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

VARIABLE = 1.5  # frames that last so much longer than others are no constant rate (33 and 34 ms are)
ROUNDING = 2e-3  # seconds by which frames of a constant rate may differ beside
JUMP = 10.0  # seconds: where clocks may jump, a longer step is no step in time (FFmpeg's own limit)
COARSEST = 0.0101  # seconds: a little more than the ticks of a GIF; a coarser clock counts frames, and rounds nothing
MOST_REORDERED = 32  # packets: H.264 and HEVC show a frame at most 16 later than it was coded
COMMON_RATES = (
    1, 2, 5, 6, 7.5, 8, 10, 12, 12.5, 15, 16, 18, 20, 24000 / 1001, 24, 25, 30000 / 1001, 30, 48, 50, 60000 / 1001, 60,
    72, 75, 90, 100, 120000 / 1001, 120, 144, 200, 240000 / 1001, 240, 480, 500, 960, 1000,
)  # fmt: skip
ALIKE = 0.01  # rates that differ by less are one: 29.97 and 30


class Clock:
    """Gives the decoded frames of a stream their times.

    Three things may be wrong with the times that a decoder hands on. Containers without times of presentation (AVI, raw
    streams) make FFmpeg number frames in the order of coding, which is not the one of showing. Recordings that were
    joined, and broadcasts, start their clock again. And clocks of milliseconds round.

    Args:
        container: PyAV's.
        stream: of pictures.

    Attributes:
        counts: whether the container has no times at all, and frames are counted.
        jumps: whether it is of a kind whose clock may jump.
        loops: whether it begins again after its end, before which the last frame may rest.
        first: when the first frame is shown, None before there is one.
        restarted: whether the clock did start again.
    """

    def __init__(self, container: Any, stream: Any):
        from av.format import Flags
        from av.video.frame import PictureType

        flags = container.format.flags
        self.counts = bool(flags & Flags.no_timestamps.value)
        self.jumps = bool(flags & Flags.ts_discont.value)
        self.loops = container.format.name in ("gif", "apng")
        self._b_frame = int(PictureType.B)
        self._unit = float(stream.time_base)
        self._period = 1 / nominal_rate(stream)
        self._grid = 1 / float(stream.guessed_rate or nominal_rate(stream))
        self._codes_ahead = bool(stream.codec_context.has_b_frames)
        self._coded: deque[float] = deque()  # times of packets in the order of coding, while that is rising
        self._newest, self._rising, self._shows_ahead = -math.inf, True, False
        self._count, self._offset, self._step = 0, 0.0, 0.0
        self.first: float | None = None
        self._last: float | None = None
        self.restarted = False

    def note(self, packet: Any) -> None:
        """Notes a packet that is about to be decoded."""
        stamp = packet.dts if packet.pts is None else packet.pts
        if not self._rising or not self._codes_ahead or stamp is None or packet.is_discard:
            return
        self._rising = stamp >= self._newest  # else a frame is shown before one coded earlier: these are real times
        self._newest = stamp
        self._coded.append(stamp)

    def time(self, frame: Any) -> float:
        """Seconds of the clock at which the next decoded frame is shown; never less than those of the frame before."""
        now = self._read(frame)
        if self._last is not None:
            step = now - self._last
            if step < (0 if self.jumps else -3 * self._usual()) or (self.jumps and step > JUMP):
                self.restarted = True
                self._offset += self._last + self._usual() - now
                now = self._last + self._usual()
            else:
                now = max(now, self._last)
            self._step = now - self._last
        self._last = now
        self.first = now if self.first is None else self.first
        return now

    def since_first(self, time: float) -> float:
        """Seconds since the first frame, with the rounding of a coarse clock undone where the rate is constant."""
        assert self.first is not None
        return self._unrounded(time - self.first)

    def lasts(self, frame: Any) -> float:
        """Seconds for which a frame is shown if none follows."""
        said = frame.duration * self._unit if frame.duration and not self.loops else 0.0
        return self._unrounded(said or self._usual())

    def _unrounded(self, seconds: float) -> float:
        whole = round(seconds / self._grid) * self._grid
        return whole if abs(whole - seconds) <= self._unit <= min(COARSEST, self._grid / 2) else seconds

    def _read(self, frame: Any) -> float:
        """What the clock shows at the frame, restarts left out."""
        self._count += 1
        if self.counts:
            return (self._count - 1) * self._period
        # a B-frame is shown before one that was coded earlier. If the times rise in the order of coding nevertheless,
        # they are none of presentation, and belong to the frames in the order in which these are shown
        self._shows_ahead |= frame.pict_type == self._b_frame
        coded = self._coded.popleft() if self._coded else None
        stamp = coded if self._rising and self._shows_ahead else frame.pts
        if stamp is None:
            return 0.0 if self._last is None else self._last + self._usual()
        return stamp * self._unit + self._offset

    def _usual(self) -> float:
        return self._step if 0 < self._step < 1 else self._period


def nominal_rate(stream: Any) -> float:
    """Frames per second, as the header has it; 25, as FFmpeg, where it says nothing."""
    return float(stream.average_rate or stream.guessed_rate or stream.base_rate or 25)


# ------------------------------------------------------------------------------------------------------ constant or not


class Pace:
    """How evenly frames follow each other.

    Attributes:
        least: the shortest step, in seconds.
        most: the longest.
    """

    def __init__(self) -> None:
        self.least, self.most = math.inf, 0.0
        self._last: float | None = None
        self._first: float | None = None
        self._steps: Counter[float] = Counter()

    def add(self, time: float) -> None:
        """Notes the next frame's time."""
        if self._last is not None and (step := time - self._last) > 0:
            self.least, self.most = min(self.least, step), max(self.most, step)
            self._steps[round(step, 4)] += 1
        self._first, self._last = time if self._first is None else self._first, time

    @property
    def varies(self) -> bool:
        """Whether the rate is no constant one."""
        return self.most > VARIABLE * self.least + ROUNDING

    @property
    def mean(self) -> float | None:
        """Frames per second over all."""
        if self._first is None or self._last is None or not self._steps:
            return None
        return self._steps.total() / (self._last - self._first)

    @property
    def usual(self) -> float | None:
        """The common rate that is nearest to the median step."""
        place = self._steps.total() / 2
        for step, count in sorted(self._steps.items()):
            place -= count
            if place <= 0:
                return common_rate(1 / step)
        return None

    @property
    def advice(self) -> str:
        """What to say of a variable rate."""
        fps = f" {shown_rate(self.usual)}" if self.usual else ""
        span = f"frames last {1000 * self.least:.0f} to {1000 * self.most:.0f} ms"
        return f"has a variable frame rate: {span}. Give --fps{fps} for a constant rate"


def packet_pace(container: Any, stream: Any) -> Pace:
    """The pace of a stream by its packets alone, without decoding."""
    pace, offset = Pace(), 0.0
    ahead: list[float] = []
    last: float | None = None

    def show() -> None:
        nonlocal offset, last
        time = heapq.heappop(ahead)
        if last is not None and not -1 < time - last <= JUMP:
            offset += last - time + 1 / nominal_rate(stream)
        last = time
        pace.add(time + offset)

    for packet in container.demux(stream):
        if packet.pts is None or packet.is_discard:
            continue
        time = float(packet.pts * stream.time_base)
        while ahead and time < ahead[0] - 1:  # a clock that starts again
            show()
        heapq.heappush(ahead, time)
        if len(ahead) > MOST_REORDERED:
            show()
    while ahead:
        show()
    return pace


def common_rate(fps: float) -> float:
    """The nearest of the usual rates, or, far from all, the rate itself, rounded."""
    nearest = min(COMMON_RATES, key=lambda rate: abs(rate / fps - 1))
    return nearest if abs(nearest / fps - 1) < 0.02 else float(f"{fps:.3g}")


def shown_rate(fps: float) -> str:
    """A rate as people write it, to be given as an option: 25, 29.97."""
    return f"{fps:.5g}"


def rate_for_all(frames: dict[float, int]) -> float | None:
    """One rate for clips of several: the lowest of theirs at which nine in ten frames stay; None: they are one already.

    Args:
        frames: how many there are at each rate.
    """
    rates = sorted(frames)
    if not rates or rates[-1] <= rates[0] * (1 + ALIKE):
        return None
    for rate in rates:
        kept = sum(count * min(1.0, rate / other) for other, count in frames.items())
        if kept >= 0.9 * sum(frames.values()):
            return common_rate(rate)
    return common_rate(rates[-1])


# ---------------------------------------------------------------------------------------------------- frames with times


@dataclass(frozen=True)
class Frame:
    """A decoded frame.

    Attributes:
        pixels: (H, W, C) uint8, C = 1 or 3, upright, of square pixels.
        time: seconds since the first frame.
        lasts: seconds for which it is shown if none follows.
    """

    pixels: np.ndarray
    time: float
    lasts: float = 0.0


class Timed(Iterator[np.ndarray]):
    """Frames, and the times of those that were taken so far.

    Args:
        frames: pairs of pixels, (H, W, C) uint8, and seconds since the first frame (None: not known).

    Attributes:
        pairs: what is left of them.
        times: of the frames taken.
        pace: how evenly all frames follow each other that were looked at, those passed over included.
        note: what a person should know of them.
    """

    def __init__(self, frames: Iterable[tuple[np.ndarray, float | None]], pace: Pace | None = None, note: str = ""):
        self.times: list[float | None] = []
        self.pace, self.note = pace or Pace(), note
        self.pairs = iter(frames)

    @classmethod
    def unknown(cls, frames: Iterable[np.ndarray]) -> "Timed":
        """Frames whose times are not known."""
        return cls((pixels, None) for pixels in frames)

    def __next__(self) -> np.ndarray:
        pixels, time = next(self.pairs)
        self.times.append(time)
        return pixels

    @property
    def seconds(self) -> np.ndarray | None:
        """Times of the frames taken, (T,) float64; None where they are not known."""
        return None if None in self.times else np.array(self.times, dtype=np.float64)

    def every(self, stride: int) -> "Timed":
        """One frame in `stride`, from the first."""
        return Timed(islice(self.pairs, 0, None, stride), self.pace)


def noting_pace(frames: Iterable[Frame], pace: Pace) -> Iterator[tuple[np.ndarray, float]]:
    """Frames for `Timed`, whose pace is noted as they pass."""
    for frame in frames:
        pace.add(frame.time)
        yield frame.pixels, frame.time
