"""Own videos from end to end: simulates a folder of them, prepares it, trains on it, and draws futures.

    python examples/own_videos.py

It prints every command before it runs it, so that each can be repeated by hand, with a folder of your own.
docs/tutorial.md explains them one by one.
"""

import argparse
import shlex
import sys
from pathlib import Path

import balls
from stochvid.cli.commands import main as stochvid

CONFIG = Path(__file__).parent / "balls.yaml"
# for --quick: a model of nothing, in seconds
TINY = "--model.base_channels 4 --model.rnn_size 16 --model.g_dim 16 --data.batch_size 4 --data.val_clips 4"
SHORT = "--trainer.max_steps 4 --trainer.validate_every 4 --trainer.sample_clips 0 --trainer.precision fp32"


def commands(root: Path, quick: bool) -> list[str]:
    """The commands, as one would type them; everything that they write is below `root`."""
    videos, store = root / "data" / "ball-videos", root / "data" / "balls"
    run, futures, results = root / "runs" / "balls", root / "futures", root / "evaluations" / "balls"
    config = CONFIG.relative_to(Path.cwd()) if CONFIG.is_relative_to(Path.cwd()) else CONFIG
    lines = [
        f"python examples/balls.py {videos}",
        f"stochvid prepare {videos} {store} --size 32",
        f"stochvid train --config {config} --data.store {store} --out {run}",
        f"stochvid predict {run} {store}:0 {store}:1 {store}:2 --out {futures}",
        f"stochvid evaluate {run} --clips 20 --out {results}",
    ]
    if quick:
        extra = ["--quick", "--workers 0", f"{TINY} {SHORT}", "--horizon 4", "--samples 2 --horizon 4"]
        lines = [f"{line} {more}" for line, more in zip(lines, extra, strict=True)]
        lines[3] = lines[3].replace(f" {store}:1 {store}:2", "")  # one clip is held out
        lines[4] = lines[4].replace("--clips 20", "--clips 1")
    return lines


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", type=Path, help="folder for everything (default: this one; quick/ with --quick)")
    parser.add_argument("--quick", action="store_true", help="few videos and steps, to try it: the futures are noise")
    options = parser.parse_args(words)
    root = options.root or Path("quick" if options.quick else "")
    for line in commands(root, options.quick):
        print(f"\n$ {line}", flush=True)
        tool, *rest = shlex.split(line)
        if tool == "python" and Path(rest[1]).exists():
            print(f"{rest[1]} is there already")
        elif tool == "python":
            balls.main(rest[1:])
        elif code := stochvid(rest):
            sys.exit(code)


if __name__ == "__main__":
    main()
