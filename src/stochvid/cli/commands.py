"""The command line: a table of commands, and what becomes of their errors."""

import sys
from collections.abc import Callable
from contextlib import nullcontext
from importlib import import_module
from importlib.metadata import version
from shutil import get_terminal_size
from textwrap import fill
from typing import Any, NamedTuple

from stochvid.cli import descriptions
from stochvid.core.errors import InputError, nearest
from stochvid.core.memory import keep_freed_memory
from stochvid.core.signals import Interrupted, interruptible
from stochvid.core.streams import lasting_streams


class Command(NamedTuple):
    """A command: where its options and what it does are, as `module:name` within stochvid.

    Attributes:
        options: a dataclass (`command_options.Options`).
        function: takes the options; what it gives is the exit code, if that is a whole number.
        computes: whether it takes much memory again and again.
        stops_itself: whether it has a way of its own to end on a signal.
    """

    options: str
    function: str
    computes: bool = False
    stops_itself: bool = False


COMMANDS = {
    "demo": Command("inference.options:DemoOptions", "inference.demo:demo", computes=True),
    "prepare": Command("prepare.options:PrepareOptions", "prepare.command:run"),
    "train": Command("training.options:TrainOptions", "training.command:run", computes=True, stops_itself=True),
    "search": Command("training.options:SearchOptions", "training.search:search", computes=True),
    "predict": Command("inference.options:PredictOptions", "inference.predict:predict_clips", computes=True),
    "evaluate": Command("evaluation.options:EvaluateOptions", "evaluation.evaluate:evaluate", computes=True),
    "compare": Command("evaluation.options:CompareOptions", "evaluation.compare:compare"),
    "uncertainty": Command(
        "evaluation.options:UncertaintyOptions", "evaluation.uncertainty:uncertainty", computes=True
    ),
    "doctor": Command("evaluation.options:DoctorOptions", "evaluation.doctor:doctor", computes=True),
    "surprise": Command("inference.options:SurpriseOptions", "inference.surprise:surprise", computes=True),
    "watch": Command("inference.options:WatchOptions", "inference.watch:watch", computes=True),
    "app": Command("app.options:AppOptions", "app.server:serve", computes=True),
    "import": Command("interop.options:ImportOptions", "interop.official:import_official"),
    "export": Command("interop.options:ExportOptions", "interop.export:export_model"),
    "card": Command("evaluation.options:CardOptions", "evaluation.model_card:write_card"),
}


def load(place: str) -> Any:
    """What is at a place within stochvid, such as `inference.demo:demo`."""
    module, _, name = place.partition(":")
    return getattr(import_module(f"stochvid.{module}"), name)


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
        return _carry_out(words)
    except Interrupted as error:
        print(f"stochvid: stopped by {error.number.name}.", *filter(None, [error.advice]), file=sys.stderr)
        return 128 + error.number
    except InputError as error:
        print(f"stochvid: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"stochvid: {error}.", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:
        if not _no_memory(error):
            raise
        print(
            "stochvid: out of memory. Use smaller numbers: in train --data.batch_size, or --adversarial.channels where "
            "there is a discriminator; elsewhere --samples, --horizon, --length or --memory.",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("stochvid: stopped.", file=sys.stderr)
        return 130


def _carry_out(words: list[str]) -> int:
    name = words[0] if words else "--help"
    if name in ("-h", "--help"):
        print(_help())
        return 0
    if name == "--version":
        print(f"stochvid {version('stochvid')}")
        return 0
    if name not in COMMANDS:
        what = "option" if name.startswith("-") else "command"
        raise InputError(f"there is no {what} {name!r}. {nearest(name, ['--help', '--version', *COMMANDS])}")
    command, options = COMMANDS[name], parse(name, words[1:])
    if options is None:
        return 0
    if command.computes:
        keep_freed_memory()
    with nullcontext() if command.stops_itself else interruptible():
        function: Callable[[Any], Any] = load(command.function)
        if command.computes and not command.stops_itself and "torch" in sys.modules:  # the others load it later
            from stochvid.core.threads import fastest_threads

            options.threads = options.threads or fastest_threads(getattr(options, "device", "auto"))
        done = function(options)
    return done if isinstance(done, int) else 0


def parse(name: str, words: list[str]) -> Any:
    """The options of a command from the words that follow it; None: its help was printed. Errors as `parsers.parse`."""
    if name in ("train", "search"):  # jsonargparse, which the others need not wait for
        from stochvid.cli.train import parse_train

        return parse_train(words, name)
    from stochvid.cli.parsers import parse as parse_words

    return parse_words(name, load(COMMANDS[name].options), words, descriptions.COMMANDS[name])


def _help() -> str:
    width = max(40, get_terminal_size().columns - 2)
    summaries = "\n".join(
        fill(
            descriptions.COMMANDS[name].splitlines()[0],
            width,
            initial_indent=f"  {name:13}",
            subsequent_indent=" " * 15,
        )
        for name in COMMANDS
    )
    return f"""\
usage: stochvid COMMAND ...

{descriptions.DESCRIPTION}

commands (stochvid COMMAND --help tells more):
{summaries}

options:
  -h, --help   show this help and exit
  --version    print the version and exit"""


def _no_memory(error: Exception) -> bool:
    """Whether there was not enough: Python and NumPy have an error for it, torch's allocators say so."""
    said = ("not enough memory", "can't allocate memory", "out of memory", "Storage size calculation overflowed")
    return isinstance(error, MemoryError) or any(words in str(error) for words in said)
