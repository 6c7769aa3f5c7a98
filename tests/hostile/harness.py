"""Loaders against broken and hostile files: each case in a child process, with limits of memory and of time.

`attempt` starts a child for a loader. The child writes the honest input, loads it once, allows itself `SPARE` bytes
more than it has by then, and goes through the cases: it changes the files, loads them, and says what came of it. A case
is a plain text (kind, number and file, or an attack's name), so that one that failed can be tried again by itself:

    python tests/hostile mp4 flip:17:0 cut:33:0 'attack:absurd sides'
"""

import importlib
import json
import os
import queue
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SPARE = 1 << 30  # bytes that a case may take over the honest load, unless its loader says otherwise
SILENCE = 60  # seconds of the clock after which a child is given up that says nothing
BASE = "honest"  # folder of the input as it was written


@dataclass(frozen=True)
class Loader:
    """A way to read files.

    Attributes:
        make: writes honest input into a folder and gives the files that are to be changed.
        load: reads that input.
        attacks: other changes by name: each is given the folder after the honest input was written to it.
        seconds: of processor time that a case may take: the machine may be busy with other things.
        spare: bytes that a case may take over the honest load.
    """

    make: Callable[[Path], Sequence[Path]]
    load: Callable[[Path], Any]
    attacks: dict[str, Callable[[Path], Any]] = field(default_factory=dict)
    seconds: float = 20
    spare: int = SPARE


@dataclass(frozen=True)
class Outcome:
    """What came of a case.

    Attributes:
        loader: which was tried.
        case: its name.
        how: refused (by an `InputError`), read, or what went wrong.
        said: the message.
        peak: most memory that was in use, MiB over that before the case; maps of files count, unlike in the limit.
        seconds: of processor time.
    """

    loader: str
    case: str
    how: str
    said: str
    peak: float = 0.0
    seconds: float = 0.0

    @property
    def bad(self) -> bool:
        """Whether the loader let itself be broken."""
        return self.how not in ("read", "refused")


def cuts(places: Sequence[int] = range(100), files: int = 1) -> list[str]:
    """Truncations, at so many hundredths of the length."""
    return [f"cut:{percent}:{file}" for file in range(files) for percent in places]


def flips(count: int, files: int = 1, kinds: Sequence[str] = ("flip", "ones", "zeros", "copy")) -> list[str]:
    """Changed files: mostly single bits; numbers of all ones, blocks of zeros, and pieces that stand elsewhere, too."""
    return [f"{kinds[0] if n % 4 else kinds[n // 4 % len(kinds)]}:{n}:{f}" for f in range(files) for n in range(count)]


def changed(data: bytes, case: str) -> bytes:
    """A file's bytes as a case has them."""
    kind, number, *_ = case.split(":")
    if kind == "cut":
        return data[: len(data) * int(number) // 100]
    draw, made = random.Random(case), bytearray(data)
    # half of all changes are near the beginning or the end, where headers and indices are
    ends = draw.choice([len(data), len(data), 600, -600])
    place = (
        draw.randrange(len(data)) if abs(ends) >= len(data) else draw.randrange(600) + (ends < 0) * (len(data) - 600)
    )
    if kind == "flip":
        made[place] ^= 1 << draw.randrange(8)
    elif kind == "copy":
        start, length = draw.randrange(len(data)), draw.randrange(1, 64)
        made[place:place] = data[start : start + length]
    else:
        width = draw.choice([1, 2, 4, 8])
        made[place : place + width] = (b"\xff" if kind == "ones" else b"\0") * width
    return bytes(made)


# ----------------------------------------------------------------------------------------------------- in the parent


def attempt(jobs: Sequence[tuple[str, str]], module: str = "hostile.loaders") -> list[Outcome]:
    """What comes of pairs of loader and case, in their order; a child that dies or hangs is replaced by another."""
    outcomes: list[Outcome] = []
    while len(outcomes) < len(jobs):
        before = len(outcomes)
        with tempfile.TemporaryDirectory() as folder:
            outcomes += _child(jobs[before:], Path(folder), module)
        assert len(outcomes) > before
    return outcomes


def _child(jobs: Sequence[tuple[str, str]], folder: Path, module: str) -> list[Outcome]:
    env = os.environ | {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1", "OPENBLAS_NUM_THREADS": "1"}
    errors, outcomes = folder / "stderr", []
    words = [sys.executable, str(Path(__file__).parent), "--child", module, str(folder)]
    with (
        open(errors, "wb") as file,
        subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, env=env, text=True
        ) as child,
    ):
        lines: queue.Queue[str] = queue.Queue()
        reader = threading.Thread(target=lambda: [*map(lines.put, child.stdout), lines.put("")], daemon=True)
        reader.start()
        try:
            child.stdin.write(json.dumps(list(jobs)))
            child.stdin.close()
            while len(outcomes) < len(jobs):
                line = lines.get(timeout=SILENCE)
                if line.startswith("{"):
                    outcomes.append(Outcome(**json.loads(line)))
                elif not line:
                    said = errors.read_text(errors="replace")[-1500:]
                    outcomes.append(Outcome(*jobs[len(outcomes)], f"died with {child.wait(60)}", said))
                    break
        except queue.Empty:
            outcomes.append(Outcome(*jobs[len(outcomes)], "hung", f"nothing came of it in {SILENCE} s"))
        finally:
            child.kill()
            reader.join()
    return outcomes


def told(outcomes: Sequence[Outcome]) -> str:
    """What failed, with how to try it again; nothing if nothing did."""
    return "\n".join(
        f"python tests/hostile {o.loader} {o.case!r}: {o.how} {o.peak:.0f} MiB, {o.seconds:.1f} s\n{o.said[-1500:]}"
        for o in outcomes
        if o.bad
    )


# ------------------------------------------------------------------------------------------------------ in the child


class _TooLong(BaseException):
    pass


def _work(loaders: dict[str, Loader], folder: Path) -> None:
    jobs = json.load(sys.stdin)
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a loader prints is no outcome
    sys.stdout.reconfigure(errors="backslashreplace")  # as the command line does
    signal.signal(signal.SIGPROF, _too_long)
    before = None
    for name, case in jobs:
        loader = loaders[name]
        if name != before:
            print(f"now {name}", file=out, flush=True)
            files, before = _begin(loader, folder), name
        target = _fresh(folder)
        if case.startswith("attack:"):
            loader.attacks[case.removeprefix("attack:")](target)
        else:
            path = files[int(case.split(":")[2])]
            (target / path).write_bytes(changed((folder / BASE / path).read_bytes(), case))
        print(json.dumps({"loader": name, "case": case} | _outcome(loader, target)), file=out, flush=True)


def _begin(loader: Loader, folder: Path) -> list[Path]:
    """Writes the honest input, loads it, and sets the limit of memory from there."""
    resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    honest = folder / BASE
    shutil.rmtree(honest, ignore_errors=True)
    honest.mkdir()
    files = [path.relative_to(honest) for path in loader.make(honest)]
    loader.load(_fresh(folder))
    # the data segment: not the address space (RLIMIT_AS), which maps of files of any size may take at no cost
    limit = _status("VmData") + loader.spare
    resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.RLIM_INFINITY))
    return files


def _fresh(folder: Path) -> Path:
    target = folder / "in"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(folder / BASE, target)
    return target


def _outcome(loader: Loader, target: Path, limited: bool = True) -> dict[str, Any]:
    from stochvid import InputError

    Path("/proc/self/clear_refs").write_text("5")  # from here on, the highest use of memory is this case's
    before, begin, said = _status("VmRSS"), time.process_time(), ""
    signal.setitimer(signal.ITIMER_PROF, loader.seconds)
    try:
        loader.load(target)
        how = "read"
    except InputError as error:
        how, said = ("refused", str(error)) if not _memory(error) else ("memory", traceback.format_exc())
        if len(said) > 2000 and how == "refused":
            how = "endless message"
    except _TooLong:
        how, said = "too long", traceback.format_exc()
    except BaseException as error:
        how, said = type(error).__name__, traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    if limited and how == "memory" and "cannot be decoded as video" in said:
        # FFmpeg says that memory is out when a picture has more pixels than it is allowed, too: see what it does take
        limit = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        outcome = _outcome(loader, target, limited=False)
        resource.setrlimit(resource.RLIMIT_DATA, limit)
        return outcome if outcome["peak"] * 2**20 > loader.spare else outcome | {"how": "refused"}
    seconds, peak = time.process_time() - begin, _status("VmHWM") - before
    return {"how": how, "said": said[-3000:], "peak": peak / 2**20, "seconds": seconds}


def _memory(error: BaseException | None) -> bool:
    """Whether memory ran out on the way to an error: without the limit, it would have been taken."""
    while error is not None:
        if isinstance(error, MemoryError) or any(word in str(error) for word in ("MemoryError", "allocate")):
            return True
        error = error.__context__
    return False


def _too_long(*_: Any) -> None:
    raise _TooLong


def _status(name: str) -> int:
    """A number of bytes out of what Linux says of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024


def work(module: str, folder: str) -> None:
    """Goes through the cases that are written to standard input, of the loaders of a module."""
    _work(importlib.import_module(module).LOADERS, Path(folder))
