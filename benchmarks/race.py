"""Contenders that take turns, each in a process of its own, and what came of it."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


@dataclass
class Contender:
    """One that takes part.

    Attributes:
        name: in tables.
        spec: for the worker.
        work: how many clips or frames a run makes.
    """

    name: str
    spec: dict[str, Any]
    work: float


@dataclass
class Row:
    """A line of a table.

    Attributes:
        case: what was raced for.
        name: of the contender.
        unit: of its rate.
        rate: median over the rounds.
        spread: smallest and largest rate.
        ratio: median, smallest and largest ratio to the first contender, round by round; None for the first itself.
        more: whatever else was measured, by name.
    """

    case: str
    name: str
    unit: str
    rate: float
    spread: tuple[float, float]
    ratio: tuple[float, float, float] | None = None
    more: dict[str, float] = field(default_factory=dict)


class Worker:
    """The process of a contender, ready to run."""

    def __init__(self, contender: Contender):
        self.contender = contender
        words = [sys.executable, "-m", "benchmarks.worker", json.dumps(contender.spec)]
        folders = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
            env=os.environ | {"PYTHONPATH": folders},
        )  # fmt: skip

    def get_ready(self) -> dict[str, Any]:
        """Warms it up; gives what it found."""
        self.ready = self._ask()
        return self.ready

    def run(self) -> float:
        """Runs once; gives the seconds."""
        return self._ask()["seconds"]

    def end(self) -> float:
        """Ends it; gives its peak memory in GiB."""
        self._process.stdin.close()
        peak = self._hear()["peak_gib"]
        self._process.wait()
        return peak

    def kill(self) -> None:
        """Ends it, in whatever state it is."""
        self._process.kill()
        self._process.wait()
        self._process.stdin.close(), self._process.stdout.close()

    def _ask(self) -> dict[str, Any]:
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return self._hear()

    def _hear(self) -> dict[str, Any]:
        while line := self._process.stdout.readline():
            if line.startswith("{"):
                return json.loads(line)
        raise SystemExit(f"benchmark: {self.contender.name!r} ended with code {self._process.wait()}.")


def race(case: str, unit: str, contenders: Sequence[Contender], rounds: int, alike: bool = True) -> list[Row]:
    """Lets contenders take turns.

    Those that are alike must find the same results first (in bf16 within rounding): what is not right is not timed.

    Args:
        case: what it is about.
        unit: of the rates.
        contenders: the first is what the others are measured against.
        rounds: how often each runs.
        alike: whether they do the same.
    """
    print(f"{case}: {', '.join(c.name for c in contenders)}", file=sys.stderr, flush=True)
    workers = [Worker(contender) for contender in contenders]
    try:
        results = [worker.get_ready()["result"] for worker in workers]
        for contender, found in zip(contenders, results, strict=True):
            if alike and found is not None:
                _check(case, contender, found, results[0])
        seconds = [_round(workers, first) for first in range(rounds)]
        peaks = [worker.end() for worker in workers]
    finally:
        for worker in workers:
            worker.kill()

    rows = _rows(case, unit, {contender.name: contender.work for contender in contenders}, seconds)
    for row, worker, peak in zip(rows, workers, peaks, strict=True):
        if flops := worker.ready["flops"]:
            row.more["tflops"] = flops / worker.contender.work * row.rate / 1e12
        row.more |= {"peak_gib": peak, "first_seconds": worker.ready["first_seconds"]}
    return rows


def _check(case: str, contender: Contender, found: list[float], wanted: list[float]) -> None:
    """Raises SystemExit if a contender's results are not those of the first one."""
    tolerance = 0.1 if contender.spec["precision"] == "bf16" else 1e-3
    error = max(abs(a - b) / max(abs(b), 0.1) for a, b in zip(found, wanted, strict=True))
    if not error <= tolerance:
        raise SystemExit(f"benchmark: {contender.name!r} is off by {error:.2%} in {case}.")


def _round(workers: Sequence[Worker], first: int) -> list[float]:
    """Seconds of every worker, once; another one begins in every round."""
    seconds = {}
    for i in range(len(workers)):
        at = (first + i) % len(workers)
        seconds[at] = workers[at].run()
    return [seconds[at] for at in range(len(workers))]


def finish(device: str) -> None:
    """Waits until a device has done what it was told."""
    if device == "cuda":
        import torch

        torch.cuda.synchronize()


def take_turns(
    case: str, unit: str, contenders: dict[str, tuple[Callable[[], float], float]], rounds: int
) -> list[Row]:
    """As `race`, of functions in this process: name → (runs once and gives the seconds, its work)."""
    print(f"{case}: {', '.join(contenders)}", file=sys.stderr, flush=True)
    for run, _ in contenders.values():
        run()
    seconds = [[run() for run, _ in contenders.values()] for _ in range(rounds)]
    return _rows(case, unit, {name: work for name, (_, work) in contenders.items()}, seconds)


def _rows(case: str, unit: str, work: dict[str, float], seconds: list[list[float]]) -> list[Row]:
    """Rates and ratios from the seconds of every round."""
    rounds = [[w / s for w, s in zip(work.values(), times, strict=True)] for times in seconds]
    rows = []
    for name, rates in zip(work, zip(*rounds, strict=True), strict=True):
        row = Row(case, name, unit, statistics.median(rates), (min(rates), max(rates)))
        if rows:
            ratios = [rate / first for rate, (first, *_) in zip(rates, rounds, strict=True)]
            row.ratio = (statistics.median(ratios), min(ratios), max(ratios))
        rows.append(row)
    return rows
