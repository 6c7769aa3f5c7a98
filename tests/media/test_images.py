"""What a picture says of itself is honoured, and no page, bit or frame is lost without a word."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from made_data import stored
from stochvid import InputError, read_clip
from stochvid.prepare import prepare

QUARTERS = np.zeros((32, 48, 3), np.uint8)  # each quarter of another colour: no two turns of it are alike
QUARTERS[:16, :24], QUARTERS[:16, 24:], QUARTERS[16:, :24] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
TURNED = {
    1: QUARTERS, 2: QUARTERS[:, ::-1], 3: QUARTERS[::-1, ::-1], 4: QUARTERS[::-1], 5: QUARTERS.swapaxes(0, 1),
    6: np.rot90(QUARTERS, -1), 7: QUARTERS[::-1, ::-1].swapaxes(0, 1), 8: np.rot90(QUARTERS),
}  # fmt: skip


def shades(count: int, low: int = 0, high: int = 255, dtype=np.uint8) -> list[np.ndarray]:
    """Frames (32, 48) of noise, whose least and largest values are given."""
    frames = np.random.default_rng(0).integers(low, high + 1, (count, 32, 48)).astype(dtype)
    frames[:, 0, 0], frames[:, 0, 1] = low, high
    return list(frames)


def write_stack(path, frames, **options):
    """Frames as the pages of one file."""
    path.parent.mkdir(exist_ok=True)
    first, *others = (Image.fromarray(frame) for frame in frames)
    first.save(path, save_all=True, append_images=others, **options)
    return path


# --------------------------------------------------------------------------------------------------- the way up, alpha


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", TURNED)
def test_pictures_are_turned_as_they_say(tmp_path, suffix, orientation):
    picture = Image.fromarray(QUARTERS)
    exif = picture.getexif()
    exif[274] = orientation
    (tmp_path / "in").mkdir()
    options = {"tif": {"tiffinfo": {274: orientation}}, "jpg": {"quality": 100, "subsampling": 0}}
    options = {"lossless": True} | options.get(suffix, {}) | ({} if suffix == "tif" else {"exif": exif})
    for number in range(3):
        picture.save(tmp_path / "in" / f"{number}.{suffix}", **options)
    upright = TURNED[orientation]
    frames = read_clip(tmp_path / "in").frames
    assert frames.shape == (3, *upright.shape)
    assert np.abs(frames[2].astype(int) - upright).max() < 12
    store = prepare(tmp_path / "in", tmp_path / "out", size=32, split="test", workers=0)
    expected = np.asarray(Image.fromarray(upright).resize((32, 32), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert np.abs(store.array("test")[2].astype(int) - expected).max() < 12


def test_the_size_that_is_announced_is_the_one_that_is_seen(tmp_path, capsys):
    picture = Image.fromarray(QUARTERS)
    exif = picture.getexif()
    exif[274] = 6
    (tmp_path / "in").mkdir()
    for number in range(3):
        picture.save(tmp_path / "in" / f"{number}.jpg", exif=exif)
    prepare(tmp_path / "in", tmp_path / "out", split="test", workers=0)
    assert "about 3 frames of 32×48" in capsys.readouterr().out


def test_a_damaged_orientation_is_none(tmp_path):
    for number, exif in enumerate((b"Exif\0\0nonsense", b"Exif\0\0II*\0\xff\xff\xff\x7f")):
        Image.fromarray(QUARTERS).save(tmp_path / f"{number}.jpg", exif=exif)
    assert read_clip(tmp_path).frames.shape == (2, 32, 48, 3)


@pytest.mark.parametrize("suffix", ["png", "webp", "tif", "gif"])
def test_what_is_transparent_is_black_whatever_it_hides(tmp_path, suffix):
    picture = np.full((32, 48, 4), 255, np.uint8)
    picture[:16, :, 3] = 0
    path = tmp_path / f"0.{suffix}"
    Image.fromarray(picture).save(path, **({"lossless": True, "exact": True} if suffix == "webp" else {}))
    (frame,) = read_clip(path).frames
    assert frame.shape[:2] == (32, 48)
    assert (frame[:14].max(), frame[18:].min()) == (0, 255)


def test_one_grey_picture_in_a_colour_sequence_is_a_frame(tmp_path):
    Image.new("L", (48, 32), 7).save(tmp_path / "0.png")
    for number in range(1, 4):
        Image.fromarray(QUARTERS).save(tmp_path / f"{number}.png")
    clip = read_clip(tmp_path)
    assert clip.frames.shape == (4, 32, 48, 3)
    assert np.unique(clip.frames[0]).tolist() == [7]
    (grey,) = stored(prepare(tmp_path, tmp_path.with_name("grey"), channels=1, split="test", workers=0)).values()
    assert grey.shape[1] == 1


# ------------------------------------------------------------------------------------------------------------- stacks


@pytest.mark.parametrize("options", [{}, {"compression": "tiff_lzw"}, {"compression": "packbits"}, {"big_tiff": True}])
def test_the_pages_of_a_tiff_are_frames(tmp_path, options):
    frames = shades(12)
    clip = read_clip(write_stack(tmp_path / "a.tif", frames, **options))
    assert np.array_equal(clip.frames[..., 0], np.stack(frames))
    assert np.array_equal(read_clip(tmp_path / "a.tif", limit=4).frames[..., 0], np.stack(frames[:4]))


@pytest.mark.parametrize("suffix", ["webp", "png"])
def test_an_animation_is_a_clip_with_its_rate(tmp_path, suffix):
    frames = [np.full((32, 48, 3), 20 * number, np.uint8) for number in range(10)]
    path = write_stack(
        tmp_path / f"a.{suffix}", frames, duration=50, **({"lossless": True} if suffix == "webp" else {})
    )
    clip = read_clip(path)
    assert (clip.fps, len(clip.frames)) == (pytest.approx(20), 10)
    assert np.array_equal(clip.frames, np.stack(frames))
    assert np.array_equal(read_clip(path, fps=10).frames, np.stack(frames[::2]))
    store = prepare(path, tmp_path / "out", size=32, split="test", workers=0)
    assert (store.splits["test"].lengths, store.splits["test"].fps) == ([10], [pytest.approx(20)])


def test_an_animation_of_a_variable_rate_is_taken_at_a_constant_one_alone(tmp_path):
    frames = [np.full((32, 48, 3), 20 * number, np.uint8) for number in range(4)]
    path = write_stack(tmp_path / "a.webp", frames, duration=[40, 40, 200, 40], lossless=True)
    with pytest.raises(InputError, match=r"has a variable frame rate: frames last 40 to 200 ms. Give --fps 25"):
        prepare(path, tmp_path / "out", workers=0)
    store = prepare(path, tmp_path / "out", size=32, fps=25, split="test", workers=0)
    assert (store.array("test")[:, 0, 0, 0] // 20).tolist() == [0, 1, 2, 2, 2, 2, 2, 3]


def test_a_picture_for_those_who_know_no_animation_is_no_frame_of_it(tmp_path):
    frames = [np.full((32, 48, 3), 20 * number, np.uint8) for number in range(5)]
    path = write_stack(tmp_path / "a.png", frames, duration=50, default_image=True)
    assert np.array_equal(read_clip(path).frames, np.stack(frames[1:]))


def test_a_folder_of_stacks_is_a_clip_for_each(tmp_path):
    for number, name in enumerate(("a.tif", "b.tiff", "deep.tif")):
        write_stack(tmp_path / "in" / name, shades(5 + number))
    clips = stored(prepare(tmp_path / "in", tmp_path / "out", size=32, workers=0))
    assert {name: len(clip) for name, clip in clips.items()} == {"a.tif": 5, "b.tiff": 6, "deep.tif": 7}
    with pytest.raises(InputError, match=r"'a.tif' has 5 pages, as have others: each is a clip. Name one"):
        read_clip(tmp_path / "in")


@pytest.mark.parametrize("stack", ["0.tif", "9.tif"])
def test_a_stack_among_single_pictures_is_refused(tmp_path, stack):
    write_stack(tmp_path / "in" / stack, shades(5))
    Image.fromarray(shades(1)[0]).save(tmp_path / "in" / "5.tif")
    with pytest.raises(InputError, match=f"'{stack}' has 5 pages, and '5.tif' has one"):
        read_clip(tmp_path / "in")
    with pytest.raises(InputError, match=r"a single picture among stacks|has 5 pages, and '5.tif' has one"):
        prepare(tmp_path / "in", tmp_path / "out", workers=0)


def test_previews_and_masks_of_a_tiff_are_no_frames(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for number in range(4):
            writer.write(np.full((32, 48), number, np.uint8))
            writer.write(np.full((16, 24), 99, np.uint8), subfiletype=1)
    assert read_clip(tmp_path / "a.tif").frames[:, 0, 0, 0].tolist() == [0, 1, 2, 3]
    with tifffile.TiffWriter(tmp_path / "b.tif") as writer:
        writer.write(np.full((16, 24), 99, np.uint8), subfiletype=1)
        writer.write(np.full((32, 48), 7, np.uint8))
    assert np.unique(read_clip(tmp_path / "b.tif").frames).tolist() == [7]


@pytest.mark.parametrize("options", [{"tile": (16, 16)}, {"compression": "zlib"}, {"byteorder": ">", "bigtiff": True}])
def test_pages_in_tiles_and_of_any_byte_order_are_read(tmp_path, options):
    tifffile = pytest.importorskip("tifffile")
    frames = np.random.default_rng(0).integers(0, 256, (5, 32, 48, 3), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", frames, photometric="rgb", **options)
    assert np.array_equal(read_clip(tmp_path / "a.tif").frames, frames)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((5, 32, 48), {"truncate": True}, "says that it has 5 pages, but only 1 can be found"),
        ((5, 2, 32, 48), {"imagej": True, "metadata": {"axes": "TCYX"}}, "run over 2 × 5 channels"),
        ((5, 2, 32, 48), {"ome": True, "metadata": {"axes": "TCYX"}}, "run over 1 × 2 × 5 channels"),
        ((6, 2, 32, 48), {"photometric": "minisblack"}, "run over 6 × 2 channels"),
    ],
)
def test_pages_that_are_more_than_times_are_refused(tmp_path, shape, options, message):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "a.tif", np.zeros(shape, np.uint16), **options)
    with pytest.raises(InputError, match=message):
        read_clip(tmp_path / "a.tif")


@pytest.mark.parametrize("options", [{"imagej": True, "metadata": {"axes": "TYX"}}, {"ome": True}, {}])
def test_series_in_time_of_common_writers_are_read(tmp_path, options):
    tifffile = pytest.importorskip("tifffile")
    frames = np.stack(shades(6))
    tifffile.imwrite(tmp_path / "a.tif", frames, photometric="minisblack", **options)
    assert np.array_equal(read_clip(tmp_path / "a.tif").frames[..., 0], frames)


def test_pages_without_an_end_are_refused(tmp_path):
    write_stack(tmp_path / "a.tif", shades(2))
    data = bytearray((tmp_path / "a.tif").read_bytes())
    first = struct.unpack("<I", data[4:8])[0]
    link = first + 2 + 12 * struct.unpack("<H", data[first : first + 2])[0]
    begin = bytes(data)
    data[link : link + 4] = struct.pack("<I", first)
    (tmp_path / "circle.tif").write_bytes(data)
    with pytest.raises(InputError, match="are linked in a circle"):
        read_clip(tmp_path / "circle.tif")
    many = [len(begin) + 18 * number for number in range(200_000)]
    chain = b"".join(struct.pack("<HHHII", 1, 256, 3, 1, 64) + struct.pack("<I", place + 18) for place in many)
    data[link : link + 4] = struct.pack("<I", len(begin))
    (tmp_path / "many.tif").write_bytes(bytes(data) + chain)
    with pytest.raises(InputError, match="are more than 100,000"):
        read_clip(tmp_path / "many.tif")


def test_a_stack_that_is_cut_short_is_refused(tmp_path):
    write_stack(tmp_path / "a.tif", shades(6))
    (tmp_path / "a.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:-900])
    with pytest.raises(InputError, match=r"is cut short|cannot be read as an image"):
        read_clip(tmp_path / "a.tif")


# -------------------------------------------------------------------------------------------------------------- depth


def write_deep(folder, frames, suffix="png"):
    folder.mkdir()
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{number}.{suffix}")
    return folder


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_values_in_a_corner_of_16_bits_are_told_and_scaled_if_asked(tmp_path, suffix):
    frames = shades(5, 200, 4095, np.uint16)
    folder = write_deep(tmp_path / "in", frames, suffix)
    for read in (read_clip, lambda path: prepare(path, tmp_path / "out", workers=0)):
        with pytest.raises(InputError, match=r"values 200 to 4,095 of 65,535: nearly black .* --range 0 4095"):
            read(folder)
    exact = np.round(np.stack(frames) / 4095 * 255).astype(np.uint8)
    assert np.array_equal(read_clip(folder, range=(0, 4095)).frames[..., 0], exact)
    stretched = np.round((np.stack(frames) - 200.0) / 3895 * 255).astype(np.uint8)
    assert np.array_equal(read_clip(folder, range="auto").frames[..., 0], stretched)
    assert np.array_equal(read_clip(folder, range=(0, 65535)).frames[..., 0], np.round(np.stack(frames) / 257))


def test_one_range_holds_for_all_clips_and_is_part_of_the_plan(tmp_path):
    write_deep(tmp_path / "in", shades(5, 100, 1000, np.uint16))
    root = tmp_path / "both"
    write_deep(tmp_path / "b", shades(5, 300, 4095, np.uint16))
    root.mkdir()
    (tmp_path / "in").rename(root / "a")
    (tmp_path / "b").rename(root / "b")
    store = prepare(root, tmp_path / "out", size=32, range="auto", workers=0)
    assert store.about["plan"]["range"] == [100, 4095]
    dark, bright = (stored(store)[name].max() for name in ("a", "b"))
    assert (dark < 60, bright > 200) == (True, True)
    again = prepare(root, tmp_path / "out", size=32, range=(100, 4095), workers=0)
    assert again.about["plan"] == store.about["plan"]


def test_a_picture_that_was_saved_with_8_bits_among_deeper_ones_is_as_bright_as_they_are(tmp_path):
    folder = write_deep(tmp_path / "in", [np.full((32, 48), 65535, np.uint16)] * 2)
    Image.fromarray(np.full((32, 48), 255, np.uint8)).save(folder / "9.png")
    assert np.unique(read_clip(folder).frames).tolist() == [255]
    assert np.unique(read_clip(folder, range=(0, 131070)).frames).tolist() == [128]


def test_floats_and_negative_numbers_in_tiff_need_a_range(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    frames = np.linspace(-2, 2, 5 * 32 * 48).reshape(5, 32, 48)
    for kind, scale in (("float32", 1), ("int16", 100)):
        path = tmp_path / f"{kind}.tif"
        tifffile.imwrite(path, (frames * scale).astype(kind))
        with pytest.raises(InputError, match=r"cannot be read as an image: it.*--range LOW HIGH"):
            read_clip(path)
        expected = np.round(((frames * scale).astype(kind).astype(float) / scale + 2) / 4 * 255)
        assert np.abs(read_clip(path, range=(-2 * scale, 2 * scale)).frames[..., 0] - expected).max() <= 1


def test_nan_in_a_picture_is_called_nan(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    frames = np.zeros((5, 32, 48), np.float32)
    frames[3, 4, 5] = np.nan
    tifffile.imwrite(tmp_path / "a.tif", frames)
    with pytest.raises(InputError, match="has NaN in frame 4: 1 of 1,536 values, the first in row 5, column 6"):
        read_clip(tmp_path / "a.tif", range=(0, 1))


def test_where_0_is_white_16_bits_are_turned_round(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "a.tif", np.full((3, 32, 48), 65535 - 40000, np.uint16), photometric="miniswhite")
    assert np.unique(read_clip(tmp_path / "a.tif").frames).tolist() == [40000 >> 8]


def deep_colour(frame: np.ndarray) -> bytes:
    """A PNG of (H, W, 3) uint16."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", frame.shape[1], frame.shape[0], 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in frame)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_dark_colours_of_16_bits_are_told_of_and_not_scaled_from_8(tmp_path):
    for number in range(3):
        frame = np.random.default_rng(number).integers(0, 4096, (32, 48, 3)).astype(np.uint16)
        (tmp_path / f"{number}.png").write_bytes(deep_colour(frame))
    with pytest.raises(InputError, match="of 65,535: nearly black as they are"):
        read_clip(tmp_path)
    with pytest.raises(InputError, match="has colours of 16 bits, of which 8 are read"):
        read_clip(tmp_path, range=(0, 4095))


def test_a_range_is_not_for_videos(tmp_path):
    from made_data import moving, write_video

    write_video(tmp_path / "in" / "a.mp4", moving(4))
    with pytest.raises(InputError, match="--range is for arrays and images"):
        read_clip(tmp_path / "in" / "a.mp4", range=(0, 1))
    with pytest.raises(InputError, match="--range is for arrays and images"):
        prepare(tmp_path / "in", tmp_path / "out", range="auto", workers=0)
