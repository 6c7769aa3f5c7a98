"""Clips are read from what people have, and refused with a reason where that is not to be read."""

import av
import imageio.v3 as iio
import numpy as np
import pytest
import torch
from PIL import Image

from stochvid import InputError, read_clip
from stochvid.media.clip import Clip, fit_frames
from stochvid.media.pictures import CONTEXT, FUTURE, TRUTH, FuturesPicture
from stochvid.media.plots import plot_uncertainty
from stochvid.media.video import to_bytes, write_gif, write_mp4


def moving_square(length=8, height=48, width=64, channels=3) -> np.ndarray:
    frames = np.zeros((length, height, width, channels), dtype=np.uint8)
    for t in range(length):
        frames[t, 8:24, 4 * t : 4 * t + 16] = 255 if channels == 1 else (230, 40, 40)
    return frames


def test_mp4_is_read_back_as_it_was_written(tmp_path):
    frames = moving_square()
    clip = read_clip(write_mp4(tmp_path / "a b.mp4", frames, 10))
    assert (clip.name, clip.fps, clip.frames.shape) == ("a b", 10, frames.shape)
    assert np.abs(clip.frames.astype(int) - frames).mean() < 3
    assert read_clip(tmp_path / "a b.mp4", limit=3).frames.shape[0] == 3


def test_gif_is_read_back_as_it_was_written(tmp_path):
    frames = moving_square()
    clip = read_clip(write_gif(tmp_path / "a.gif", frames, 10))
    assert clip.frames.shape == frames.shape
    assert np.abs(clip.frames.astype(int) - frames).mean() < 3
    assert iio.immeta(tmp_path / "a.gif")["loop"] == 0


def test_odd_sizes_become_even_in_mp4(tmp_path):
    write_mp4(tmp_path / "odd.mp4", moving_square(3, 31, 33), 5)
    with av.open(str(tmp_path / "odd.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.height, stream.width, stream.codec_context.pix_fmt) == (32, 34, "yuv420p")


def test_a_folder_of_frames_is_read_in_natural_order(tmp_path):
    frames = moving_square(12)
    for t, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / f"frame {t + 1}.png")
    (tmp_path / "notes.txt").write_text("not a frame")
    assert np.array_equal(read_clip(tmp_path).frames, frames)
    assert np.array_equal(read_clip(tmp_path, limit=4).frames, frames[:4])


def test_16_bit_frames_keep_their_upper_byte(tmp_path):
    deep = (np.arange(64, dtype=np.uint16) * 1000).reshape(8, 8)
    Image.fromarray(deep).save(tmp_path / "1.png")
    assert np.array_equal(read_clip(tmp_path).frames[0, ..., 0], deep >> 8)


@pytest.mark.parametrize(
    ("array", "shape"),
    [
        (np.zeros((5, 20, 30), np.uint8), (5, 20, 30, 1)),
        (np.zeros((5, 20, 30, 3), np.uint8), (5, 20, 30, 3)),
        (np.zeros((5, 3, 20, 30), np.float32), (5, 20, 30, 3)),
        (np.ones((5, 1, 20, 30), bool), (5, 20, 30, 1)),
    ],
)
def test_arrays_of_usual_layouts_are_read(tmp_path, array, shape):
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "b.npz", array)
    np.savez(tmp_path / "c.npz", frames=array, other=np.zeros(3))
    for name in ("a.npy", "b.npz", "c.npz"):
        clip = read_clip(tmp_path / name)
        assert clip.frames.shape == shape
        assert clip.frames.dtype == np.uint8
        assert clip.frames.max() == 255 * bool(array.max())


def broken(tmp_path, kind):
    path = tmp_path / kind
    if kind == "empty folder":
        path.mkdir()
    elif kind == "folder of mixed sizes":
        path.mkdir()
        Image.new("L", (8, 8)).save(path / "1.png")
        Image.new("L", (9, 8)).save(path / "2.png")
    elif kind == "folder with a broken frame":
        path.mkdir()
        (path / "1.png").write_bytes(b"\x89PNG nothing")
    elif kind in ("text.mp4", "empty.mp4"):
        path.write_text("<html>this is no video</html>" if kind == "text.mp4" else "")
    elif kind == "cut.mp4":
        write_mp4(tmp_path / "whole.mp4", moving_square(), 5)
        path.write_bytes((tmp_path / "whole.mp4").read_bytes()[:700])
    elif kind == "sound.wav":
        import wave

        with wave.open(str(path), "wb") as sound:
            sound.setparams((1, 2, 8000, 0, "NONE", ""))
            sound.writeframes(bytes(1600))
    elif kind == "objects.npy":
        np.save(path, np.array([{"a": 1}], dtype=object))
    elif kind == "text.npz":
        path.write_text("no zip")
    elif kind == "cut.npz":
        np.savez(tmp_path / "whole.npz", moving_square())
        path.write_bytes((tmp_path / "whole.npz").read_bytes()[:-400])
    elif kind == "cut.npy":
        np.save(tmp_path / "whole.npy", moving_square())
        path.write_bytes((tmp_path / "whole.npy").read_bytes()[:-400])
    elif kind in ("flipped.npz", "flipped.npy"):
        (np.savez_compressed if kind.endswith("npz") else np.save)(path, np.random.default_rng(0).random((6, 20, 20)))
        content = bytearray(path.read_bytes())
        for place in (30, 60, 4000) if kind.endswith("npz") else (20, 40):
            content[place] ^= 0x5A
        path.write_bytes(content)
    elif kind == "folder of float frames":
        path.mkdir()
        Image.fromarray(np.zeros((8, 8), np.float32)).save(path / "1.tiff")
    elif kind == "two arrays.npz":
        np.savez(path, a=np.zeros(3), b=np.zeros(3))
    elif kind == "flat.npy":
        np.save(path, np.zeros((5, 20), np.uint8))
    elif kind == "seven channels.npy":
        np.save(path, np.zeros((5, 20, 20, 7), np.uint8))
    elif kind == "bright.npy":
        np.save(path, np.full((5, 20, 20), 255.0))
    elif kind == "nan.npy":
        np.save(path, np.full((5, 20, 20), np.nan))
    elif kind == "int64.npy":
        np.save(path, np.zeros((5, 20, 20), np.int64))
    elif kind == "no pixels.npy":
        np.save(path, np.zeros((5, 0, 20), np.uint8))
    elif kind == "no frames.npy":
        np.save(path, np.zeros((0, 20, 20), np.uint8))
    return path


BROKEN = {
    "missing.mp4": "does not exist",
    "empty folder": "has no frames",
    "folder of mixed sizes": r"'1.png' is 8×8 grey, .*2.png' is 9×8 grey",
    "folder with a broken frame": "cannot be read as an image",
    "text.mp4": "cannot be decoded as video",
    "empty.mp4": "cannot be decoded as video",
    "cut.mp4": "cannot be decoded as video",
    "sound.wav": "has no video stream",
    "objects.npy": "holds Python objects",
    "text.npz": "cannot be read as a NumPy array",
    "cut.npz": "cannot be read as a NumPy array",
    "cut.npy": "cannot be read as a NumPy array",
    "flipped.npz": "cannot be read as a NumPy array",
    "flipped.npy": "cannot be read as a NumPy array",
    "folder of float frames": "it holds floats",
    "two arrays.npz": "holds a, b; name one array 'frames'",
    "flat.npy": r"has shape \(5, 20\); expected \(T, H, W\)",
    "seven channels.npy": r"has shape \(5, 20, 20, 7\)",
    "bright.npy": r"float values outside \[0, 1\]",
    "nan.npy": "has NaN in frame 1: 400 of 400 values",
    "int64.npy": "dtype int64; expected uint8, bool, or float",
    "no frames.npy": "has no frames",
    "no pixels.npy": "has no frames with pixels",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_cannot_be_read_is_named_with_the_reason(tmp_path, kind):
    with pytest.raises(InputError, match=BROKEN[kind]) as caught:
        read_clip(broken(tmp_path, kind))
    assert kind in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_playlist_makes_ffmpeg_open_nothing_else(tmp_path):
    write_mp4(tmp_path / "secret.mp4", moving_square(), 5)
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:1", "#EXTINF:1,", str(tmp_path / "secret.mp4"), "#EXT-X-ENDLIST"]
    (tmp_path / "list.m3u8").write_text("\n".join(lines))
    (tmp_path / "list.ffconcat").write_text("ffconcat version 1.0\nfile secret.mp4\n")
    for name in ("list.m3u8", "list.ffconcat"):
        with pytest.raises(InputError, match=f"{name}' (is a playlist of other files|cannot be decoded)"):
            read_clip(tmp_path / name)


def test_fitting_squashes_crops_or_pads():
    frames = np.zeros((1, 40, 80, 1), np.uint8)
    frames[:, :, :20] = 255  # the left quarter is white
    clip = Clip("c", frames)
    squashed, cropped, padded = (fit_frames(clip, 32, 1, fit)[0, 0] for fit in ("squash", "crop", "pad"))
    assert squashed[:, :7].min() == 255
    assert squashed[:, 9:].max() == 0
    assert cropped.max() == 0
    assert padded[10:22, :7].min() == 255
    assert padded[:7].max() == 0
    assert padded[25:].max() == 0


def test_channels_are_converted():
    red = Clip("c", np.full((2, 8, 8, 3), (255, 0, 0), np.uint8))
    assert fit_frames(red, 8, 3).shape == (2, 3, 8, 8)
    assert fit_frames(red, 8, 1).max() == 76  # ITU-R 601 luma of pure red
    grey = Clip("c", np.full((2, 8, 8, 1), 9, np.uint8))
    assert (fit_frames(grey, 8, 3) == 9).all()
    with pytest.raises(InputError, match=r"frames of 3 channel\(s\) cannot be converted to the 2 channels"):
        fit_frames(red, 8, 2)


def test_frames_of_the_right_kind_are_not_touched():
    frames = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    assert np.array_equal(fit_frames(Clip("c", frames), 32, 3).transpose(0, 2, 3, 1), frames)


def test_to_bytes_rounds_and_clips():
    assert to_bytes(torch.tensor([-1.0, 0.0, 0.5, 1.0, 2.0])).tolist() == [0, 0, 128, 255, 255]


def has_colour(picture: np.ndarray, colour) -> bool:
    return bool((picture == np.array(colour)).all(axis=-1).any())


def test_pictures_frame_context_truth_and_futures_in_their_colours():
    context, futures = np.zeros((3, 1, 32, 32), np.uint8), np.zeros((4, 6, 1, 32, 32), np.uint8)
    truth = np.full((2, 1, 32, 32), 255, np.uint8)
    frames = list(FuturesPicture(context, futures, truth).animation())
    assert len(frames) == 9
    assert len({frame.shape for frame in frames}) == 1
    assert (frames[4] == 255).all(axis=-1).sum() >= 160 * 160  # the truth, enlarged
    assert has_colour(FuturesPicture(context, futures, truth).strip(), TRUTH)
    bare = FuturesPicture(context, futures)
    assert has_colour(bare.strip(), CONTEXT)
    assert has_colour(bare.strip(), FUTURE)
    assert not has_colour(bare.strip(), TRUTH)


def test_enlargement_is_nearest_neighbour():
    context = np.random.default_rng(0).integers(0, 256, (1, 1, 32, 32), dtype=np.uint8)
    strip = FuturesPicture(context, context[None]).strip(tile=96)
    enlarged = np.kron(context[0, 0], np.ones((3, 3), np.uint8))
    rows = strip[40 + 3 : 40 + 3 + 96, 72 + 3 : 72 + 3 + 96]
    assert np.array_equal(rows, np.repeat(enlarged[:, :, None], 3, axis=2))


def test_uncertainty_is_drawn_with_bounces_marked(tmp_path):
    sigma = np.random.default_rng(0).random((5, 8, 3))
    plain = plot_uncertainty(tmp_path / "a.png", sigma, 3)
    marked = plot_uncertainty(tmp_path / "b.png", sigma, 3, events={"bounces": np.arange(11) == 6})
    assert iio.imread(plain).shape == iio.imread(marked).shape
    green = (44, 160, 44)
    assert has_colour(iio.imread(marked)[..., :3], green)
    assert not has_colour(iio.imread(plain)[..., :3], green)
