"""The command line: one function per command, which loads what it needs when it runs."""

import re
import sys
from argparse import SUPPRESS, ArgumentError, RawDescriptionHelpFormatter
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from inspect import signature

from jsonargparse import ArgumentParser, DefaultHelpFormatter, Namespace

from stochvid.config import GROUPS, TrainConfig, shipped_configs
from stochvid.errors import InputError
from stochvid.options import check_names, ready_to_train
from stochvid.signals import Interrupted, interruptible

DESCRIPTION = """\
Draw many sharp, different, plausible futures of a video, and say how uncertain each step is.

  stochvid train --config laptop                         train a small model in minutes (no data needed)
  stochvid prepare my-videos data/videos                 decode your videos once, to train on them
  stochvid predict runs/laptop moving-mnist:1 my.mp4     draw futures of clips"""

TRAIN = """\
Train a model; the run folder gets config.yaml, metrics.csv, checkpoints/, samples/ and model/.

  stochvid train --config smmnist-lp --data.mnist PATH
  stochvid train --config laptop --optim.lr 1e-3 --out runs/slower
  stochvid train --resume runs/slower --trainer.max_steps 4000"""

PREDICT = """\
Draw futures of clips; each clip gets a folder with futures.gif, futures.mp4, strip.png, uncertainty.png, futures.npz.

  stochvid predict runs/laptop moving-mnist:1 --samples 7 --horizon 30
  stochvid predict runs/mine lab.mp4 frames/ array.npy --fit crop --out futures"""


PREPARE = """\
Decode clips once into a store to train on: a memory-mapped array for each split, and an index.

  stochvid prepare my-videos data/videos --size 64        videos or folders of frames; what it is, is recognised
  stochvid prepare KTH data/kth64                         the original tree of AVI files
  stochvid prepare softmotion30_44k data/bair             BAIR's TFRecords
  stochvid prepare moving-mnist data/test --variant srvp2020 --mnist PATH     the published test set
  stochvid prepare --verify data/kth64                    compare a store with its checksums

Stopped by Ctrl-C or a full disk, the same command goes on where it was. docs/data.md tells more."""

MOVING_MNIST = "moving-mnist"
FORMATS = ("videos", "arrays", "kth", "bair", "lerobot")


def prepare(options: Namespace) -> int:
    """`stochvid prepare`."""
    values = {name: value for name, value in options.items() if name != "cmd" and value is not None}
    if "verify" in values:
        if more := [name for name, value in values.items() if value is not False and name != "verify"]:
            raise InputError(f"--verify takes a store and nothing else, got {', '.join(more)}, too.")
        from stochvid.data.store import Store

        Store(values["verify"]).verify()
        print(f"{values['verify']}: the index and every checksum are right")
        return 0
    source, out = values.pop("source", None), values.pop("out", None)
    if source is None or out is None:
        raise InputError("prepare needs a source and a folder for the store: stochvid prepare my-videos data/videos.")
    from stochvid.data.moving_mnist_sets import prepare_moving_mnist
    from stochvid.prepare import prepare

    function = partial(prepare_moving_mnist, out) if source == MOVING_MNIST else partial(prepare, source, out)
    taken = set(signature(function).parameters)
    for name in [name for name in values if name not in taken]:
        if values.pop(name) is not False:  # a switch that was not set
            what = "a source on disk, not for moving-mnist" if source == MOVING_MNIST else "the source moving-mnist"
            raise InputError(f"--{name.replace('skip_bad', 'skip-bad')} is for {what}.")
    try:
        with interruptible():
            function(**values)
    except Interrupted as error:
        goes_on = "" if source == MOVING_MNIST else " The same command goes on from here."
        print(f"stochvid: stopped by {error.number.name}.{goes_on}", file=sys.stderr)
        return 128 + error.number
    return 0


def train(options: Namespace) -> int:
    """`stochvid train`."""
    config = TrainConfig(**{name: options[name] for name in GROUPS})
    if options.print_config:
        print(config.to_yaml(), end="")
        return 0
    if config.data.store:  # what is wrong with it can be said before torch has loaded
        from stochvid.data.clips import open_clips

        for part in ("train", "held out"):
            open_clips(config.data, config.model, part, config.model.frames, 0)
    from stochvid.train import Diverged, train

    try:
        run = train(
            config, options.out, resume=options.resume is not None, init=options.init, overwrite=options.overwrite
        )
    except Diverged as error:
        print(f"stochvid: {error}", file=sys.stderr)
        return 1
    except Interrupted as error:
        print(f"stochvid: stopped by {error.number.name} within a step.", file=sys.stderr)
        print(f"Continue from the last checkpoint, if any: stochvid train --resume {options.out}", file=sys.stderr)
        return 128 + error.number
    if not run.main:
        return 0  # the main process speaks for all, and would be killed for another code
    if run.stopped_by:
        print(f"Stopped by {run.stopped_by.name}. Continue with: stochvid train --resume {run.folder}")
        return 128 + run.stopped_by
    if options.resume is not None and run.step >= config.trainer.max_steps:
        print(f"It was at step {run.step} already. A larger --trainer.max_steps goes on.")
    clip = f"{config.data.store}:{_first_clip(config)}" if config.data.store else "moving-mnist:1"
    print(f"Done. Draw futures with: stochvid predict {run.folder} {clip}")
    return 0


def _first_clip(config: TrainConfig) -> int:
    from stochvid.data.store import Store

    store, model = Store(config.data.store), config.model
    return store.first(store.held_out, (model.context + 2 * model.horizon - 1) * config.data.stride + 1)


def predict(options: Namespace) -> int:
    """`stochvid predict`."""
    from stochvid.predict import predict_clips

    values = {name: value for name, value in options.items() if name != "cmd"}
    predict_clips(values.pop("model"), values.pop("clips"), values.pop("out"), **values)
    return 0


COMMANDS: dict[str, Callable[[Namespace], int]] = {"prepare": prepare, "train": train, "predict": predict}


def main(words: list[str] | None = None) -> int:
    """Runs one command and gives its exit code: 0 done, 1 diverged, 2 bad input, 130 Ctrl-C, 143 SIGTERM."""
    words = sys.argv[1:] if words is None else list(words)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # names of files may hold anything
    try:
        parser, options_of = _parsers()
        if not words:
            parser.print_help()
            return 0
        check_names(words, options_of)
        if words[0] in COMMANDS and {"-h", "--help"} & set(words):
            words = [words[0], "--help"]
        elif words[0] == "train":
            words = ["train", *ready_to_train(words[1:])]
        parsed = parser.instantiate(parser.parse_args(words))
        return COMMANDS[parsed.cmd](parsed[parsed.cmd])
    except InputError as error:
        print(f"stochvid: {error}", file=sys.stderr)
        return 2
    except ArgumentError as error:
        text = _plain(error)
        if words[:1] == ["prepare"] and "nrecognized arguments" in text:
            text = (
                "prepare takes one source and one folder for the store, got more. Give the folder that holds the "
                "clips, and choose among them with --split patterns."
            )
        print(f"stochvid: {text}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"stochvid: {error}.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stochvid: stopped.", file=sys.stderr)
        return 130


class Formatter(DefaultHelpFormatter, RawDescriptionHelpFormatter):
    """jsonargparse's help, with the examples of the descriptions as they are written."""


class PlainFormatter(Formatter):
    """For options that are left out rather than set to null: says nothing of null."""

    def _expand_help(self, action) -> str:
        text = re.sub(r" \(default: null\)|, default: null(?=\))| \| null", "", super()._expand_help(action))
        return re.sub(r"(\(default: .*\)) \((?:(type: \w+), )?default: .*\)$", r"\1", text)  # said once is enough


def _parsers() -> tuple[ArgumentParser, dict[str, set[str]]]:
    """The parser, and the options of every command."""
    style = {"exit_on_error": False, "print_config": None, "formatter_class": Formatter}
    parser = ArgumentParser(prog="stochvid", description=DESCRIPTION, **style)
    parser.add_argument(
        "--version", action="version", version=f"stochvid {version('stochvid')}", help="print the version and exit"
    )
    commands = parser.add_subcommands(dest="cmd", metavar="COMMAND")
    parts = {"prepare": _prepare_parser(style), "train": _train_parser(style), "predict": _predict_parser(style)}
    for name, part in parts.items():
        commands.add_subcommand(name, part, help=part.description.splitlines()[0])
        if name != "train":
            part.formatter_class = PlainFormatter
    return parser, {name: set(part._option_string_actions) for name, part in parts.items()}


def _prepare_parser(style: dict) -> ArgumentParser:
    parser = ArgumentParser(usage="stochvid prepare SOURCE OUT [options]", description=PREPARE, **style)
    parser.add_argument("source", type=str, nargs="?", help="a folder or file of clips, or moving-mnist")
    parser.add_argument("out", type=str, nargs="?", help="folder of the store")
    parser.add_argument(
        "--format", choices=FORMATS, help="what the source is (default: recognised from what is on disk)"
    )
    parser.add_argument(
        "--size", type=int | None, help="height and width to store; models take 32, 64, 128, 256 (default: 64)"
    )
    parser.add_argument(
        "--channels", type=int | None, help="1 grey, 3 RGB (default: as the source; KTH 1; moving-mnist 1)"
    )
    parser.add_argument("--fps", type=float | None, help="take frames at this constant rate (default: as they come)")
    parser.add_argument(
        "--crop", choices=["centre", "none"], help="centre: the middle square; none: squash the whole frame (default)"
    )
    parser.add_argument(
        "--split",
        type=str | None,
        help="fractions (train=0.9,test=0.1), patterns on clips' names (train=day1/*,test=*), one name, or srvp-test "
        "(KTH's published test clips); default: as shipped, else train=0.9,test=0.1",
    )
    parser.add_argument(
        "--workers", type=int | None, help="processes that decode; 0: this one (default: one for each core)"
    )
    parser.add_argument("--skip-bad", action="store_true", help="leave out what cannot be read")
    parser.add_argument("--overwrite", action="store_true", help="replace another store, or unfinished work on one")
    parser.add_argument("--verify", type=str | None, metavar="STORE", help="check a store, and make none")
    parser.add_argument("--axes", type=str | None, help="arrays: order of the axes, as in NTHWC (default: recognised)")
    parser.add_argument("--camera", type=str | None, help="lerobot: which camera (default: the only one)")
    parser.add_argument(
        "--length", type=int | None, help="frames of a clip: KTH's srvp-test (default: 40), moving-mnist (default: 25)"
    )
    made = parser.add_argument_group("moving-mnist")
    made.add_argument("--variant", choices=["svg2018", "srvp2020"], help="rules of motion (default: svg2018)")
    made.add_argument("--deterministic", action="store_true", help="mirror the velocity at walls")
    made.add_argument("--mnist", type=str | None, help="folder of the four MNIST files")
    made.add_argument(
        "--digits", choices=["builtin", "mnist", "both"], help="default: mnist with --mnist, else builtin"
    )
    made.add_argument("--num_digits", type=int | None, help="digits in a clip (default: 2)")
    made.add_argument("--clips", type=int | None, help="how many clips (default: 1000)")
    made.add_argument("--seed", type=int | None, help="of the clips (default: 0)")
    return parser


def _train_parser(style: dict) -> ArgumentParser:
    parser = ArgumentParser(
        usage="stochvid train [--config NAME] [--GROUP.FIELD VALUE ...] [--out RUN]", description=TRAIN, **style
    )
    shipped = ", ".join(shipped_configs())
    parser.add_argument("--config", action="config", help=f"a shipped config ({shipped}) or a YAML file")
    parser.add_argument("--print_config", action="store_true", help="print every setting as YAML and exit")
    parser.add_argument("--out", type=str, help="run folder (default: runs/NAME of the config)")
    parser.add_argument(
        "--resume", type=str | None, help="a run to continue, or auto: the one in --out if there is something"
    )
    parser.add_argument("--init", type=str | None, help="a trained model to start from (fine-tuning)")
    parser.add_argument("--overwrite", action="store_true", help="replace another run in --out")
    for name, kind in GROUPS.items():
        parser.add_class_arguments(kind, name)
        parser._option_string_actions[f"--{name}"].help = SUPPRESS
    return parser


def _predict_parser(style: dict) -> ArgumentParser:
    parser = ArgumentParser(usage="stochvid predict MODEL CLIP [CLIP ...] [options]", description=PREDICT, **style)
    parser.add_argument("model", type=str, help="folder of a run or of a model, or owner/name on the Hugging Face Hub")
    parser.add_argument(
        "clips",
        type=str,
        nargs="+",
        metavar="clip",
        help="a video, a GIF, a folder of frames, .npy, .npz, STORE:NUMBER (held-out clip) or moving-mnist:SEED",
    )
    parser.add_argument("--context", type=int | None, help="frames to give (default: as trained)")
    parser.add_argument("--horizon", type=int | None, help="frames to predict (default: twice as trained)")
    parser.add_argument("--samples", type=int, default=5, help="futures of each clip (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other futures (default: %(default)s)")
    parser.add_argument(
        "--fit", choices=["squash", "crop", "pad"], help="how frames become square (default: as trained, else squash)"
    )
    parser.add_argument(
        "--fps", type=float | None, help="take frames of videos at this rate (default: as trained, else as they come)"
    )
    parser.add_argument(
        "--device", choices=["auto", "cpu", "cuda"], default="auto", help="where to compute (default: auto)"
    )
    parser.add_argument("--out", type=str, default="predictions", help="folder of the results (default: predictions)")
    parser.add_argument("--overwrite", action="store_true", help="replace earlier results of the same names")
    return parser


def _plain(error: Exception) -> str:
    """A parser's error in one line, in the words of the command line."""
    text = re.sub(r"\bpredict\.(model|clips)\b", r"\1", " ".join(str(error).split()))
    text = re.sub(r'Parser key "([\w.]+)":\s*', r"--\1: ", text)
    return re.sub(r"Expected an? <class '(?:\w+\.)*(\w+)'>\. Got value: (.*)", r"expected \1, got \2.", text)
