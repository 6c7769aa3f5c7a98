"""Preparing data: whatever clips there are on disk, decoded once into a store.

An interrupted run leaves its work beside the store to be (`data/work.py`), and the same command goes on with it.
"""

import hashlib
import json
import os
import shlex
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from stochvid.command_options import takes
from stochvid.config import MOVING_MNIST
from stochvid.core.errors import InputError, alike
from stochvid.core.progress import Progress
from stochvid.data.splits import SPLITS, SplitRule
from stochvid.data.store import Store, is_prepared
from stochvid.media.archives import unpack_command
from stochvid.media.clip import KEYED
from stochvid.media.images import COLOURS
from stochvid.media.times import rate_for_all, shown_rate
from stochvid.prepare.arrays import Arrays
from stochvid.prepare.bair import BAIR
from stochvid.prepare.kth import ACTIONS, KTH, SRVP_TEST
from stochvid.prepare.lerobot import LeRobot
from stochvid.prepare.options import PrepareOptions, StoreOptions
from stochvid.prepare.source import Item, Options, Source, SourceFile, Walk, walk
from stochvid.prepare.videos import Videos
from stochvid.prepare.work import WORK, Work
from stochvid.prepare.workers import AHEAD, FrameFormat, Part, WorkerPool

SOURCES: dict[str, type[Source]] = {s.format: s for s in (LeRobot, BAIR, KTH, Arrays, Videos)}  # asked in this order

SPARE = 64 << 20  # bytes that shall stay free on the disk


@takes(PrepareOptions)
def prepare(options: PrepareOptions) -> Store:
    """Decodes a source of clips into a store, or finds that it is there already.

    Args:
        options: `PrepareOptions`, or their fields: the source, the folder of the store, and others by name.

    Returns:
        The store.

    Raises:
        InputError: an option, the source, a file in it, or the disk does not work out.
    """
    o = options
    published = o.split if o.split == SRVP_TEST else None
    rule = SplitRule(None if published else o.split)
    root, key = _with_key(Path(o.source), o.key)
    asked = Options(o.fps, o.axes, o.camera, o.limits, key, o.length, published, o.actions, o.states)
    tree = _look(root)
    kind = _pick_source(root, tree, o.format)
    _check_options(kind, asked)
    return make_store(kind(root, tree, asked), Path(o.out), o, rule, o.workers, o.crop, o.skip_bad)


def make_store(
    reader: Source,
    out: Path,
    options: StoreOptions,
    rule: SplitRule,
    workers: int | None,
    crop: Literal["centre", "none"] = "none",
    skip_bad: bool = False,
) -> Store:
    """Decodes the clips of a source into a store, or finds that it is there already.

    Args:
        reader: of the clips.
        out: folder of the store.
        options: in which size and channels, and whether over another store.
        rule: which clip goes to which split.
        workers: processes; None: one for each core.
        crop: as of `FrameFormat`.
        skip_bad: leave out what cannot be read.

    Raises:
        InputError: the source, a clip of it, or the disk does not work out.
    """
    o, kind, tree = options, type(reader), reader.tree
    root, workers = reader.root, os.cpu_count() or 1 if workers is None else workers
    paths = reader.find()
    if not paths:
        raise InputError(f"there is nothing to prepare in {str(root)!r}: no clip of the format {kind.format}.")
    with WorkerPool(reader, workers) as pool:
        probed = list(pool.probe(paths))
        unread = [str(path) for path, found in zip(paths, probed, strict=True) if isinstance(found, InputError)]
        wrong = [str(error) for error in [*tree.closed, *probed] if isinstance(error, InputError)]
        tasks = (
            reader.arrange([task for task in probed if isinstance(task, SourceFile)])
            if len(unread) < len(paths)
            else []
        )
        if not tasks:
            raise InputError(f"nothing in {str(root)!r} can be read. The first of {len(wrong)} faults: {wrong[0]}")
        had = min(max(task.channels for task in tasks), 3)
        frame_format = FrameFormat(o.size or kind.size, o.channels or reader.channels or had, crop)
        job = Preparation(reader, tasks, frame_format, rule, out, wrong)
        if job.is_done(o.overwrite):
            return Store(out)
        if wrong and not skip_bad:
            others = [repr(path) for path in unread if repr(path) not in wrong[0]]
            more = f" Nor can {', '.join(others[:3])}{', …' if len(others) > 3 else ''}." if others else ""
            raise InputError(f"{wrong[0]}{more} To leave out what cannot be read: --skip-bad.")
        job.run(pool, skip_bad=skip_bad, overwrite=o.overwrite)
    return Store(out)


class Preparation:
    """The making of one store, from all that is known of its clips.

    Args:
        source: of the clips.
        tasks: all of them.
        frame_format: what frames become.
        rule: which clip goes to which split.
        out: folder of the store.
        wrong: what was wrong with files that are left out; grows.

    Raises:
        InputError: `out` is the working folder, two clips have one name, or the rule fits none.
    """

    def __init__(
        self,
        source: Source,
        tasks: list[SourceFile],
        frame_format: FrameFormat,
        rule: SplitRule,
        out: Path,
        wrong: list[str],
    ):
        self.source, self.tasks, self.frame_format, self.rule, self.wrong = source, tasks, frame_format, rule, wrong
        self.shown, self.out = out, Path(os.path.realpath(out))
        if self.out == Path.cwd():
            raise InputError(
                "the store cannot be the folder that you are in: it is made beside it first. Name another."
            )
        items = _by_name(tasks)
        self.splits = rule.assign({name: item.split for name, item in items.items()})
        if not self.splits:
            raise InputError(f"--split {rule.text!r} fits no clip. They are named as {next(iter(items))!r}.")
        # one clip for several splits is cut
        alone = len(items) == 1 and not wrong
        self.alone = alone and len(rule.fractions) > 1 and next(iter(items.values())).split is None
        asked = {"split": rule.text} | asdict(source.options) | asdict(frame_format)
        asked["range"] = next((list(task.limits) for task in tasks if task.limits), None)
        self.plan = {"format": source.format} | {name: value for name, value in asked.items() if value is not None}
        listing = json.dumps([self._identity(task) for task in tasks])
        self.plan["files"] = hashlib.sha256(listing.encode()).hexdigest()

    def is_done(self, overwrite: bool) -> bool:
        """Whether the store is there already; says so."""
        if not is_prepared(self.out, self.plan, overwrite):
            return False
        store = Store(self.out)
        lacking = ", ".join(name for name in self.source.tracks if name not in store.tracks)
        if lacking and overwrite:
            return False
        left_out = len(store.about.get("left_out") or [])
        told = f" ({left_out:,} fault(s) were left out)" if left_out else ""
        print(f"{self.shown} is prepared already{told}; nothing to do.", flush=True)
        if lacking:
            print(f"note: it is from before tracks were kept, and lacks {lacking}; --overwrite prepares it anew")
        return True

    def run(self, pool: WorkerPool, *, skip_bad: bool, overwrite: bool) -> None:
        """Says what will be done, does what is left of it, and says what was done."""
        self._announce(pool.workers)
        self._check_disk(pool.workers)
        shape = (self.frame_format.size, self.frame_format.channels)
        with Work(self.out, self.plan, *shape, self.source.tracks, overwrite) as work:
            if self.is_done(overwrite):  # by another process, until a moment ago
                return
            entries = work.take_up([self._identity(task) for task in self.tasks])
            self.wrong += [fault for entry in entries for fault in entry["wrong"]]
            if entries:
                print(f"  going on after {len(entries):,} of {len(self.tasks):,} files", flush=True)
            self._decode(work, pool, self.tasks[len(entries) :], skip_bad)
            work.finish({"plan": self.plan, "source": str(self.source.root), "left_out": self.wrong}, self._order(work))
        self._report()

    def _decode(self, work: Work, pool: WorkerPool, tasks: list[SourceFile], skip_bad: bool) -> None:
        writer, before = work.writer, work.writer.frames
        with Progress(sum(task.frames for task in self.tasks), "frames", before) as progress:

            def tick() -> None:
                ahead = sum(entry.stat().st_size for entry in os.scandir(work.parts)) // self.frame_format.frame_bytes
                progress.show(writer.frames + ahead, f"{writer.clips:,} clips")

            wanted = [[item.name in self.splits for item in task.items] for task in tasks]
            parts = pool.decode(tasks, wanted, self.frame_format, work.parts, tick)
            for task, part in zip(tasks, parts, strict=True):
                if part.wrong and not skip_bad:
                    fix = "To leave out what cannot be read, run the same command with --skip-bad."
                    raise InputError(f"{part.wrong[0]} {fix}")
                work.append(self._identity(task), part, self._clips(task, part))
                self.wrong += part.wrong
            tick()
        if tasks:
            print(f"decoded {writer.frames - before:,} frames, {progress.rate:,.0f} a second", flush=True)
        if not writer.clips:
            work.discard()
            raise InputError(f"no clip could be read. The first of {len(self.wrong)} faults: {self.wrong[0]}")

    def _clips(self, task: SourceFile, part: Part) -> list[tuple[str, str, int, float | None]]:
        """Split, name, length and frames per second of what is in a part."""
        whole = [(item.name, length) for item, length in zip(task.items, part.lengths, strict=True) if length]
        if not self.alone:
            return [(self.splits[name], name, length, task.fps) for name, length in whole]
        return [
            (split, f"{name}[{start}:{stop}]", stop - start, task.fps)
            for name, length in whole
            for split, start, stop in self.rule.cuts(length)
        ]

    def _identity(self, task: SourceFile) -> list[Any]:
        """The task as the journal knows it: its file, and where its clips go."""
        return [*task.key, [self.splits.get(item.name) for item in task.items], self.alone]

    def _order(self, work: Work) -> dict[str, list[int]] | None:
        """The clips of the SRVP test set are listed as they were drawn, not as they lie."""
        if self.source.options.split != SRVP_TEST:
            return None
        names = work.writer.splits["test"].names
        return {"test": sorted(range(len(names)), key=names.__getitem__)}

    # ----------------------------------------------------------------------------------------------------- what is said

    def _announce(self, workers: int) -> None:
        frames = sum(task.frames for task in self.tasks)
        listed = sum(len(task.items) for task in self.tasks)
        widths, heights = ([task.size[i] for task in self.tasks] for i in (0, 1))
        least, most = (f"{f(widths)}×{f(heights)}" for f in (min, max))
        of = least if least == most else f"{least} to {most}"
        print(
            f"{self.source.format}: {listed:,} clip(s) in {len(self.tasks):,} file(s), about {frames:,} frames of {of}"
        )
        notes = [*self.source.notes, *(task.note for task in self.tasks[:5] if task.note)]
        links = self.source.tree.twice
        notes += [f"not followed: {str(link)!r} links to a folder that is taken already" for link in links]
        rates: Counter[float] = Counter()
        for task in self.tasks:
            if task.fps:
                rates[task.fps] += task.frames
        if fps := rate_for_all(rates):
            least, most, one = (shown_rate(rate) for rate in (min(rates), max(rates), fps))
            notes.append(f"{least} to {most} frames/s are mixed; --fps {one} would make them one")
        if self.source.options.range == "auto" and self.plan.get("range"):
            low, high = self.plan["range"]
            notes.append(f"values {low:,.6g} to {high:,.6g} become black to white")
        if listed > len(self.splits):
            where = "fit no pattern of --split" if self.rule.patterns else "are in none of the splits that are shipped"
            notes.append(f"{listed - len(self.splits):,} clip(s) {where}, and are left out")
        notes += [
            f"--split {pattern} fits no clip"
            for pattern in self.rule.unused(i.name for t in self.tasks for i in t.items)
        ]
        for note in notes:
            print(f"  {note}")
        fit = self.frame_format
        how = "" if widths == heights else ", the middle square" if fit.crop == "centre" else ", squashed"
        colour = COLOURS.get(fit.channels, f"{fit.channels} channels")
        print(
            f"  → {self.shown}: {fit.size}×{fit.size} {colour}{how}; needs "
            f"{_bytes(frames * fit.frame_bytes)} of disk, {_bytes(self._need(workers))} while it is made, "
            f"{_bytes(self._free())} are free; {workers or 1} worker(s)",
            flush=True,
        )

    def _need(self, workers: int) -> int:
        """Bytes that the disk must have while the store is made."""
        frames = [task.frames for task in self.tasks]
        ahead = sum(sorted(frames)[-AHEAD * max(workers, 1) :])  # decoded, but not in the arrays yet
        return (sum(frames) + ahead) * self.frame_format.frame_bytes + SPARE

    def _check_disk(self, workers: int) -> None:
        there = sum(path.stat().st_size for path in self.out.with_name(self.out.name + WORK).glob("*.npy"))
        need, free = self._need(workers) - there, self._free()
        if need > free:
            raise InputError(
                f"the disk of {str(self.shown)!r} has {_bytes(free)} free, but {_bytes(need)} are needed while it is "
                "made. Make room, choose another folder, or a smaller --size."
            )

    def _free(self) -> int:
        folder = self.out.parent
        while not folder.exists():
            folder = folder.parent
        return shutil.disk_usage(folder).free

    def _report(self) -> None:
        store = Store(self.out)
        for name, split in store.splits.items():
            least, most = min(split.lengths), max(split.lengths)
            lengths = f"{least}" if least == most else f"{least} to {most}"
            print(f"{name}: {len(split.names):,} clip(s) of {lengths} frames, {split.frames:,} in all")
        print(store.tracks_text, end="")
        for fault in self.wrong[:5]:
            print(f"left out: {fault}")
        if len(self.wrong) > 5:
            print(f"left out: {len(self.wrong) - 5:,} more, named in {self.shown / 'index.json'}")
        for note in self._doubts(store):
            print(f"note: {note}")
        print(f"Done: {self.shown}", flush=True)

    def _doubts(self, store: Store) -> Iterator[str]:
        """Why training might not take the store."""
        named = self.rule.text in SPLITS or self.source.options.split is not None  # asked for in so many words
        if "train" not in store.splits and not named:
            yield "there is no train clip; training needs some (--split)"
        if not {"val", "test"} & set(store.splits) and not named:
            yield "there is no val or test clip; training needs some to validate on (--split)"


def _by_name(tasks: list[SourceFile]) -> dict[str, Item]:
    items: dict[str, Item] = {}
    files: dict[str, Path] = {}
    for task in tasks:
        for item in task.items:
            if item.name in items:
                raise InputError(
                    f"two clips are called {item.name!r}: of {str(files[item.name])!r} and {str(task.path)!r}. Rename "
                    "or remove one."
                )
            items[item.name], files[item.name] = item, task.path
    return items


def _with_key(root: Path, key: str | None) -> tuple[Path, str | None]:
    """The source, and the array's name where both are given as FILE:NAME."""
    file, _, name = str(root).rpartition(":")
    if not root.exists() and name and Path(file).suffix.lower() in KEYED and Path(file).is_file():
        return Path(file), key or name
    return root, key


def _look(root: Path) -> Walk:
    try:
        root.stat()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        fix = f"Did you mean {MOVING_MNIST}?" if alike(str(root), [MOVING_MNIST]) else "Give a folder or a file."
        raise InputError(f"source {str(root)!r} cannot be read: {reason}. {fix}") from None
    return walk(root)


def _pick_source(root: Path, tree: Walk, format: str | None) -> type[Source]:
    if format is not None:
        return SOURCES[format]
    kinds = [kind for kind in SOURCES.values() if kind.recognises(root, tree)]
    if Arrays in kinds and Videos in kinds and kinds[0] is Arrays:
        raise InputError(f"{str(root)!r} holds both arrays and videos or images. Say which: --format arrays or videos.")
    if kinds:
        return kinds[0]
    if tree.closed:
        raise tree.closed[0]
    _refuse_archives(root, tree)
    raise InputError(
        f"there is nothing in {str(root)!r} that is known for clips: videos, folders of images, .npy, .npz, .h5, KTH, "
        "BAIR or LeRobot datasets. Name the format with --format."
    )


def _refuse_archives(root: Path, tree: Walk) -> None:
    """Says how to unpack what is packed."""
    commands = {path: command for path in tree.files if path.is_file() and (command := unpack_command(path))}
    if not commands:
        return
    kth = [path for path in commands if path.name.lower().startswith(("kth", *ACTIONS))]
    hint = " (the six of KTH each into a folder of its name, with 00sequences.txt beside them)" if kth else ""
    first, command = next(iter(commands.items()))
    what = f"{str(root)!r} is an archive" if root.is_file() else f"{str(root)!r} holds archives ({len(commands)})"
    folder = "" if first.parent == Path() else f"cd {shlex.quote(str(first.parent))} && "
    raise InputError(f"{what}. What is packed is not opened: unpack it first{hint}, as with: {folder}{command}")


def _check_options(kind: type[Source], options: Options) -> None:
    for name, value in asdict(options).items():
        if value is not None and name not in kind.takes:
            who = " and ".join(sorted(s.format for s in SOURCES.values() if name in s.takes))
            shown = f"--split {value}" if name == "split" else f"--{name}"
            raise InputError(f"{shown} is for {who}; the source is of the format {kind.format}.")
    if options.length is not None and options.split is None:
        raise InputError("--length is for --split srvp-test; other clips are as long as they are.")


def _bytes(count: float) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
