"""Opening a video file and nothing else: which containers may be read, and what a file is that is none of them."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from stochvid.core.errors import InputError
from stochvid.core.untrusted import MOST_PIXELS, check_frame
from stochvid.media.pixels import Developer, shown_size

# FFmpeg's names of the demuxers that may open a file. None of them opens another file, as playlists (concat, hls, dash,
# imf, sdp), numbered images (image2), subtitles (vobsub) and Magic Lantern's split recordings (mlv) do
DEMUXERS = (
    "mov", "matroska", "avi", "mpegts", "mpeg", "asf", "asf_o", "flv", "kux", "live_flv", "ogg", "mxf", "gxf", "gif",
    "apng", "nut", "ivf", "rm", "wtv", "dv", "dhav", "cine", "ser", "flic", "amv", "yuv4mpegpipe",
    "m4v", "mpegvideo", "h261", "h263", "h264", "hevc", "vvc", "av1", "obu", "vc1", "mjpeg", "dirac", "dnxhd",
)  # fmt: skip

HEAD = 1024  # bytes by which other files are known

SOUND = "a sound file"
PICTURE = "a picture"
TEXT = "text"
MAGIC = {
    b"ID3": SOUND, b"fLaC": SOUND, b"\xff\xfb": SOUND, b"\xff\xf3": SOUND, b"\xff\xf1": SOUND, b"\xff\xf9": SOUND,
    b"#!AMR": SOUND, b"caff": SOUND, b"MThd": SOUND, b".snd": SOUND, b"MAC ": SOUND, b"wvpk": SOUND,
    b"\x89PNG": PICTURE, b"\xff\xd8\xff": PICTURE, b"BM": PICTURE, b"II*\0": PICTURE, b"MM\0*": PICTURE,
    b"PK\3\4": "a ZIP archive", b"\x1f\x8b": "a gzip archive", b"7z\xbc\xaf": "a 7z archive", b"Rar!": "a RAR archive",
    b"%PDF": "a PDF", b"\x7fELF": "a program", b"MZ": "a program", b"\x93NUMPY": "a NumPy array",
    b"\x89HDF": "an HDF5 file", b"SQLite": "a database",
}  # fmt: skip
FORMS = {b"WAVE": SOUND, b"AIFF": SOUND, b"AIFC": SOUND, b"WEBP": PICTURE}  # of RIFF, FORM and the like
PLAYLIST = "a playlist of other files, not a video"
FIXES = {PLAYLIST: "Give the videos", PICTURE: "Give a video, or a folder of pictures"}
TEXTS = {
    "ffconcat": PLAYLIST, "file ": PLAYLIST, "#extm3u": PLAYLIST, "[playlist]": PLAYLIST, "<mpd": PLAYLIST,
    "<compositionplaylist": PLAYLIST, "<smil": PLAYLIST, "<asx": PLAYLIST, "<smoothstreaming": PLAYLIST,
    "v=0": "a description of a stream (SDP)", "<!doctype html": "an HTML page", "<html": "an HTML page",
    "version https://git-lfs": "a Git LFS pointer: run git lfs pull",
    "{": "JSON",
}  # fmt: skip
VIDEO_SUFFIXES = {
    ".264", ".265", ".3g2", ".3gp", ".asf", ".avi", ".dv", ".f4v", ".flv", ".gif", ".h264", ".h265", ".hevc", ".m1v",
    ".m2ts", ".m2v", ".m4v", ".mj2", ".mjpeg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".nut", ".ogv",
    ".ts", ".vob", ".webm", ".wmv", ".wtv", ".y4m",
}  # fmt: skip


@contextmanager
def opened(path: Path, decoded: Callable[[], int] = lambda: 0) -> Iterator[tuple[Any, Any]]:
    """A video and its stream of pictures, with FFmpeg's errors in our words.

    Args:
        path: of the video.
        decoded: gives how many frames were decoded so far, for messages.

    Yields:
        PyAV's container and video stream.

    Raises:
        InputError: it is no video of `DEMUXERS`, has no stream of pictures, or breaks off.
    """
    import av

    # the whitelists hold for whatever a container opens, too; "file:" makes a name with a colon a name
    options = {"format_whitelist": ",".join(DEMUXERS), "protocol_whitelist": "file"}
    try:
        container = av.open(f"file:{path.absolute()}", options=options, metadata_errors="replace")
    except (av.FFmpegError, OSError) as error:
        raise InputError(_not_opened(path, error)) from None
    try:
        with container:
            yield container, _pictures(path, container)
    except (av.FFmpegError, OSError) as error:
        where = f" after {decoded()} frames" if decoded() else ""
        reason = getattr(error, "strerror", None) or error
        if isinstance(error, MemoryError):  # what it says of frames with more than `max_pixels`, too
            reason = "a frame in it claims to be far larger than the header says, or it is damaged"
        raise InputError(f"clip {str(path)!r} cannot be decoded as video{where}: {reason}.") from None


def frames_of_device(path: Path) -> Iterator[np.ndarray]:
    """Frames of a camera, (H, W, C) uint8, when they are there (Linux: Video4Linux).

    Raises:
        InputError: it is no camera, somebody else uses it, or it disappears.
    """
    import av

    what, number = f"camera {str(path)!r}", 0
    try:
        with av.open(str(path), format="v4l2") as container:
            stream = _pictures(path, container)
            developer = Developer(stream.sample_aspect_ratio)
            for frame in container.decode(stream):
                number += 1
                yield developer.develop(frame)
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        if number == 0:
            raise InputError(f"{what} cannot be opened: {reason}. Name a camera, as /dev/video0.") from None
        raise InputError(f"{what} gave no more after {number:,} frame(s): {reason}.") from None
    raise InputError(f"{what} gave no more after {number:,} frame(s).")


def moving_pictures(container: Any) -> list[Any]:
    """The streams that are videos: no cover art, no thumbnails of chapters."""
    from av.stream import Disposition

    still = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
    return [stream for stream in container.streams.video if not stream.disposition & still]


def picture_decoder(stream: Any) -> Any:
    """What decodes a stream: its own codec, or, for VP8 and VP9 with transparency, the one that knows of it."""
    import av

    own = stream.codec_context
    knows = {"vp8": "libvpx", "vp9": "libvpx-vp9"}.get(own.name)
    if knows is None or stream.metadata.get("alpha_mode") != "1" or knows not in av.codecs_available:
        return own
    decoder = av.CodecContext.create(knows, "r")
    decoder.options = own.options
    return decoder


def _pictures(path: Path, container: Any) -> Any:
    """The stream of pictures that players choose, ready to be decoded."""
    streams = moving_pictures(container)
    if not streams:
        covered = " but a cover" if container.streams.video else ""
        raise InputError(
            f"clip {str(path)!r} has no video stream{covered}. Give a video, and check that the file is whole."
        )
    known = [stream for stream in streams if stream.codec_context is not None]
    if not known:
        raise InputError(f"clip {str(path)!r} is of a codec that is not known here, or damaged.")
    best = container.streams.best("video")
    stream = next((stream for stream in known if best is not None and stream.index == best.index), known[0])
    check_frame(f"clip {str(path)!r}", *shown_size(stream.width, stream.height, stream.sample_aspect_ratio))
    # frames inside may claim another size than the header: the decoder shall not take memory for far more
    largest = min(MOST_PIXELS, 2 * stream.width * stream.height + (1 << 16))
    stream.codec_context.options = {"max_pixels": str(largest)}
    return stream


def _not_opened(path: Path, error: Exception) -> str:
    """What to say of a file that FFmpeg did not open."""
    kind, reason = what_is(path), getattr(error, "strerror", None) or error
    if kind == SOUND:
        return f"clip {str(path)!r} has no video stream: it is {kind}. Give a video."
    if getattr(error, "errno", None) == errno.EINVAL:  # of a demuxer that is not on the list
        reason = None if kind else "its format is not read. Give MP4, MKV, AVI or WebM"
    told = [str(reason)] if reason else []
    told += [f"it is {kind}. {FIXES.get(kind, 'Give a video')}"] if kind else []
    return f"clip {str(path)!r} cannot be decoded as video: {': '.join(told)}."


def what_is(path: Path) -> str | None:
    """What a file is that is no video, in words, by its first bytes; None: not known."""
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD)
    except OSError:
        return None
    if not head:
        return "empty"
    if head[:4] in (b"RIFF", b"RF64", b"FORM") and head[8:12] in FORMS:
        return FORMS[head[8:12]]
    for magic, kind in MAGIC.items():
        if head.startswith(magic):
            return kind
    text = head.removeprefix(b"\xef\xbb\xbf").decode(
        "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8", "ignore"
    )
    begin = text.lower().lstrip()
    if begin.startswith("<?xml"):
        begin = begin[begin.find("?>") + 2 :].lstrip()
    for start, kind in TEXTS.items():
        if begin.startswith(start):
            return kind
    return TEXT if text and all(c.isprintable() or c in "\t\r\n\f" for c in text) else None
