"""`stochvid watch`: a file in real time, a pipe that is written to, and what breaks off."""

import io
import json
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from commands import STOCHVID
from stochvid import InputError, Live, load
from stochvid.cli import main
from stochvid.inference.watch import Newest, Usual, raw_frames
from stochvid.media.video import write_mp4

SIZE = ["--raw", "48x40x1"]


@pytest.fixture(scope="module")
def frames():
    """A block that moves, (T, H, W) uint8; from frame 41 on it is somewhere else in each frame."""
    rng, made = np.random.default_rng(0), np.zeros((60, 40, 48), np.uint8)
    for t, frame in enumerate(made):
        row, column = (5 + t // 4, 5 + t // 3) if t < 40 else rng.integers(0, 30, 2)
        frame[row : row + 8, column : column + 8] = 255
    return made


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def test_a_pipe_is_read_as_it_is_written(frames):
    words = [*STOCHVID, "watch", "one-digit", "-", *SIZE, "--device", "cpu"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        said = []
        reader = threading.Thread(target=lambda: said.extend(process.stdout))
        reader.start()
        process.stdin.write(frames[:6].tobytes())
        process.stdin.flush()
        end = time.monotonic() + 120
        while not said and time.monotonic() < end:  # told of before the pipe ends
            time.sleep(0.05)
            process.stdin.write(frames[6].tobytes())
            process.stdin.flush()
        assert said
        process.stdin.close()
        reader.join(60)
        assert process.wait(60) == 0
        told = lines(b"".join(said).decode())
        assert b"dropped" in process.stderr.read()
    assert list(told[0]) == ["frame", "seconds", "kl", "sigma", "mse", "peak", "dropped"]
    numbers = [line["frame"] for line in told]
    assert numbers == sorted(set(numbers))
    assert all(line["kl"] >= 0 and line["sigma"] > 0 for line in told)


def test_a_pipe_that_ends_within_a_frame_is_said(frames):
    words = [*STOCHVID, "watch", "one-digit", "-", *SIZE, "--device", "cpu"]
    data = frames[:7].tobytes()[:-1]
    done = subprocess.run(words, input=data, capture_output=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "ended within frame 7: 1,919 of 1,920 bytes of 48×40×1. Check --raw" in done.stderr.decode()


def test_raw_frames_are_whole_or_refused(frames):
    data, size = frames[:2].tobytes(), (48, 40, 1)
    np.testing.assert_array_equal(np.stack(list(raw_frames(io.BytesIO(data), size)))[..., 0], frames[:2])
    assert list(raw_frames(io.BytesIO(b""), size)) == []
    with pytest.raises(InputError, match="ended within frame 2: 1 of 1,920 bytes"):
        list(raw_frames(io.BytesIO(data[: 48 * 40 + 1]), size))


def test_a_file_is_played_in_real_time(frames, tmp_path, capsys):
    write_mp4(tmp_path / "clip.mp4", np.repeat(frames[:12, :, :, None], 3, -1), 10)
    begun = time.monotonic()
    assert main(["watch", "one-digit", str(tmp_path / "clip.mp4"), "--device", "cpu"]) == 0
    assert time.monotonic() - begun >= 1.1  # 12 frames, 10 a second
    output = capsys.readouterr()
    told = lines(output.out)
    assert all(line["seconds"] == pytest.approx((line["frame"] - 1) / 10, abs=0.01) for line in told)
    seen, dropped = (int(word) for word in output.err.split() if word.isdigit())
    assert seen + dropped == 12
    assert told[-1]["dropped"] <= dropped


def test_while_the_model_is_busy_only_the_newest_is_kept():
    go, taken = threading.Event(), []

    def source():
        yield 1, 0.0, "first"
        go.wait(10)
        for number in range(2, 100):
            yield number, 0.0, "later"

    newest = Newest(source())
    for number, _, _ in newest:
        taken.append(number)
        go.set()
        time.sleep(0.2)
    assert taken[0] == 1
    assert taken[-1] == 99
    assert len(taken) + newest.dropped == 99
    assert newest.dropped > 90


def test_what_stands_out_is_a_peak():
    usual, rng = Usual(), np.random.default_rng(0)
    assert not any(usual.is_outstanding(x) for x in [1000.0, *rng.normal(5, 1, 300)])
    assert usual.is_outstanding(30.0)
    assert len(usual.last) == 200


def test_surprise_is_that_of_live(frames, tmp_path, capsys):
    live = Live(load("one-digit"))
    np.save(tmp_path / "clip.npy", frames[:8])
    wanted = [live.see(frame) for frame in frames[:8]][5:]
    main(["watch", "one-digit", str(tmp_path / "clip.npy"), "--fps", "2", "--device", "cpu"])
    told = lines(capsys.readouterr().out)
    assert [line["frame"] for line in told] == [6, 7, 8]
    assert [line["kl"] for line in told] == pytest.approx([one.kl for one in wanted], rel=1e-3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["one-digit", "-"], "source '-' needs the size of the frames"),
        (["one-digit", "clip.mp4", "--raw", "3x3"], "leave out --raw"),
        (["one-digit", "-", "--raw", "3"], "--raw must be WIDTHxHEIGHT or"),
        (["one-digit", "-", "--raw", "0x3"], "--raw must have sides from 1 to 16,384"),
        (["one-digit", "-", "--raw", "3x3x5"], "1 to 4 channels"),
        (["one-digit", "nowhere.mp4"], "nowhere.mp4"),
        (["one-digit"], "watch needs a model and then what to see"),
    ],
)
def test_what_cannot_be_watched_is_said(words, message, capsys):
    assert main(["watch", *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Video4Linux")
def test_a_device_that_is_no_camera_is_said(capsys):
    assert main(["watch", "one-digit", "/dev/null"]) == 2
    assert "camera '/dev/null' cannot be opened" in capsys.readouterr().err
