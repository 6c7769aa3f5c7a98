"""Only what is a video by itself is opened: nothing in a file makes FFmpeg open anything else."""

import subprocess
import sys
from pathlib import Path

import av
import pytest

from made_data import moving, write_video
from stochvid import InputError, read_clip
from stochvid.media.containers import DEMUXERS, VIDEO_SUFFIXES

SELF = "ffconcat version 1.0\nfile 'self.mp4'\n"

RECURSION = """
import resource, sys
from pathlib import Path
import av
from stochvid import InputError
from stochvid.media.video import decode_video, probe_video
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for read in (probe_video, lambda path: next(decode_video(path))):
    try:
        read(Path(sys.argv[1]))
    except InputError as error:
        print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize(("stack", "descriptors"), [(256, 64), (8192, 4096)])
def test_a_playlist_of_itself_takes_neither_memory_nor_descriptors(tmp_path, stack, descriptors):
    (tmp_path / "self.mp4").write_text(SELF)
    limits = f'ulimit -s {stack}; ulimit -n {descriptors}; exec "$0" -c "$1" "$2"'
    done = subprocess.run(
        ["bash", "-c", limits, sys.executable, RECURSION, tmp_path / "self.mp4"],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    *said, grown = done.stdout.splitlines()
    assert len(said) == 2
    assert all(
        "self.mp4' cannot be decoded as video: it is a playlist of other files, not a video. Give the videos." in line
        for line in said
    )
    assert int(grown) < 20  # MB


M3U8 = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.mp4\n#EXT-X-ENDLIST\n"
MPD = '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>secret.mp4</BaseURL></MPD>'
SDP = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
PLAYLISTS = {
    "ffconcat": b"ffconcat version 1.0\nfile secret.mp4\n",
    "ffconcat of a byte order mark": b"\xef\xbb\xbfffconcat version 1.0\nfile secret.mp4\n",
    "ffconcat after blank lines": b"\n\n  ffconcat version 1.0\nfile secret.mp4\n",
    "list of files": b"file 'secret.mp4'\n",
    "m3u8": M3U8.encode(),
    "m3u": b"secret.mp4\n",
    "dash": MPD.encode(),
    "sdp": SDP.encode(),
    "rtsp": b"RTSPtextRTSP://127.0.0.1/secret.mp4\r\n",
    "pls": b"[playlist]\nFile1=secret.mp4\n",
    "lavfi": b"movie=secret.mp4",
    "subtitles of elsewhere": b"# VobSub index file, v7 (do not modify this line!)\nid: en, index: 0\n",
    "imf": b'<?xml version="1.0"?><CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3/2016"/>',
}


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".gif", ".ts", ".m3u8", ".ffconcat", ".sdp", ".mpd", ""])
@pytest.mark.parametrize("kind", PLAYLISTS)
def test_a_playlist_opens_nothing_whatever_it_is_called(tmp_path, kind, suffix):
    write_video(tmp_path / "secret.mp4", moving(5))
    path = tmp_path / f"list{suffix}"
    path.write_bytes(PLAYLISTS[kind])
    with pytest.raises(InputError, match=r"cannot be decoded as video: .*(is a|is not read|is text)") as caught:
        read_clip(path)
    assert f"list{suffix}" in str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["%03d.mp4", "concat:a.mp4|b.mp4", "file:a.mp4", "subfile,,start,0,end,9,,:a.mp4", "a*.mp4", "pipe:0.mp4", "-.mp4",
     "http:x.mp4", "a?b=c#d.mp4", "data:video,x.mp4", "{a}.mp4", "lavfi:x.mp4"],
)  # fmt: skip
def test_a_name_is_a_name(tmp_path, monkeypatch, name):
    write_video(tmp_path / "made.mp4", moving(5))
    (tmp_path / "made.mp4").rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert len(read_clip(name).frames) == 5
    (tmp_path / "link.mp4").symlink_to(name)
    assert len(read_clip("link.mp4").frames) == 5


MADE = {
    "a.3gp": ("h263", {}), "a.asf": ("msmpeg4", {}), "a.avi": ("mpeg4", {}), "a.flv": ("flv", {}), "a.gif": ("gif", {}),
    "a.m2ts": ("libx264", {}), "a.m4v": ("libx264", {}), "a.mj2": ("jpeg2000", {"format": "mov"}),
    "a.mkv": ("libx264", {}),
    "a.mov": ("prores_ks", {}), "a.mp4": ("libx264", {}), "a.mpeg": ("mpeg2video", {}), "a.mpg": ("mpeg1video", {}),
    "a.mts": ("libx264", {}), "a.mxf": ("mpeg2video", {}), "a.ogv": ("libvpx", {}), "a.ts": ("libx264", {}),
    "a.vob": ("mpeg2video", {}), "a.webm": ("libvpx", {}), "a.wmv": ("wmv2", {}), "a.y4m": ("wrapped_avframe", {}),
    "a.nut": ("ffv1", {}), "a.ivf": ("libvpx", {}), "a.rm": ("rv10", {}), "a.wtv": ("mpeg2video", {}),
    "a.h264": ("libx264", {}), "a.mjpeg": ("mjpeg", {}), "a.hevc": ("libx265", {}),
    "a.apng": ("apng", {"format": "apng"}),
    "a.264": ("libx264", {"format": "h264"}), "a.265": ("libx265", {"format": "hevc"}), "a.h265": ("libx265", {}),
    "a.m2v": ("mpeg2video", {}), "a.m1v": ("mpeg1video", {}),
    "a.dv": ("dvvideo", {}), "a.f4v": ("libx264", {}), "a.3g2": ("mpeg4", {}),
}  # fmt: skip
SHAPES = {"h263": (96, 128), "dvvideo": (576, 720), "rv10": (96, 128)}
PIXELS = {"gif": "rgb8", "prores_ks": "yuv422p10le", "mjpeg": "yuvj420p", "apng": "rgb24"}


@pytest.mark.parametrize("name", MADE)
def test_the_containers_that_people_have_are_read(tmp_path, name):
    codec, options = MADE[name]
    height, width = SHAPES.get(codec, (48, 64))
    frames = moving(12, height=height, width=width)
    write_video(tmp_path / name, frames, codec, pix_fmt=PIXELS.get(codec, "yuv420p"), **options)
    clip = read_clip(tmp_path / name)
    width = {"a.3gp": 140, "a.dv": 768}.get(name, width)  # of pixels that are not square
    assert clip.frames.shape == (12, height, width, 3)


def test_every_suffix_of_a_video_has_a_container():
    assert {Path(name).suffix for name in MADE} >= VIDEO_SUFFIXES


def test_demuxers_are_named_as_ffmpeg_names_them():
    assert set(DEMUXERS) <= {name for names in av.formats_available for name in names.split(",")}


OTHERS = {
    "page.mp4": (b"<!DOCTYPE html>\n<html><body>Sign in</body></html>", "it is an HTML page"),
    "pointer.mp4": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
    "packed.mp4": (b"PK\3\4" + bytes(100), "is an archive. Unpack it first: unzip"),
    "document.mp4": (b"%PDF-1.7\n", "it is a PDF"),
    "notes.mp4": (b"frames are in the other folder\n", "it is text"),
    "nothing.mp4": (b"", "it is empty"),
    "song.mp4": (b"ID3\3\0\0\0\0\0\0" + bytes(500), "has no video stream: it is a sound file"),
    "photo.mp4": (b"\x89PNG\r\n\x1a\n" + bytes(100), "it is a picture. Give a video, or a folder"),
    "noise.mp4": (bytes(range(128, 256)) * 20, "cannot be decoded as video"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_video_is_called_what_it_is(tmp_path, name):
    content, said = OTHERS[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=said) as caught:
        read_clip(tmp_path / name)
    assert name in str(caught.value)
