"""Frames of a video look as it says itself: upright, of square pixels, black where they are transparent."""

import itertools
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from made_data import moving, write_video
from stochvid import InputError, read_clip
from stochvid.media.pixels import shown_size
from stochvid.media.video import probe_video

QUARTERS = np.kron(np.array([[250, 150], [90, 10]], np.uint8), np.ones((32, 48), np.uint8))  # (64, 96), all different


def write(path: Path, frames, codec="libx264", pix_fmt="yuv420p", mode="rgb24", aspect=None, **options) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10, options=options)
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], pix_fmt
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format=mode)))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("matrix", list(itertools.product((1, -1), (1, -1), (False, True))))
def test_all_eight_orientations_of_a_display_matrix_are_shown_upright(tmp_path, matrix):
    across, down, turned = matrix
    path = write(tmp_path / "a.mp4", [np.repeat(QUARTERS[..., None], 3, axis=2)] * 3, crf="1")
    a, b, c, d = (0, down, across, 0) if turned else (across, 0, 0, down)  # x' = a x + c y, y' = b x + d y
    unit = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    data = path.read_bytes()
    assert data.count(unit) == 2  # of the movie, and of its track
    place = data.rindex(unit)
    values = (a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(data[:place] + struct.pack(">9i", *values) + data[place + 36 :])
    shown = np.zeros((96, 64) if turned else (64, 96), np.uint8)
    for y, x in np.ndindex(QUARTERS.shape):  # by the formula, pixel by pixel, moved back into the picture
        to_x, to_y = a * x + c * y, b * x + d * y
        shown[to_y % shown.shape[0] if b + d > 0 else to_y - 1 + shown.shape[0],
              to_x % shown.shape[1] if a + c > 0 else to_x - 1 + shown.shape[1]] = QUARTERS[y, x]  # fmt: skip
    frame = read_clip(path).frames[0, ..., 0].astype(int)
    assert frame.shape == shown.shape
    assert np.abs(frame - shown).mean() < 4


def test_the_size_in_square_pixels():
    assert shown_size(720, 576, Fraction(16, 15)) == (768, 576)
    assert shown_size(720, 480, Fraction(8, 9)) == (640, 480)
    assert shown_size(1440, 1080, Fraction(4, 3)) == (1920, 1080)
    for aspect in (None, Fraction(0), Fraction(1), Fraction(404, 405), Fraction(1000), Fraction(1, 1000)):
        assert shown_size(64, 48, aspect) == (64, 48)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mpg", ".mov"])
def test_pixels_that_are_not_square_are_made_so(tmp_path, suffix):
    frame = np.zeros((64, 96, 3), np.uint8)
    frame[:, :48] = 200
    codec = "mpeg2video" if suffix == ".mpg" else "libx264"
    aspect = Fraction(16, 9) / Fraction(96, 64) if suffix == ".mpg" else Fraction(2, 1)  # MPEG-2 knows 4:3 and 16:9
    frames = read_clip(write(tmp_path / f"a{suffix}", [frame] * 3, codec, aspect=aspect)).frames
    width = round(96 * aspect)
    assert frames.shape == (3, 64, width, 3)
    assert frames[0, 32, width // 2 - 8].min() > 180
    assert frames[0, 32, width // 2 + 8].max() < 20


def see_through() -> np.ndarray:
    """Left opaque, above half transparent, below wholly, all of one colour."""
    frame = np.full((48, 64, 4), (200, 100, 50, 255), np.uint8)
    frame[:24, 32:, 3], frame[24:, 32:, 3] = 128, 0
    return frame


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [("a.mov", "png", "rgba"), ("b.mov", "qtrle", "argb"), ("c.mov", "prores_ks", "yuva444p10le"),
     ("d.mkv", "ffv1", "yuva444p"), ("e.webm", "libvpx", "yuva420p"), ("f.webm", "libvpx-vp9", "yuva420p"),
     ("g.avi", "utvideo", "gbrap")],
)  # fmt: skip
def test_what_is_transparent_in_a_video_is_black(tmp_path, name, codec, pix_fmt):
    options = {"auto-alt-ref": "0", "b": "2M"} if codec.startswith("libvpx") else {}
    clip = read_clip(write(tmp_path / name, [see_through()] * 3, codec, pix_fmt, "rgba", **options))
    for place, colour in (((24, 10), (200, 100, 50)), ((10, 50), (100, 50, 25)), ((40, 50), (0, 0, 0))):
        assert np.abs(clip.frames[-1][place].astype(int) - colour).max() <= 4


def test_what_is_transparent_in_a_gif_is_black(tmp_path):
    frame = see_through()
    frame[:24, 32:, 3] = 255
    pictures = [Image.fromarray(frame), Image.fromarray(np.roll(frame, 4, axis=1))]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=100, disposal=2)
    clip = read_clip(tmp_path / "a.gif")
    assert clip.frames[0, 10, 10].tolist() == [200, 100, 50]
    assert clip.frames[0, 40, 50].tolist() == [0, 0, 0]


@pytest.mark.parametrize("pix_fmt", ["gray", "gray10le", "gray12le", "gray16le"])
def test_deep_grey_video_keeps_its_upper_bits(tmp_path, pix_fmt):
    ramp = np.repeat(np.arange(0, 256, 4, dtype=np.uint16)[None], 48, axis=0)
    deep = ramp if pix_fmt == "gray" else ramp * 257 >> 16 - int(pix_fmt[4:6])
    frame = deep.astype(np.uint8 if pix_fmt == "gray" else np.uint16)
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.height, stream.width, stream.pix_fmt = 48, 64, pix_fmt
        for _ in range(3):
            picture = av.VideoFrame(64, 48, pix_fmt)
            picture.planes[0].update(np.ascontiguousarray(pad(frame, picture.planes[0].line_size)).tobytes())
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    clip = read_clip(tmp_path / "a.mkv")
    assert clip.frames.shape == (3, 48, 64, 1)
    assert np.abs(clip.frames[0, ..., 0].astype(int) - ramp).max() <= 1


def pad(frame: np.ndarray, line: int) -> np.ndarray:
    """Rows as long as FFmpeg's."""
    return np.pad(frame, ((0, 0), (0, line // frame.itemsize - frame.shape[1])))


@pytest.mark.parametrize(("pix_fmt", "codec"), [("monob", "rawvideo"), ("monow", "rawvideo")])
def test_one_bit_video_is_black_and_white(tmp_path, pix_fmt, codec):
    frame = np.zeros((48, 64, 3), np.uint8)
    frame[:, :32] = 255
    clip = read_clip(write(tmp_path / "a.nut", [frame] * 2, codec, pix_fmt))
    assert clip.frames.shape == (2, 48, 64, 1)
    assert (clip.frames[0, :, :32] == 255).all()
    assert (clip.frames[0, :, 32:] == 0).all()


COLOUR = (200, 100, 50)


@pytest.mark.parametrize("matrix", ["ITU709", "ITU601"])
@pytest.mark.parametrize("full", [False, True])
def test_the_colour_matrix_and_range_are_those_of_the_stream(tmp_path, matrix, full):
    from av.video.reformatter import ColorRange, Colorspace

    frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), COLOUR, np.uint8), format="rgb24")
    span = ColorRange.JPEG if full else ColorRange.MPEG
    frame = frame.reformat(format="yuv420p", dst_colorspace=Colorspace[matrix], dst_color_range=span)
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "1"})
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.codec_context.colorspace = 1 if matrix == "ITU709" else 6
        stream.codec_context.color_range = 2 if full else 1
        for number in range(3):
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert np.abs(read_clip(tmp_path / "a.mp4").frames[0, 24, 32].astype(int) - COLOUR).max() <= 5


# ------------------------------------------------------------------------------------------------------- which pictures


def atom(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(data), name) + data


def tagged(path: Path) -> Path:
    """A cover before the tracks of an MP4, as some programs write it."""
    Image.new("RGB", (200, 200), "grey").save(path.with_suffix(".jpg"))
    cover = atom(b"covr", atom(b"data", struct.pack(">II", 13, 0) + path.with_suffix(".jpg").read_bytes()))
    handler = atom(b"hdlr", bytes(8) + b"mdir" + b"appl" + bytes(9))
    tags = atom(b"udta", atom(b"meta", bytes(4) + handler + atom(b"ilst", cover)))
    data = path.read_bytes()
    moov = data.rindex(b"moov") - 4
    length, header = (struct.unpack(">I", data[place : place + 4])[0] for place in (moov, moov + 8))
    start = moov + 8
    made = atom(b"moov", data[start : start + header] + tags + data[start + header : moov + length])
    path.write_bytes(data[:moov] + made + data[moov + length :])
    return path


def test_a_cover_is_no_video(tmp_path):
    path = tagged(write_video(tmp_path / "a.mp4", moving(20)))
    assert read_clip(path).frames.shape == (20, 48, 64, 3)
    assert (probe_video(path).width, probe_video(path).note) == (64, "")


def test_sound_with_a_cover_has_no_video_stream(tmp_path):
    path = tmp_path / "a.m4a"
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=44_100)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 44_100
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    with pytest.raises(InputError, match="has no video stream but a cover"):
        read_clip(tagged(path))


def test_which_of_several_tracks_is_taken_is_said(tmp_path, capsys):
    from stochvid.prepare.preparation import prepare

    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        streams = [container.add_stream("libx264", rate=25) for _ in range(2)]
        for stream, width in zip(streams, (64, 128), strict=True):
            stream.height, stream.width, stream.pix_fmt = 48, width, "yuv420p"
        for stream, width in zip(streams, (64, 128), strict=True):
            for frame in moving(12, width=width):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode())
    taken = read_clip(tmp_path / "a.mkv").frames.shape[2]
    prepare(tmp_path / "a.mkv", tmp_path / "out", size=32, split="train", workers=0)
    assert f"'a.mkv' has 2 video tracks: the one of {taken}×48 (stream" in capsys.readouterr().out
