"""Everything that is timed: `python -m benchmarks [PART ...]`, or `make bench`.

Prints a table for every part, and keeps what was found in results.json, part by part.
"""

import argparse
import json
import platform
import sys
import time
from dataclasses import asdict
from datetime import date
from importlib import import_module
from pathlib import Path

import torch

from benchmarks.race import Row
from stochvid.core.devices import machine

PARTS = {  # name → the module that holds its function; loaded when it runs, for what it needs may not be there
    "training": "models",
    "sampling": "models",
    "svg-prime": "models",
    "convlstm": "models",
    "recompute": "models",
    "compiling": "models",
    "export": "exported",
    "metrics": "metrics",
    "moving-mnist": "moving_mnist",
    "commands": "commands",
    "scaling": "scaling",
    "processes": "scaling",
}
ON_CPU = ("scaling", "processes")  # these say something of processors alone
RESULTS = Path(__file__).parent / "results.json"


def main(words: list[str] | None = None) -> list[Row]:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (default: all; on a GPU those that differ there)"
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--rounds", type=int, default=5, help="how often each contender runs (default: 5)")
    parser.add_argument("--mnist", help="folder of MNIST's IDX files (default: the built-in digits)")
    parser.add_argument("--tiny", action="store_true", help="tiny shapes, once: does it work at all?")
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="where to keep what was found (default: %(default)s)"
    )
    parser.add_argument("--show", action="store_true", help="run nothing, print what was kept")
    options = parser.parse_args(words)
    unknown = [part for part in options.parts if part not in PARTS]
    if unknown:
        parser.error(f"there is no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    if options.show:
        print(kept(options.results))
        return []
    options.rounds = 1 if options.tiny else options.rounds
    usual = [part for part in PARTS if options.device == "cpu" or part not in ON_CPU]
    found = []
    for part in options.parts or usual:
        begun = time.monotonic()
        try:
            module = import_module(f"benchmarks.{PARTS[part]}")
        except ModuleNotFoundError as error:
            print(f"\n## {part}\n\nnot measured: {error.name} is not installed\n", flush=True)
            continue
        rows = getattr(module, part.replace("-", "_"))(options)
        found += rows
        print(f"\n## {part}\n\n{table(rows)}\n", flush=True)
        keep(options.results, f"{options.device}: {part}", rows, time.monotonic() - begun, options)
    return found


def keep(path: Path, name: str, rows: list[Row], seconds: float, options: argparse.Namespace) -> None:
    """Puts a part's rows into the file, in place of earlier ones."""
    results = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    results[name] = {
        "machine": f"{machine(torch.device(options.device))}; Python {platform.python_version()}",
        "date": date.today().isoformat(),
        "command": f"python -m benchmarks {name.split(': ')[1]} --device {options.device} --rounds {options.rounds}",
        "minutes": round(seconds / 60, 1),
        "rows": [asdict(row) for row in rows],
    }
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def kept(path: Path) -> str:
    """What the file holds, as Markdown."""
    texts = []
    for name, part in json.loads(path.read_text(encoding="utf-8")).items():
        ran = f"`{part['command']}`, {part['date']}, {part['minutes']:g} minutes on {part['machine']}"
        texts.append(f"### {name}\n\n{ran}:\n\n{table([Row(**row) for row in part['rows']])}\n")
    return "\n".join(texts)


COLUMNS = {
    "tflops": ("TFLOP/s", "{:.2f}"),
    "of_ceiling": ("of ceiling", "{:.0%}"),
    "peak_gib": ("peak GiB", "{:.1f}"),
    "first_seconds": ("first run, s", "{:.0f}"),
}


def table(rows: list[Row]) -> str:
    """A Markdown table."""
    more = [name for name in COLUMNS if any(name in row.more for row in rows)]
    lines = [["", "", "rate", "ratio", *(COLUMNS[name][0] for name in more)]]
    lines.append(["---"] * len(lines[0]))
    case = None
    for row in rows:
        low, high = (number(value) for value in row.spread)
        rate = f"{number(row.rate)} {row.unit} ({low} to {high})"
        if row.unit == "runs/s":  # one wants to know how long a single run takes
            rate = f"{1 / row.rate:.2f} s ({1 / row.spread[1]:.2f} to {1 / row.spread[0]:.2f})"
        cells = [row.case if row.case != case else "", row.name, rate]
        cells.append("" if row.ratio is None else "**{:.2f}×** ({:.2f} to {:.2f})".format(*row.ratio))
        cells += [COLUMNS[name][1].format(row.more[name]) if name in row.more else "" for name in more]
        lines.append(cells)
        case = row.case
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def number(value: float) -> str:
    """Three digits that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    main(sys.argv[1:])
