"""Frames have the times of their container, whatever the decoder makes of them."""

import csv
import re
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from made_data import moving, write_video
from stochvid import InputError, read_clip
from stochvid.inference.predict import predict_clips
from stochvid.inference.surprise import surprise
from stochvid.media.times import Pace, common_rate, rate_for_all
from stochvid.media.video import decode_video, probe_video
from stochvid.prepare.preparation import prepare

BRIGHT = {"qscale": "1", "flags": "qscale"}  # MPEG-4 of such quality that each frame has its own brightness


def lights(length: int, first: int = 0) -> list[np.ndarray]:
    """Frames of which number n has the brightness 20 + 2 n."""
    return [np.full((64, 96, 3), 20 + 2 * (first + n), np.uint8) for n in range(length)]


def write(path: Path, frames, codec="libx264", fps=25, times=None, format=None, muxer=None, **options) -> Path:
    """Encodes frames whose times are in ticks of 1/fps."""
    options = (
        {"crf": "1", "bf": "3"} | options if codec == "libx264" else BRIGHT | options if codec == "mpeg4" else options
    )
    with av.open(str(path), "w", format=format, options=muxer or {}) as container:
        stream = container.add_stream(codec, rate=fps, options={"threads": "1"} | options)
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "yuv420p"
        stream.codec_context.time_base = Fraction(1, fps)
        for number, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts, picture.time_base = (times or range(len(frames)))[number], Fraction(1, fps)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def shown(clip) -> list[int]:
    """Which of `lights` the frames of a clip are."""
    return [round((float(frame.mean()) - 20) / 2) for frame in clip.frames]


def close(got: list[int], expected) -> bool:
    """The same frames in the same order, as far as lossy coding tells."""
    expected = list(expected)
    return len(got) == len(expected) and max(abs(a - b) for a, b in zip(got, expected, strict=True)) <= 1


def times(path: Path) -> list[float]:
    return [frame.time for frame in decode_video(path)]


UNTIMED = {
    "h264.avi": ("libx264", {}),
    "pyramid.avi": ("libx264", {"x264-params": "b-pyramid=strict"}),
    "mpeg4.avi": ("mpeg4", {"bf": "2"}),
    "raw.h264": ("libx264", {}),
    "raw.m4v": ("mpeg4", {"bf": "2", "format": "m4v"}),
    "raw.m2v": ("mpeg2video", {"bf": "2", "format": "mpeg2video", **BRIGHT}),
}


@pytest.mark.parametrize("name", UNTIMED)
def test_b_frames_in_containers_without_times_are_shown_in_order_at_a_constant_rate(tmp_path, name):
    codec, options = UNTIMED[name]
    path = write(tmp_path / name, lights(100), codec, **options)
    assert times(path) == pytest.approx([t / 25 for t in range(100)])
    for fps in (None, 25):
        assert close(shown(read_clip(path, fps=fps)), range(100))
    store = prepare(path, tmp_path / "store", size=32, split="train", workers=0)  # without a complaint about the rate
    assert store.splits["train"].lengths == [100]


def test_a_rate_that_clocks_of_milliseconds_round_loses_no_frame(tmp_path):
    for name, codec in (("a.mkv", "libx264"), ("a.webm", "libvpx"), ("a.flv", "flv")):
        path = write(tmp_path / name, moving(60, height=64, width=96), codec, fps=30)
        frames = read_clip(path).frames
        assert np.array_equal(read_clip(path, fps=30).frames, frames)
        assert times(path) == pytest.approx([t / 30 for t in range(60)], abs=1e-6)


JOINED = {".ts": "libx264", ".mpg": "mpeg2video", ".vob": "mpeg2video"}


@pytest.mark.parametrize("suffix", JOINED)
def test_joined_recordings_go_on_in_time(tmp_path, suffix):
    options = {} if suffix == ".ts" else BRIGHT
    parts = [write(tmp_path / f"{n}{suffix}", lights(50, 50 * n), JOINED[suffix], g="25", **options) for n in (0, 1)]
    path = tmp_path / f"joined{suffix}"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    assert times(path) == pytest.approx([t / 25 for t in range(100)])
    for fps in (None, 25):
        assert close(shown(read_clip(path, fps=fps)), range(100))
    back = tmp_path / f"back{suffix}"
    back.write_bytes(b"".join(part.read_bytes() for part in parts[::-1]))
    assert close(shown(read_clip(back, fps=25)), [*range(50, 100), *range(50)])


def test_recordings_of_far_apart_clocks_are_joined_too(tmp_path):
    early = write(tmp_path / "early.ts", lights(30), g="25")
    late = write(tmp_path / "late.ts", lights(30, 30), times=range(90_000, 90_030), g="25")  # an hour later
    for first, second, expected in ((early, late, range(60)), (late, early, [*range(30, 60), *range(30)])):
        path = tmp_path / "joined.ts"
        path.write_bytes(first.read_bytes() + second.read_bytes())
        assert close(shown(read_clip(path, fps=25)), expected)
        assert times(path) == pytest.approx([t / 25 for t in range(60)])


def test_a_clock_that_wraps_around_goes_on(tmp_path):
    wrap = 2**33 * 25 // 90_000  # 26.5 hours in frames
    path = write(tmp_path / "a.ts", lights(60), times=range(wrap - 30, wrap + 30), g="25")
    assert times(path) == pytest.approx([t / 25 for t in range(60)], abs=1e-4)
    assert close(shown(read_clip(path, fps=25)), range(60))


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mkv", "libx264"), ("a.webm", "libvpx"), ("a.ts", "libx264"), ("a.mp4", "libx264"), ("a.mov", "libx264"),
     ("a.flv", "libx264"), ("a.nut", "libx264"), ("a.avi", "mpeg4"), ("a.wmv", "wmv2")],
)  # fmt: skip
def test_a_piece_of_a_recording_whose_clock_starts_late_is_whole(tmp_path, name, codec):
    path = write(tmp_path / name, lights(50), codec, times=range(50, 100))
    assert len(read_clip(path).frames) == 50
    if name != "a.avi":  # there, the first frame is shown for all the time before
        assert times(path) == pytest.approx([t / 25 for t in range(50)], abs=1e-3)


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "libx264"), ("a.avi", "mpeg4")])
@pytest.mark.parametrize("start", [0, 50])
def test_what_is_cut_short_is_found_whenever_its_clock_starts(tmp_path, name, codec, start):
    noise = list(np.random.default_rng(0).integers(0, 256, (60, 64, 96, 3), dtype=np.uint8))
    path = write(tmp_path / name, noise, codec, times=range(start, start + 60))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    with pytest.raises(InputError, match=r"is cut short: its header promises|cannot be decoded as video after"):
        read_clip(path)


DROPPED = [t for t in range(100) if t % 10 not in (3, 4)]


def test_empty_chunks_of_an_avi_are_repeated_frames(tmp_path):
    path = write(tmp_path / "a.avi", [lights(100)[t] for t in DROPPED], "mpeg4", times=DROPPED)
    expected = [t - (t % 10 == 3) - 2 * (t % 10 == 4) for t in range(100)]
    assert close(shown(read_clip(path, fps=25)), expected)
    assert close(shown(read_clip(path)), DROPPED)
    with pytest.raises(InputError, match=r"variable frame rate.* 40 to 120 ms.* --fps 25"):
        prepare(path, tmp_path / "out", size=32, workers=0)


def raw_avi(path: Path, chunks: list[bytes], promised: int | None = None, width: int = 32, height: int = 32) -> Path:
    """An AVI of uncompressed frames, byte by byte."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)

    count = len(chunks) if promised is None else promised
    avih = struct.pack("<14I", 40_000, 0, 0, 0x10, count, 0, 1, 0, width, height, 0, 0, 0, 0)
    strh = b"vidsDIB " + struct.pack("<3I5I2i4H", 0, 0, 0, 1, 25, 0, count, 0, -1, 0, 0, 0, width, height)
    strf = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, width * height * 3, 0, 0, 0, 0)
    strl = chunk(b"LIST", b"strl" + chunk(b"strh", strh) + chunk(b"strf", strf))
    index, movi = bytearray(), bytearray(b"movi")
    for data in chunks:
        index += b"00db" + struct.pack("<III", 0x10, len(movi), len(data))
        movi += chunk(b"00db", data)
    body = (
        b"AVI " + chunk(b"LIST", b"hdrl" + chunk(b"avih", avih) + strl) + chunk(b"LIST", movi) + chunk(b"idx1", index)
    )
    path.write_bytes(chunk(b"RIFF", body))
    return path


def grey(value: int) -> bytes:
    return bytes([value]) * (32 * 32 * 3)


def test_a_still_screen_in_an_avi_is_whole(tmp_path):
    path = raw_avi(tmp_path / "still.avi", [grey(80), *[b""] * 443])
    assert len(read_clip(path).frames) == 1
    assert (read_clip(path, fps=25).frames == 80).all()
    assert len(read_clip(path, fps=25).frames) == 444
    path = raw_avi(tmp_path / "ends still.avi", [*map(grey, range(10)), *[b""] * 40])
    assert read_clip(path, fps=25).frames[:, 0, 0, 0].tolist() == [*range(10), *[9] * 40]


def test_an_avi_that_lacks_chunks_is_cut_short(tmp_path):
    whole = raw_avi(tmp_path / "a.avi", [grey(t) for t in range(100)])
    assert len(read_clip(whole).frames) == 100
    data = whole.read_bytes()
    (tmp_path / "cut.avi").write_bytes(data[: len(data) // 2])
    (tmp_path / "holes.avi").write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
    raw_avi(tmp_path / "lies.avi", [grey(t) for t in range(50)], promised=100)
    for name in ("cut.avi", "holes.avi", "lies.avi"):
        with pytest.raises(InputError, match=f"{name}' (is cut short: its header promises 100 frames|cannot)"):
            read_clip(tmp_path / name, fps=25)


def gif(path: Path, delays: list[int]) -> Path:
    frames = [Image.fromarray(frame) for frame in lights(len(delays))]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=[10 * d for d in delays], loop=0)
    return path


def test_hundredths_of_a_gif_are_a_constant_rate(tmp_path):
    path = gif(tmp_path / "30.gif", [3, 3, 4] * 10)
    assert close(shown(read_clip(path, fps=30)), range(30))
    assert prepare(path, tmp_path / "out", size=32, split="train", workers=0).splits["train"].lengths == [30]
    assert read_clip(gif(tmp_path / "none.gif", [0] * 10)).fps == pytest.approx(10)  # as browsers show it
    rests = gif(tmp_path / "rests.gif", [10] * 9 + [100])  # before it begins again
    assert (read_clip(rests).fps, len(read_clip(rests, fps=10).frames)) == (10, 10)
    with pytest.raises(InputError, match=r"variable frame rate.* 100 to 300 ms.* --fps 10"):
        prepare(gif(tmp_path / "varies.gif", [10, 10, 30] * 5), tmp_path / "b", size=32, workers=0)


def test_little_jitter_is_a_constant_rate(tmp_path):
    """A telephone's 29.8 to 30.2 frames/s."""
    jitter = np.random.default_rng(0).uniform(1 / 30.2, 1 / 29.8, 60).cumsum()
    path = write_video(tmp_path / "a.mp4", moving(60), times=(1000 * (jitter - jitter[0])).round().astype(int).tolist())
    assert len(read_clip(path).frames) == 60
    assert not read_clip(path).varies
    assert prepare(path, tmp_path / "out", size=32, split="train", workers=0).splits["train"].lengths == [60]


def test_a_recording_of_a_browser_says_no_length(tmp_path):
    path = write(tmp_path / "a.webm", lights(40), "libvpx", muxer={"live": "1"})
    assert close(shown(read_clip(path, fps=25)), range(40))
    path = write(tmp_path / "a.mp4", lights(40), muxer={"movflags": "frag_keyframe+empty_moov"}, g="10")
    assert close(shown(read_clip(path, fps=25)), range(40))


# ------------------------------------------------------------------------------------------------------ variable rates

GAP = [t for t in range(30) if t not in range(10, 20)]


def screen(path: Path) -> Path:
    """10 frames/s, with a second in which nothing was recorded."""
    return write(path, [lights(30)[t] for t in GAP], fps=10, times=GAP)


def seconds(folder: Path) -> list[float]:
    with open(folder / "surprise.csv") as file:
        return [float(row["seconds"]) for row in csv.DictReader(file)]


def test_surprise_gives_the_frames_own_times_and_says_that_they_vary(tmp_path, capsys):
    path = screen(tmp_path / "screen.mp4")
    surprise("one-digit", str(path), tmp_path / "a")
    note = "note: 'screen' has a variable frame rate: frames last 100 to 1100 ms. Give --fps 10 for a constant rate"
    assert note in capsys.readouterr().out
    assert seconds(tmp_path / "a") == pytest.approx([t / 10 for t in GAP[1:]])
    surprise("one-digit", str(path), tmp_path / "b", fps=10)
    assert "variable" not in capsys.readouterr().out
    assert seconds(tmp_path / "b") == pytest.approx([t / 10 for t in range(1, 30)])


def test_predict_says_that_the_rate_varies(tmp_path, capsys):
    path = screen(tmp_path / "screen.mp4")
    predict_clips("one-digit", [str(path)], tmp_path / "a", start=7, horizon=3, samples=1)
    said = capsys.readouterr().out
    assert "screen.mp4: 8 frames of 96×64 RGB, variable frame rate" in said
    assert re.search("note: 'screen' .*variable frame rate.* 100 to 1100 ms.* --fps 10", said)
    predict_clips("one-digit", [str(path)], tmp_path / "b", start=7, horizon=3, samples=1, fps=10)
    assert "variable" not in capsys.readouterr().out


def test_read_clip_gives_times_and_logs_that_they_vary(tmp_path, caplog):
    clip = read_clip(screen(tmp_path / "screen.mp4"))
    assert clip.times == pytest.approx([t / 10 for t in GAP])
    assert "variable frame rate" in str(clip)
    assert "has a variable frame rate: frames last 100 to 1100 ms. Give fps=10" in caplog.text
    assert read_clip(tmp_path / "screen.mp4", fps=10).times == pytest.approx([t / 10 for t in range(30)])


# ------------------------------------------------------------------------------------------------------- rates proposed


def test_one_rate_for_all_keeps_most_frames():
    assert rate_for_all({25: 100}) is None
    assert rate_for_all({30000 / 1001: 100, 30: 50}) is None  # one rate, to the eye
    assert rate_for_all({5: 10, 25: 100, 30: 10}) == 25
    assert rate_for_all({10: 20, 25: 20, 30: 20}) == 25
    assert rate_for_all({30: 1000, 240: 20}) == 30
    assert rate_for_all({10: 20, 25: 20}) == 25


def test_rates_are_common_ones():
    assert [common_rate(fps) for fps in (29.9, 24.9, 15.1, 59.9)] == pytest.approx([30000 / 1001, 25, 15, 60000 / 1001])
    assert common_rate(8.8) == 8.8


def test_prepare_proposes_a_rate_that_keeps_most_frames(tmp_path, capsys):
    for name, fps in (("a", 5), ("b", 25), ("c", 25), ("d", 30)):
        write_video(tmp_path / "in" / f"{name}.mp4", moving(30), rate=fps)
    prepare(tmp_path / "in", tmp_path / "out", workers=0)
    assert "5 to 30 frames/s are mixed; --fps 25 would make them one" in capsys.readouterr().out


def test_a_pace_varies_by_the_steps_between_frames():
    pace = Pace()
    for time in (0.0, 0.033, 0.067, 0.1, 0.133):
        pace.add(time)
    assert not pace.varies
    pace.add(0.3)
    assert pace.varies
    assert pace.usual == pytest.approx(30000 / 1001, rel=0.02)


def test_the_rate_of_most_frames_is_proposed_for_a_variable_one(tmp_path):
    path = write(tmp_path / "a.mp4", [lights(30)[t] for t in GAP], fps=10, times=GAP)
    assert probe_video(path).pace.usual == 10
