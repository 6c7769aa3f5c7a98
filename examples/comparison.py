"""Trains the models of the argument for latents beside each other, at equal steps and at equal time, and scores them.

    python examples/comparison.py comparison                          one digit on 32 px, built in: an hour and a half
    python examples/comparison.py comparison --scale paper --steps 20000 --minutes 600 --mnist FOLDER

Nothing is done twice: stopped, the same command goes on. OUT/METHOD-SEED/run is each training; futures are scored after
--steps of it and, after it went on until it had taken --minutes, again. OUT/table.md has the numbers, OUT/why.png the
argument: the same clip, and what each method makes of it.
"""

import argparse
import csv
import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib import pyplot as plt

import stochvid
from stochvid.data.moving_mnist import MovingMNIST

SAMPLES, CLIPS, HORIZON = 50, 96, 20
WHEN = {"steps": "at equal steps", "time": "at equal time"}
GIVEN, SHOWN = 5, (-1, 1, 3, 5, 8)  # frames that are given; those of the figure, counted from the bounce
COLUMNS = {
    f"PSNR, best of {SAMPLES} ↑": (2, lambda m, s: m["psnr"]["best"]["mean"]),
    "SSIM, best ↑": (3, lambda m, s: m["ssim"]["best"]["mean"]),
    "PSNR, mean ↑": (2, lambda m, s: m["psnr"]["mean"]["mean"]),
    "CRPS ↓": (4, lambda m, s: s["crps"]["mean"]),
    "diversity / error": (2, lambda m, s: s["diversity"]["mean"] / s["mse"]["mean"]),
    "sharpness": (2, lambda m, s: s["sharpness"]["mean"]),
    "identity ↑": (3, lambda m, s: s["identity"]["mean"]),
    "directions": (1, lambda m, s: s["directions"]["distinct"]),
    "their total variation ↓": (2, lambda m, s: s["directions"]["mean"]),
    "ranks ↓": (2, lambda m, s: s["rank_histogram"]["reliability_index"] if s["diversity"]["mean"] else np.nan),
}  # of metrics and samples of results.json, with so many digits


@dataclass(frozen=True)
class Method:
    """A way to predict.

    Attributes:
        label: in tables and figures.
        words: for `stochvid train`; None: nothing is trained.
    """

    label: str
    words: tuple[str, ...] | None = None


def _words(text: str) -> tuple[str, ...]:
    return tuple(shlex.split(text))


NOISE = "--model.prior fixed --model.context_latent mean"
GAN = "--adversarial.alone true --adversarial.weight 3e-2"
SMALL = {
    "copy-last": Method("the last frame stays"),
    "convlstm": Method(
        "ConvLSTM", _words("--config smmnist-convlstm --model.image_size 32 --model.widths '[48, 24, 24]'")
    ),
    "svg-det": Method("SVG without latents", _words("--config laptop --model.prior none")),
    "gan": Method("adversarial, noise alone", _words(f"--config laptop {NOISE} {GAN} --adversarial.channels 16")),
    "svg-fp": Method("SVG-FP", _words(f"--config laptop {NOISE}")),
    "svg-lp": Method("SVG-LP", _words("--config laptop")),
    "svg-lp-adversarial": Method(
        "SVG-LP, adversarial", _words("--config laptop --adversarial.weight 2e-3 --adversarial.channels 16")
    ),
    "svg-prime": Method(
        "SVG′",
        _words(
            "--config svg-prime-laptop --model.image_size 32 --model.base_channels 16 --model.g_dim 32 "
            "--model.rnn_size 32 --loss.kl_warmup_steps 0 --loss.feed_back null"
        ),
    ),
}
PAPER = {
    "copy-last": SMALL["copy-last"],
    "convlstm": Method("ConvLSTM", _words("--config smmnist-convlstm")),
    "svg-det": Method("SVG without latents", _words("--config smmnist-srvp-det")),
    "gan": Method("adversarial, noise alone", _words("--config smmnist-gan")),
    "svg-fp": Method("SVG-FP", _words("--config smmnist-srvp-fp")),
    "svg-lp": Method("SVG-LP", _words("--config smmnist-srvp-lp")),
    "svg-lp-adversarial": Method("SVG-LP, adversarial", _words("--config smmnist-adversarial")),
    "svg-prime": Method("SVG′", _words("--config svg-prime --loss.kl_warmup_steps 0 --loss.feed_back null")),
}
OPTIM = "--optim.lr 1e-3 --optim.warmup_steps 100 --optim.decay none --optim.clip_norm 1 --optim.ema 0.99"
ALIKE = {  # what is the same for all of them
    "small": f"{OPTIM} --data.digits builtin --data.num_digits 1 --data.digit_size 20 --data.max_speed 2",
    "paper": f"{OPTIM} --data.digits both --data.num_digits 2",
}


class Comparison:
    """A folder of runs and of what was found of them.

    Args:
        options: what the command line says.
    """

    def __init__(self, options: argparse.Namespace):
        self.o, self.out = options, Path(options.out)
        self.methods = {"small": SMALL, "paper": PAPER}[options.scale]
        if options.only:
            self.methods = {name: self.methods[name] for name in options.only}
        self.alike = [
            *_words(ALIKE[options.scale]), "--data.variant", "srvp2020", "--data.batch_size", "16",
            *("--trainer.sample_clips", "0", "--trainer.rollout_clips", "0", "--trainer.log_every", "20"),
            *("--trainer.validate_every", str(options.steps), "--trainer.checkpoint_every", "100"),
            *(("--data.mnist", options.mnist) if options.mnist else ()),
        ]  # fmt: skip

    def carry_out(self) -> None:
        """Trains and scores whatever is not there yet, then writes the table and the figure."""
        self.out.mkdir(parents=True, exist_ok=True)
        for seed in range(self.o.seeds):
            for name, method in self.methods.items():
                if method.words is not None:
                    folder = self.out / f"{name}-{seed}"
                    folder.mkdir(exist_ok=True)
                    self.train(folder, [*method.words, "--trainer.seed", str(seed)])
                    for when in WHEN:
                        self.score(str(folder / when), folder / f"scores-{when}")
        for name in self.methods:
            if self.methods[name].words is None:
                self.score(name, self.out / f"{name}-0" / "scores-steps")
        print(self.table())
        (self.out / "table.md").write_text(self.table() + "\n", encoding="utf-8")
        self.figure(self.out / "why.png")

    def train(self, folder: Path, words: list[str]) -> None:
        """Trains for the steps, keeps the model, and goes on until the minutes are over."""
        run, effort = folder / "run", folder / "effort.json"
        if not (folder / "steps").exists():
            most = self._stochvid(
                "train", *words, *self.alike, "--trainer.max_steps", str(self.o.steps), "--out", str(run),
                "--resume", "auto",
            )  # fmt: skip
            shutil.copytree(run / "model", folder / "steps.part", dirs_exist_ok=True)
            effort.write_text(json.dumps({"seconds_per_step": self._seconds(run), "memory": most}))
            (folder / "steps.part").rename(folder / "steps")
        if not (folder / "time").exists():
            seconds = json.loads(effort.read_text())["seconds_per_step"]
            steps = max(self.o.steps, round(60 * self.o.minutes / seconds / 100) * 100)
            more = [*words, *self.alike, "--trainer.max_steps", str(steps)]
            self._stochvid("train", *more, "--resume", str(run))
            shutil.copytree(run / "model", folder / "time.part", dirs_exist_ok=True)
            (folder / "time.part").rename(folder / "time")

    def score(self, model: str, out: Path) -> None:
        """The futures of held-out clips, the same for all."""
        if not (out / "results.json").is_file():
            data = [str(path) for path in sorted(self.out.glob("*/run"))]
            words = ["--data", data[0]] if model == "copy-last" else []
            self._stochvid(
                "evaluate", model, *words, "--out", str(out), "--clips", str(CLIPS), "--samples", str(SAMPLES),
                "--horizon", str(HORIZON), "--resume",
            )  # fmt: skip

    def _stochvid(self, *words: str) -> float:
        """A command of stochvid, in a process of its own; the most memory that it took, in MiB.

        Raises:
            SystemExit: it failed.
        """
        threads = ["--threads", str(self.o.threads)] if self.o.threads else []
        print(f"\n$ {shlex.join(['stochvid', *words, *threads])}", flush=True)
        process = subprocess.Popen([sys.executable, "-m", "stochvid", *words, *threads])
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)  # Popen did not wait itself
        if process.returncode:
            raise SystemExit(process.returncode)
        return used.ru_maxrss / 1024

    @staticmethod
    def _seconds(run: Path) -> float:
        """Seconds of a step: the median of the lines of its metrics but the first."""
        with open(run / "metrics.csv", newline="", encoding="utf-8") as file:
            rates = [float(row["clips_per_s"]) for row in csv.DictReader(file) if row["split"] == "train"]
        return 16 / float(np.median(rates[1:] or rates))

    def results(self, name: str, when: str) -> list[dict]:
        """What was found of a method, of each seed."""
        files = sorted(self.out.glob(f"{name}-[0-9]*/scores-{when}/results.json"))
        return [json.loads(file.read_text()) for file in files]

    def table(self) -> str:
        """All numbers as Markdown; of several seeds their mean and half their range."""
        lines = []
        for when, words in WHEN.items():
            rows = [["", "steps", "s a step", "MiB", *COLUMNS]]
            for name, method in self.methods.items():
                found = self.results(name, when if method.words else "steps")
                if not found:
                    continue
                row = [method.label, *(self._effort(name, when) if method.words else ("", "", ""))]
                for digits, number in COLUMNS.values():
                    values = np.array([number(one["metrics"], one["samples"]) for one in found], dtype=float)
                    half = f" ± {(values.max() - values.min()) / 2:.{digits}f}" if len(values) > 1 else ""
                    row.append("" if np.isnan(values).any() else f"{values.mean():.{digits}f}{half}")
                rows.append(row)
            heads, *others = (f"| {' | '.join(row)} |" for row in rows)
            lines += [f"**{words}**", "", heads, f"|{'---|' * len(rows[0])}", *others, ""]
        found = [one["samples"]["directions"] for name in self.methods for one in self.results(name, "steps")]
        if found:
            most = max(found, key=lambda one: one["distinct_of_truth"])
            lines.append(
                f"Directions: how many different ones {SAMPLES} futures take, mean of {most['bounces']} bounces; "
                f"by chance {most['distinct_of_truth']:.1f}, with a total variation of {most['floor']:.2f}."
            )
        return "\n".join(lines)

    def _effort(self, name: str, when: str) -> tuple[str, str, str]:
        folder = self.out / f"{name}-0"
        effort = json.loads((folder / "effort.json").read_text())
        steps = stochvid.load_config(folder / when / "training.yaml").trainer.max_steps
        return f"{steps:,}", f"{effort['seconds_per_step']:.2f}", f"{effort['memory']:,.0f}"

    def figure(self, path: Path) -> None:
        """The same clip and what each method makes of it; beside it, how good and how different their futures are."""
        names = [name for name, method in self.methods.items() if method.words and self.results(name, "time")]
        first = self.out / f"{names[0]}-0" / "time"
        config = stochvid.load_config(first / "training.yaml")
        frames, bounce = clip_with_a_bounce(config)
        times = [bounce + step for step in SHOWN]
        figure = plt.figure(figsize=(16, 0.62 * (len(names) + 1) + 0.5), layout="constrained")
        left, right = figure.subfigures(1, 2, width_ratios=[3.4, 1])
        axes = left.subplots(len(names) + 1, 5, gridspec_kw={"wspace": 0.02, "hspace": 0.02})
        for ax in axes.flat:
            ax.axis("off")
        self._strip(axes[0, 0], frames[:GIVEN], "given")
        self._strip(axes[0, 1], frames[times], "what happened", bounce=1)
        for row, name in zip(axes[1:], names, strict=True):
            model = stochvid.load(self.out / f"{name}-0" / "time")
            futures = model.predict(torch.from_numpy(frames[None, :GIVEN]), HORIZON, SAMPLES, seed=0).frames[0]
            shown = futures[:, [t - GIVEN for t in times], 0].numpy()
            strips = [shown.mean(0), *shown[:3], shown.std(0)]
            titles = [f"mean of {SAMPLES}", "future 1", "future 2", "future 3", "spread of each pixel"]
            for ax, strip, title in zip(row, strips, titles, strict=True):
                self._strip(ax, strip, title if name == names[0] else "", heat=title.startswith("spread"))
            row[0].text(-0.02, 0.5, self.methods[name].label, transform=row[0].transAxes, ha="right", va="center")
        self._scatter(right.subplots(), names)
        figure.savefig(path, dpi=110)
        print(f"{path}: clip with a bounce at frame {bounce - GIVEN + 1} of the future")

    @staticmethod
    def _strip(ax, frames: np.ndarray, title: str, heat: bool = False, bounce: int | None = None) -> None:
        """Frames beside each other; `bounce`: under which one is marked."""
        values = np.asarray(frames).reshape(len(frames), *frames.shape[-2:])
        values = values / 255 if values.dtype == np.uint8 else values
        most, size = 0.5 if heat else 1.0, values.shape[-1] + 2
        framed = np.pad(values, ((0, 0), (1, 1), (1, 1)), constant_values=most / 3)
        ax.imshow(np.concatenate(list(framed), 1), "magma" if heat else "gray", vmin=0, vmax=most)
        ax.set_title(title, fontsize=10)
        if bounce is not None:
            ends = [size * bounce, size * (bounce + 1) - 1]
            ax.plot(ends, [size + 1, size + 1], color="tab:orange", lw=3, clip_on=False)

    def _scatter(self, ax, names: list[str]) -> None:
        for i, name in enumerate(names):
            colour = colormaps["tab10"](i)
            for when, face in (("steps", "none"), ("time", colour)):
                for found in self.results(name, when):
                    samples = found["samples"]
                    ratio = samples["diversity"]["mean"] / samples["mse"]["mean"]
                    ax.scatter(ratio, samples["crps"]["mean"], edgecolors=colour, facecolors=face)
            beside = {"xytext": (-7, -3), "ha": "right"} if ratio > 0.5 else {"xytext": (7, -3)}
            ax.annotate(
                self.methods[name].label, (ratio, samples["crps"]["mean"]), textcoords="offset points", **beside
            )
        ax.axvline(1, color="0.7", lw=1, ls=":")
        ax.set_xlim(-0.05, 1.25)
        ax.set_xlabel("diversity / error: 1 is right")
        ax.set_ylabel("CRPS: less is better")
        ax.set_title("filled: at equal time", fontsize=10)


def clip_with_a_bounce(config: stochvid.TrainConfig) -> tuple[np.ndarray, int]:
    """The first held-out clip of which a digit bounces for the first time in frames 4 to 8 of the future, and when."""
    clips = MovingMNIST.from_config(config.data, config.model, "test", GIVEN + HORIZON, seed=1)
    for number in range(1000):
        clip = clips[number]
        (times,) = clip["bounces"][GIVEN:].nonzero()
        if len(times) and 3 <= times[0] <= 7 and (len(times) < 2 or times[1] > times[0] + 4):
            return clip["frames"], GIVEN + int(times[0])
    raise SystemExit("no clip has such a bounce")


def main() -> None:
    """Reads the command line."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("out", help="folder of everything")
    words.add_argument("--scale", choices=("small", "paper"), default="small", help="default: small")
    words.add_argument("--steps", type=int, default=1000, help="at which methods are compared (default: 1000)")
    words.add_argument("--minutes", type=float, default=7, help="of training that they are compared after (default: 7)")
    words.add_argument("--seeds", type=int, default=1, help="trainings of each method (default: 1)")
    words.add_argument("--only", nargs="+", metavar="METHOD", help=f"some of: {', '.join(SMALL)}")
    words.add_argument("--mnist", help="folder of MNIST's IDX files, for --scale paper")
    words.add_argument("--threads", type=int, help="of the CPU")
    options = words.parse_args()
    if options.scale == "paper" and not options.mnist:
        words.error("--scale paper needs --mnist FOLDER, with MNIST's IDX files")
    if unknown := set(options.only or ()) - set(SMALL):
        words.error(f"there is no method {min(unknown)!r}; there are {', '.join(SMALL)}")
    Comparison(options).carry_out()


if __name__ == "__main__":
    main()
