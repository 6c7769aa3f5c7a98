"""The command line: one function per command, which loads what it needs when it runs."""

import os
import re
import sys
from argparse import ArgumentError
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from inspect import signature
from pathlib import Path
from shlex import quote
from typing import Any

from jsonargparse import Namespace

from stochvid.cli.options import check_names, family_to_train, join_range, ready_to_train
from stochvid.cli.parsers import make_parser
from stochvid.config import GROUPS, TrainConfig
from stochvid.core.errors import InputError
from stochvid.core.memory import keep_freed_memory
from stochvid.core.signals import Interrupted, interruptible
from stochvid.core.streams import lasting_streams
from stochvid.model_configs import FIRST_FAMILY
from stochvid.training.runs import folder_name

MOVING_MNIST = "moving-mnist"


def demo(options: Namespace) -> int:
    """`stochvid demo`."""
    from stochvid.inference.demo import demo

    demo(**_given(options))
    return 0


def prepare(options: Namespace) -> int:
    """`stochvid prepare`."""
    values = {name: value for name, value in options.items() if name != "cmd" and value is not None}
    if "verify" in values:
        if more := [name for name, value in values.items() if value is not False and name != "verify"]:
            raise InputError(f"--verify takes a store and nothing else, got {', '.join(more)}, too.")
        from stochvid.data.store import Store

        store = Store(values["verify"])
        store.verify()
        print(f"{values['verify']}: the index and every checksum are right")
        print(store.tracks_text, end="")
        return 0
    source, out = values.pop("source", None), values.pop("out", None)
    if source is None or out is None:
        raise InputError("prepare needs a source and a folder for the store: stochvid prepare my-videos data/videos.")
    from stochvid.prepare.moving_mnist_sets import prepare_moving_mnist
    from stochvid.prepare.preparation import prepare

    function = partial(prepare_moving_mnist, out) if source == MOVING_MNIST else partial(prepare, source, out)
    taken = set(signature(function).parameters)
    for name in [name for name in values if name not in taken]:
        if values.pop(name) is not False:  # a switch that was not set
            what = "a source on disk, not for moving-mnist" if source == MOVING_MNIST else "the source moving-mnist"
            raise InputError(f"--{name.replace('skip_bad', 'skip-bad')} is for {what}.")
    try:
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
        from stochvid.data.places import at_hand

        config = at_hand(config, Path(options.out), options.resume is not None)
        for part in ("train", "held out"):
            open_clips(config.data, config.model, part, config.model.frames, 0)
    from stochvid.training.train import Diverged, train

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
    clip = "moving-mnist:1"
    if config.data.store:
        clip = f"{min(config.data.store, os.path.relpath(config.data.store), key=len)}:{_first_clip(config)}"
    print(f"Done. Draw futures with: stochvid predict {run.folder} {clip}")
    return 0


def _first_clip(config: TrainConfig) -> int:
    from stochvid.data.store import Store

    assert config.data.store is not None
    store, model = Store(config.data.store), config.model
    return store.first(store.held_out, (model.context + 2 * model.horizon - 1) * config.data.stride + 1)


def predict(options: Namespace) -> int:
    """`stochvid predict`."""
    from stochvid.inference.predict import predict_clips

    values = _given(options)
    predict_clips(values.pop("model"), values.pop("clips"), values.pop("out"), **values)
    return 0


def evaluate(options: Namespace) -> int:
    """`stochvid evaluate`."""
    from stochvid.evaluation.evaluate import evaluate

    values = _given(options)
    name = values["name"] or folder_name(values["model"] or Path(values["predictions"] or "none").stem)
    values["out"] = values["out"] or f"evaluations/{name}"
    try:
        evaluate(values.pop("model"), values.pop("out"), **values)
    except Interrupted as error:
        print(f"stochvid: stopped by {error.number.name}. The same command with --resume goes on.", file=sys.stderr)
        return 128 + error.number
    return 0


def compare(options: Namespace) -> int:
    """`stochvid compare`."""
    from stochvid.evaluation.compare import compare

    compare(options.runs, options.out, overwrite=options.overwrite)
    return 0


def uncertainty(options: Namespace) -> int:
    """`stochvid uncertainty`."""
    from stochvid.evaluation.uncertainty import uncertainty

    values = _given(options)
    values["out"] = values["out"] or f"uncertainty/{folder_name(values['model'])}"
    uncertainty(values.pop("model"), values.pop("out"), **values)
    return 0


def surprise(options: Namespace) -> int:
    """`stochvid surprise`."""
    from stochvid.inference.surprise import surprise

    values = _given(options)
    video = Path(values["video"].replace(":", "-"))
    values["out"] = values["out"] or f"surprise/{video.stem if video.suffix else video.resolve().name}"
    surprise(values.pop("model"), values.pop("video"), values.pop("out"), **values)
    return 0


def app(options: Namespace) -> int:
    """`stochvid app`."""
    from stochvid.app.server import serve

    names = tuple(name.strip() for name in options.allow_host.split(",") if name.strip())
    serve(options.model, host=options.host, port=options.port, device=options.device, allow_host=names)
    return 0


def import_(options: Namespace) -> int:
    """`stochvid import`."""
    from stochvid.core.files import check_free, replacing_folder
    from stochvid.models.pretrained import CONFIG

    check_free(options.out, CONFIG, options.overwrite)
    from stochvid.interop.official import read_official

    model = read_official(options.checkpoint)
    with replacing_folder(options.out) as folder:
        model.save_pretrained(folder)
    print(f"{options.checkpoint} → {options.out}: {model.summary}")
    clips, how = "moving-mnist:1", ""
    if model.config.batch_statistics:
        clips, how = "moving-mnist:1 moving-mnist:2", " --batch-statistics"
        print("Its published futures were drawn with the batch-norm statistics of all clips: give two clips or more.")
    print("Name clips of the kind that it was trained on, videos or folders of frames, in place of moving-mnist.")
    print(f"Draw futures with: stochvid predict {quote(str(options.out))} {clips}{how}")
    return 0


def card(options: Namespace) -> int:
    """`stochvid card`."""
    from stochvid.evaluation.model_card import write_card

    print(write_card(options.model, options.evaluations))
    return 0


def export(options: Namespace) -> int:
    """`stochvid export`."""
    from stochvid.interop.export import export_model

    values = _given(options)
    model, out = values.pop("model"), values.pop("out")
    written = export_model(model, out, **values)
    print(f"{model} → {out}: {written.summary}, as {options.format}")
    for name, size in written.sizes.items():
        print(f"  {name:14}{size / 1e6:8.2f} MB")
    print(f"Run on random clips, the graphs differ from the model by {written.difference:.1e} at most.")
    print("A loop that needs neither stochvid nor (with ONNX) torch is in docs/export.md.")
    return 0


def _given(options: Namespace) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name != "cmd"}


COMPUTING = ("demo", "train", "predict", "evaluate", "uncertainty", "surprise", "app")
COMMANDS: dict[str, Callable[[Namespace], int]] = {
    "demo": demo,
    "prepare": prepare,
    "train": train,
    "predict": predict,
    "evaluate": evaluate,
    "compare": compare,
    "uncertainty": uncertainty,
    "surprise": surprise,
    "app": app,
    "import": import_,
    "export": export,
    "card": card,
}


def main(words: list[str] | None = None) -> int:
    """Runs one command and gives its exit code: 0 done, 1 diverged, 2 bad input, 130 Ctrl-C, 143 SIGTERM.

    A reader of the output that leaves early, such as `head`, changes nothing in what is done.
    """
    words = sys.argv[1:] if words is None else list(words)
    try:
        with lasting_streams():
            return _run(words)
    except OSError as error:  # of the last words: a full disk
        print(f"stochvid: standard output cannot be written: {error.strerror}.", file=sys.stderr)
        return 2


def _run(words: list[str]) -> int:
    try:
        training = words[:1] == ["train"]
        parser, options_of = make_parser(family := family_to_train(words) if training else FIRST_FAMILY)
        if not words:
            parser.print_help()
            return 0
        words = join_range(words)
        check_names(words, options_of)
        if words[0] in COMMANDS and {"-h", "--help"} & set(words):
            words = [words[0], "--help"]
        elif words[0] == "train":
            words = ["train", *ready_to_train(words[1:], family)]
        parsed = parser.instantiate(parser.parse_args(words))
        if parsed.cmd in COMPUTING:
            keep_freed_memory()
        with nullcontext() if parsed.cmd == "train" else interruptible():  # training stops after a step
            return COMMANDS[parsed.cmd](parsed[parsed.cmd])
    except Interrupted as error:
        print(f"stochvid: stopped by {error.number.name}.", file=sys.stderr)
        return 128 + error.number
    except InputError as error:
        print(f"stochvid: {error}", file=sys.stderr)
        return 2
    except ArgumentError as error:
        text = _plain(error)
        if words[0] in ("predict", "surprise") and "arguments are required" in text:
            text = f"{words[0]} needs a model and then what to see: stochvid {words[0]} one-digit moving-mnist:7."
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
    except (MemoryError, RuntimeError) as error:
        if not _no_memory(error):
            raise
        print(
            "stochvid: out of memory. Use smaller numbers: in train --data.batch_size, elsewhere --samples, --horizon, "
            "--length or --memory.",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("stochvid: stopped.", file=sys.stderr)
        return 130


def _no_memory(error: Exception) -> bool:
    """Whether there was not enough: Python and NumPy have an error for it, torch's allocators say so."""
    said = ("not enough memory", "can't allocate memory", "out of memory", "Storage size calculation overflowed")
    return isinstance(error, MemoryError) or any(words in str(error) for words in said)


def _plain(error: Exception) -> str:
    """A parser's error in one line, in the words of the command line."""
    text = re.sub(
        r"\b(?:demo|predict|evaluate|compare|uncertainty|surprise|app|import|export|card)\.(\w+)\b",
        r"\1",
        " ".join(str(error).split()),
    )
    text = re.sub(r'Parser key "([\w.]+)":\s*', r"--\1: ", text)
    # of an optional number, the parser says why it is no number, why it is no None, and only then what it is
    text = re.sub(r"Does not validate against any of the Union subtypes.*?(?=Expected an? <class)", "", text)
    text = re.sub(r"(?<=>)\W+Expected a <class 'NoneType'> Given value type: .* Given value: ", ". Got value: ", text)
    text = re.sub(r"Expected an? typing\.Literal\[(.*?)\]\. Got value: ", r"expected one of \1, got ", text)
    return re.sub(r"Expected an? <class '(?:\w+\.)*(\w+)'>\. Got value: (.*)", _expected, text)


def _expected(found: re.Match) -> str:
    kind = {"int": "a whole number", "float": "a number"}.get(found[1], found[1])
    return f"expected {kind}, got {found[2]}."
