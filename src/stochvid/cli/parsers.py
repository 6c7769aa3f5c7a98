"""The options of every command, and what `--help` says of them. Imports no torch."""

from argparse import SUPPRESS
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ActionConfigFile, ArgumentParser

from stochvid.cli import descriptions
from stochvid.cli.formatters import Formatter, PlainFormatter
from stochvid.config import group_types, shipped_configs, shipped_models
from stochvid.core.untrusted import MOST_YAML, parse_yaml, read_text
from stochvid.evaluation.protocols import BASELINES, CLIPS, PROTOCOLS, SAMPLES
from stochvid.model_configs import FIRST_FAMILY

COMMANDS = (
    "demo", "prepare", "train", "predict", "evaluate", "compare", "uncertainty", "surprise", "app", "import", "export",
    "card",
)  # fmt: skip

FORMATS = ("videos", "arrays", "kth", "bair", "lerobot")

MODEL = f"a run, a model (shipped: {', '.join(shipped_models())}), or owner/name on the Hugging Face Hub"
DATA = (
    "a store, STORE:SPLIT, a config (laptop, mine.yaml), or a run, for the held-out clips of what it trains on "
    "(default: what the model was trained on)"
)


class ConfigFile(ActionConfigFile):
    """A config that we read, as UTF-8: jsonargparse would read it as the locale says."""

    def __call__(self, parser: Any, cfg: Any, values: Any, option_string: str | None = None) -> None:
        """Hands on what it holds, spelt in ASCII; `ready_to_train` has checked it."""
        self.apply_config(parser, cfg, self.dest, yaml.safe_dump(parse_yaml(read_text(Path(values), MOST_YAML))))


def make_parser(family: str = FIRST_FAMILY) -> tuple[ArgumentParser, dict[str, set[str]]]:
    """The parser, and the options of every command; those of `train` are for models of one family."""
    style: dict[str, Any] = {"exit_on_error": False, "print_config": None, "formatter_class": Formatter}
    parser = ArgumentParser(prog="stochvid", description=descriptions.DESCRIPTION, **style)
    parser.add_argument(
        "--version", action="version", version=f"stochvid {version('stochvid')}", help="print the version and exit"
    )
    commands = parser.add_subcommands(dest="cmd", metavar="COMMAND")
    makers = (
        _demo_parser, _prepare_parser, _predict_parser, _evaluate_parser, _compare_parser, _uncertainty_parser,
        _surprise_parser, _app_parser, _import_parser, _export_parser, _card_parser,
    )  # fmt: skip
    parts = {make.__name__.split("_")[1]: make(style) for make in makers} | {"train": _train_parser(style, family)}
    for name in COMMANDS:
        part = parts[name]
        commands.add_subcommand(name, part, help=(part.description or "").split("\n")[0])
        if name != "train":
            part.formatter_class = PlainFormatter
    return parser, {name: set(part._option_string_actions) for name, part in parts.items()}


def _demo_parser(style: dict) -> ArgumentParser:
    parser = ArgumentParser(usage="stochvid demo [options]", description=descriptions.DEMO, **style)
    parser.add_argument("--samples", type=int, default=5, help="futures of each clip (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other futures (default: %(default)s)")
    parser.add_argument("--out", type=str, default="demo", help="folder of the results (default: %(default)s)")
    return parser


def _prepare_parser(style: dict) -> ArgumentParser:
    parser = ArgumentParser(usage="stochvid prepare SOURCE OUT [options]", description=descriptions.PREPARE, **style)
    parser.add_argument("source", type=str, nargs="?", help="a folder or file of clips, or moving-mnist")
    parser.add_argument("out", type=str, nargs="?", help="folder of the store")
    parser.add_argument(
        "--format", choices=FORMATS, help="what the source is (default: recognised from what is on disk)"
    )
    parser.add_argument("--size", type=int | None, help="height and width to store: 32, 64, 128 or 256 (default: 64)")
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
    _add_values(parser)
    parser.add_argument("--key", type=str | None, help="name of the array in .npz and HDF5 files with several")
    parser.add_argument("--camera", type=str | None, help="lerobot: which camera (default: the only one)")
    parser.add_argument(
        "--length", type=int | None, help="frames of a clip: KTH's srvp-test (default: 40), moving-mnist (default: 25)"
    )
    made = parser.add_argument_group("moving-mnist")
    made.add_argument("--variant", choices=["svg2018", "srvp2020"], help="rules of motion (default: svg2018)")
    made.add_argument("--deterministic", action="store_true", help="mirror the velocity at walls")
    made.add_argument("--mnist", type=str | None, help="folder of MNIST's IDX files")
    made.add_argument(
        "--digits", choices=["builtin", "mnist", "both"], help="default: mnist with --mnist, else builtin"
    )
    made.add_argument("--num-digits", type=int | None, help="digits in a clip (default: 2)")
    made.add_argument("--clips", type=int | None, help="how many clips (default: 1000)")
    made.add_argument("--seed", type=int | None, help="of the clips (default: 0)")
    return parser


def _train_parser(style: dict, family: str) -> ArgumentParser:
    parser = ArgumentParser(
        usage="stochvid train [--config NAME | --resume RUN] [--GROUP.FIELD VALUE ...] [--out RUN] [options]",
        description=descriptions.TRAIN,
        **style,
    )
    shipped = ", ".join(shipped_configs())
    parser.add_argument("--config", action=ConfigFile, help=f"a shipped config ({shipped}) or a YAML file")
    parser.add_argument("--print_config", action="store_true", help="print every setting as YAML and exit")
    parser.add_argument("--out", type=str, help="run folder (default: runs/NAME of the config)")
    parser.add_argument(
        "--resume", type=str | None, help="a run to continue, or auto: the one in --out if there is something"
    )
    parser.add_argument("--init", type=str | None, help="a trained model to start from (fine-tuning)")
    parser.add_argument("--overwrite", action="store_true", help="replace another run in --out")
    for name, kind in group_types(family).items():
        parser.add_class_arguments(kind, name)
        parser._option_string_actions[f"--{name}"].help = SUPPRESS
    return parser


def _predict_parser(style: dict) -> ArgumentParser:
    parser = ArgumentParser(
        usage="stochvid predict MODEL CLIP [CLIP ...] [options]", description=descriptions.PREDICT, **style
    )
    parser.add_argument("model", type=str, help=MODEL)
    parser.add_argument(
        "clips",
        type=str,
        nargs="+",
        metavar="clip",
        help="a video, a folder of frames, a stack (TIFF, GIF, WebP), .npy, .npz, .h5, FILE:ARRAY, STORE:NUMBER "
        "(held-out clip) or moving-mnist:SEED",
    )
    parser.add_argument(
        "--start", type=int, default=0, help="first frame to give; -5: the fifth from the end (default: %(default)s)"
    )
    parser.add_argument("--context", type=int | None, help="frames to give (default: as trained)")
    parser.add_argument("--horizon", type=int | None, help="frames to predict (default: twice as trained)")
    parser.add_argument("--samples", type=int, default=5, help="futures of each clip (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other futures (default: %(default)s)")
    parser.add_argument(
        "--temperature",
        type=float,
        default=1.0,
        help="scale of the future's σ: 0 the prior's mean, 1 as trained (default: %(default)s)",
    )
    parser.add_argument(
        "--fit", choices=["squash", "crop", "pad"], help="how frames become square (default: as trained, else squash)"
    )
    parser.add_argument(
        "--fps", type=float | None, help="take frames of videos at this rate (default: as trained, else as they come)"
    )
    _add_values(parser)
    _add_device(parser)
    _add_speed(parser)
    parser.add_argument("--out", type=str, default="predictions", help="folder of the results (default: predictions)")
    parser.add_argument("--overwrite", action="store_true", help="replace earlier results of the same names")
    return parser


def _evaluate_parser(style: dict) -> ArgumentParser:
    parser = ArgumentParser(usage="stochvid evaluate MODEL [options]", description=descriptions.EVALUATE, **style)
    parser.add_argument(
        "model",
        type=str,
        nargs="?",
        help=f"{MODEL}; or {' or '.join(BASELINES)}",
    )
    parser.add_argument("--data", type=str | None, help=DATA)
    parser.add_argument(
        "--predictions",
        type=str | None,
        metavar="FILE",
        help="futures of another tool: .npy (clips, samples, T, H, W, C), uint8 or float in [0, 1]; or .npz with "
        "predictions, truth and context",
    )
    parser.add_argument(
        "--protocol", type=str, default="srvp2020", help=f"{' or '.join(PROTOCOLS)} (default: %(default)s)"
    )
    parser.add_argument("--samples", type=int | None, help=f"futures of each clip (default: {SAMPLES})")
    parser.add_argument("--clips", type=int | None, help=f"how many, or all if there are fewer (default: {CLIPS})")
    parser.add_argument(
        "--context", type=int | None, help="frames to give (default: the protocol's for that data, else as trained)"
    )
    parser.add_argument(
        "--horizon", type=int | None, help="frames to predict (default: the protocol's, else twice as trained)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the futures (default: %(default)s)")
    parser.add_argument(
        "--lpips-weights", type=str | None, metavar="FOLDER", help="AlexNet's weights and the LPIPS heads; adds LPIPS"
    )
    parser.add_argument(
        "--fvd-weights", type=str | None, metavar="FILE", help="an I3D network as TorchScript; adds FVD"
    )
    parser.add_argument("--mnist", type=str | None, help="folder of MNIST's IDX files (default: as trained)")
    parser.add_argument("--name", type=str | None, help="in tables and plots (default: the run's)")
    _add_device(parser)
    _add_speed(parser)
    parser.add_argument(
        "--memory",
        type=float | None,
        metavar="GIB",
        help="what samples drawn together may take (default: 0.5, on a GPU 4)",
    )
    parser.add_argument("--out", type=str | None, help="folder of the results (default: evaluations/NAME)")
    parser.add_argument("--resume", action="store_true", help="go on with an evaluation that was stopped")
    parser.add_argument("--overwrite", action="store_true", help="replace earlier results")
    return parser


def _compare_parser(style: dict) -> ArgumentParser:
    parser = ArgumentParser(
        usage="stochvid compare RUN [RUN ...] [--out FOLDER]", description=descriptions.COMPARE, **style
    )
    parser.add_argument("runs", type=str, nargs="+", metavar="run", help="folders that stochvid evaluate made")
    parser.add_argument(
        "--out", type=str, default="comparison", help="folder for comparison.csv and .png (default: comparison)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier comparison")
    return parser


def _uncertainty_parser(style: dict) -> ArgumentParser:
    parser = ArgumentParser(usage="stochvid uncertainty MODEL [options]", description=descriptions.UNCERTAINTY, **style)
    parser.add_argument("model", type=str, help=f"{MODEL}; with a learned prior")
    parser.add_argument("--data", type=str | None, help=DATA)
    parser.add_argument("--mnist", type=str | None, help="folder of MNIST's IDX files (default: as trained)")
    parser.add_argument("--clips", type=int | None, help="how many, or all if there are fewer (default: 400)")
    parser.add_argument(
        "--length", type=int | None, help="frames of a clip (default: the context and twice the horizon of training)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: %(default)s)")
    _add_device(parser)
    parser.add_argument("--out", type=str | None, help="folder of the results (default: uncertainty/NAME)")
    parser.add_argument("--overwrite", action="store_true", help="replace earlier results")
    return parser


def _surprise_parser(style: dict) -> ArgumentParser:
    parser = ArgumentParser(usage="stochvid surprise MODEL VIDEO [options]", description=descriptions.SURPRISE, **style)
    parser.add_argument("model", type=str, help=f"{MODEL}; with a learned or a fixed prior")
    parser.add_argument(
        "video",
        type=str,
        help="a video of any length, a folder of frames, a stack (TIFF, GIF, WebP), .npy, .npz, .h5, FILE:ARRAY, "
        "STORE:NUMBER or moving-mnist:SEED",
    )
    parser.add_argument(
        "--smooth", type=float, default=2.0, help="σ of the smoothing, in frames (default: %(default)s)"
    )
    parser.add_argument("--length", type=int | None, help="frames to read (default: all; of moving-mnist 100)")
    parser.add_argument(
        "--fit", choices=["squash", "crop", "pad"], help="how frames become square (default: as trained, else squash)"
    )
    parser.add_argument(
        "--fps", type=float | None, help="take frames of videos at this rate (default: as trained, else as they come)"
    )
    _add_values(parser)
    _add_device(parser)
    parser.add_argument("--out", type=str | None, help="folder of the results (default: surprise/NAME)")
    parser.add_argument("--overwrite", action="store_true", help="replace earlier results")
    return parser


def _app_parser(style: dict) -> ArgumentParser:
    parser = ArgumentParser(usage="stochvid app [MODEL] [options]", description=descriptions.APP, **style)
    parser.add_argument(
        "model",
        type=str,
        nargs="?",
        default=next(iter(shipped_models())),
        help=f"{MODEL} (default: %(default)s)",
    )
    parser.add_argument("--port", type=int, default=7860, help="of the page (default: %(default)s)")
    parser.add_argument(
        "--host", type=str, default="127.0.0.1", help="address to listen on (default: %(default)s, this machine alone)"
    )
    parser.add_argument(
        "--allow-host", type=str, default="", help="names of a proxy before it, a comma between them: page.example.org"
    )
    _add_device(parser)
    return parser


def _import_parser(style: dict) -> ArgumentParser:
    parser = ArgumentParser(
        usage="stochvid import CHECKPOINT OUT [--overwrite]", description=descriptions.IMPORT, **style
    )
    parser.add_argument("checkpoint", type=str, help="a .pth file of the 2018 code, of any version of PyTorch")
    parser.add_argument("out", type=str, help="folder for the model")
    parser.add_argument("--overwrite", action="store_true", help="replace a model that is there")
    return parser


def _card_parser(style: dict) -> ArgumentParser:
    parser = ArgumentParser(
        usage="stochvid card MODEL EVALUATION [EVALUATION ...]", description=descriptions.CARD, **style
    )
    parser.add_argument("model", type=str, help="the folder of a run or of a model")
    parser.add_argument(
        "evaluations", type=str, nargs="+", metavar="evaluation", help="folders that stochvid evaluate made of it"
    )
    return parser


def _export_parser(style: dict) -> ArgumentParser:
    parser = ArgumentParser(usage="stochvid export MODEL OUT [options]", description=descriptions.EXPORT, **style)
    parser.add_argument("model", type=str, help=MODEL)
    parser.add_argument("out", type=str, help="folder for the graphs")
    parser.add_argument(
        "--format", choices=["onnx", "torch-export"], default="onnx", help="of the graphs (default: %(default)s)"
    )
    parser.add_argument("--context", type=int | None, help="frames to give, fixed in the graph (default: as trained)")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier export")
    return parser


def _add_values(parser: ArgumentParser) -> None:
    parser.add_argument("--axes", type=str | None, help="arrays: order of the axes, as in NTHWC (default: recognised)")
    parser.add_argument(
        "--range",
        type=str | None,
        metavar="LOW HIGH",
        help="arrays and images: the values that are black and white, as --range 0 4095; or auto, the least and the "
        "largest (default: by the number of bits; for a model's clips as trained)",
    )


def _add_device(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--device", choices=["auto", "cpu", "cuda"], default="auto", help="where to compute (default: auto)"
    )


def _add_speed(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--precision",
        choices=["auto", "fp32", "bf16"],
        default="fp32",
        help="of the model; auto: bf16, 3 to 4 times faster, where the hardware computes it (default: fp32)",
    )
    parser.add_argument(
        "--compile", action="store_true", help="compile the steps with torch.compile: for long work on a GPU"
    )
    parser.add_argument(
        "--batch-statistics",
        action="store_true",
        help="batch-norm with the statistics of the clips themselves, as the published code draws with SVG-LP; slower, "
        "and a future depends on the other clips",
    )
