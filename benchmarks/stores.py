"""Preparing videos, reading clips from the store against decoding them, and whether training ever waits for data.

    python -m benchmarks.stores [--videos 64] [--frames 500] [--rounds 3] [--no-step]

Makes KTH-like videos (160×120, MPEG-4 in AVI) and prepares them at 64 px with one and with two workers. Then it reads
batches of 100 clips of 20 frames, as training on KTH does, from the store and, clip by clip, by seeking in the videos
(one thread), and times a training step of kth-fp (VGG, 64 px) in the same process.
"""

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
import numpy as np
import torch

from stochvid import SVG, load_config
from stochvid.config import shipped_configs
from stochvid.core.clips import Clips
from stochvid.data.store import Store
from stochvid.data.stored_clips import StoredClips
from stochvid.media.clip import fit_frame
from stochvid.training.objectives import WeightedTerms

LENGTH, BATCH = 20, 100


def make_videos(folder: Path, count: int, frames: int) -> None:
    """People of noise walk through rooms of noise."""
    random = np.random.default_rng(0)
    for number in range(count):
        room = random.integers(60, 120, (15, 20)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
        person = random.integers(0, 255, (80, 30), dtype=np.uint8)
        path = folder / f"person{number % 25 + 1:02}_walking_d{number // 25 + 1}_uncomp.avi"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mpeg4", rate=25, options={"b": "400000"})
            stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
            for t in range(frames):
                frame = room.copy()
                x = (2 * t) % 130
                frame[30:110, x : x + 30] = person
                picture = av.VideoFrame.from_ndarray(frame.repeat(3).reshape(120, 160, 3), format="rgb24")
                container.mux(stream.encode(picture))
            container.mux(stream.encode())


def seek(path: Path, start: int) -> np.ndarray:
    """A clip from the video itself: from the key frame before it on."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        container.seek(int(start / 25 / stream.time_base), stream=stream)
        frames = []
        for frame in container.decode(stream):
            if round(frame.time * 25) >= start:
                frames.append(fit_frame(frame.to_ndarray(format="rgb24"), 64, 1))
                if len(frames) == LENGTH:
                    return np.stack(frames)
    return np.stack(frames)


def seconds(function) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, default=64)
    parser.add_argument("--frames", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-step", action="store_true", help="leave out the training step")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "KTH").mkdir()
        make_videos(folder / "KTH", options.videos, options.frames)
        total, rates, whole = options.videos * options.frames, {1: [], 2: []}, {1: [], 2: []}
        for number in range(options.rounds):  # interleaved, so that a noisy neighbour slows all alike
            for workers in rates:
                out = folder / f"store-{number}-{workers}"
                words = [sys.executable, "-c", "from stochvid.cli.commands import main; main()", "prepare"]
                words += [str(folder / "KTH"), str(out), "--workers", str(workers)]
                start = time.perf_counter()
                said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
                whole[workers].append(total / (time.perf_counter() - start))
                rates[workers].append(float(re.search(r"frames, ([\d,]+) a second", said)[1].replace(",", "")))
        for workers, frames in rates.items():
            print(f"prepare, {workers} worker(s): {spread(frames)} frames/s; with its start, {spread(whole[workers])}")
        ratios = [two / one for one, two in zip(rates[1], rates[2], strict=True)]
        print(f"two workers against one: {statistics.median(ratios):.2f}× ({min(ratios):.2f} to {max(ratios):.2f})")

        store = Store(out)
        clips = StoredClips(store, "train", LENGTH)
        names = store.splits["train"].names
        where = [clips._place(index)[:2] for index in range(BATCH)]
        paths = [folder / "KTH" / f"{names[clip]}_uncomp.avi" for clip, _ in where]
        expected = [seek(path, start) for path, (_, start) in zip(paths, where, strict=True)]
        assert np.array_equal(np.stack(expected), clips.__getitems__(range(BATCH))["frames"])
        stored, sought = [], []
        for number in range(options.rounds):
            stored.append(10 * BATCH / seconds(lambda n=number: read(clips, n)))
            sought.append(BATCH / seconds(lambda: [seek(p, start) for p, (_, start) in zip(paths, where, strict=True)]))
        print(f"clips of {LENGTH} frames from the store: {spread(stored)} clips/s")
        print(f"the same clips by seeking in the videos: {spread(sought)} clips/s")
        ratios = [a / b for a, b in zip(stored, sought, strict=True)]
        print(f"store against seeking: {statistics.median(ratios):,.0f}× ({min(ratios):,.0f} to {max(ratios):,.0f})")
        if not options.no_step:
            steps = [4 / seconds(step) for step in [training_step()] for _ in range(options.rounds)]
            print(f"a training step of kth-fp (4 clips, fp32): {statistics.median(steps):.2f} clips/s")
            share = 100 * statistics.median(steps) / statistics.median(stored)
            print(f"of its time, reading its clips takes {share:.3f} %")


def read(clips: StoredClips, number: int) -> None:
    """Ten batches, other ones each time."""
    for batch in range(10 * number, 10 * number + 10):
        clips.__getitems__(range(BATCH * batch, BATCH * (batch + 1)))


def training_step():
    """A step of 4 clips; the paper's 100 take as long for each clip, and a lot of memory."""
    config = load_config(shipped_configs()["kth-fp"]).model
    model, objective = SVG(config), WeightedTerms(config.term_weights)
    adam = torch.optim.Adam(model.parameters(), lr=8e-4)
    frames = torch.randint(0, 256, (4, LENGTH, 1, 64, 64), dtype=torch.uint8)
    noise = torch.randn(4, 1, LENGTH - 1, config.z_dim)

    def step() -> None:
        adam.zero_grad()
        objective(model, Clips(frames), noise)["loss"].backward()
        adam.step()

    return step


if __name__ == "__main__":
    main()
