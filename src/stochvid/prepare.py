"""Preparing data: whatever clips there are on disk, decoded once into a store.

The work is done in `OUT.preparing`, which becomes `OUT` when all of it is there. An interrupted run leaves that folder,
with a journal of the files whose clips are in it; the same command goes on after them.
"""

import hashlib
import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from stochvid.data.arrays import Arrays
from stochvid.data.bair import BAIR
from stochvid.data.crew import Crew, Fitting, Part, cannot_write
from stochvid.data.kth import KTH, SRVP_TEST
from stochvid.data.lerobot import LeRobot
from stochvid.data.source import WORK, Options, Source, Task
from stochvid.data.splits import SplitRule
from stochvid.data.store import SplitIndex, Store, StoreWriter, difference, is_prepared
from stochvid.data.videos import Videos
from stochvid.errors import InputError, nearest
from stochvid.files import writable_folder
from stochvid.io.arrays import CLIP_AXES, SET_AXES
from stochvid.io.clip import COLOURS
from stochvid.progress import FrameProgress

SOURCES: dict[str, type[Source]] = {s.format: s for s in (LeRobot, BAIR, KTH, Arrays, Videos)}  # asked in this order

PLAN, JOURNAL = "plan.json", "journal.jsonl"
SPARE = 64 << 20  # bytes that shall stay free on the disk


def prepare(
    source: str | Path,
    out: str | Path,
    *,
    format: str | None = None,
    size: int | None = None,
    channels: int | None = None,
    fps: float | None = None,
    crop: Literal["centre", "none"] = "none",
    split: str | None = None,
    axes: str | None = None,
    camera: str | None = None,
    length: int | None = None,
    workers: int | None = None,
    skip_bad: bool = False,
    overwrite: bool = False,
) -> Store:
    """Decodes a source of clips into a store, or finds that it is there already.

    Args:
        source: a folder or a file.
        out: folder of the store.
        format: one of `SOURCES`; None: recognised.
        size: height and width of the stored frames; None: 64.
        channels: 1 grey, 3 RGB; None: the source's usual, or as the frames have.
        fps: take frames at this rate; None: as they come.
        crop: centre: the middle square; none: the whole frame, squashed to a square.
        split: as `SplitRule` takes it, or srvp-test for KTH; None: as the source ships it.
        axes: order of the axes of arrays.
        camera: of a LeRobot dataset.
        length: frames of a clip of the KTH test set srvp-test; None: 40, as published.
        workers: processes that decode; 0: in this one; None: one for each core.
        skip_bad: leave out what cannot be read, instead of stopping there.
        overwrite: replace another store in `out`, and begin interrupted work anew.

    Returns:
        The store.

    Raises:
        InputError: an option, the source, a file in it, or the disk does not work out.
    """
    root, published = Path(source), split if split == SRVP_TEST else None
    rule = SplitRule(None if published else split)
    workers = os.cpu_count() or 1 if workers is None else workers
    _check_ranges(size=size, channels=channels, fps=fps, length=length, workers=workers)
    kind = _pick_source(root, format)
    options = Options(fps, axes, camera, length, published)
    _check_options(kind, options)
    reader = kind(root, options)
    paths = reader.find()
    if not paths:
        raise InputError(f"there is nothing to prepare in {str(root)!r}: no clip of the format {kind.format}.")
    with Crew(reader, workers) as crew:
        probed = list(crew.probe(paths))
        wrong = [str(error) for error in probed if isinstance(error, InputError)]
        if wrong and not skip_bad:
            more = f" {len(wrong) - 1} more cannot be read either." if len(wrong) > 1 else ""
            raise InputError(f"{wrong[0]}{more} To leave such files out: --skip-bad.")
        tasks = [task for task in probed if isinstance(task, Task)]
        if not tasks:
            raise InputError(f"nothing in {str(root)!r} can be read. The first of {len(wrong)} faults: {wrong[0]}")
        tasks = reader.arrange(tasks)
        had = min(max(task.channels for task in tasks), 3)
        fitting = Fitting(size or kind.size, channels or kind.channels or had, crop)
        job = Preparation(reader, tasks, fitting, rule, Path(out), wrong)
        job.run(crew, skip_bad=skip_bad, overwrite=overwrite)
    return Store(out)


class Preparation:
    """The making of one store, which may be interrupted and taken up at any time.

    Args:
        source: of the clips.
        tasks: all of them.
        fitting: what frames become.
        rule: which clip goes to which split.
        out: folder of the store.
        wrong: what was wrong with files that are left out; grows.
    """

    def __init__(
        self, source: Source, tasks: list[Task], fitting: Fitting, rule: SplitRule, out: Path, wrong: list[str]
    ):
        self.source, self.tasks, self.fitting, self.rule, self.out, self.wrong = (
            source,
            tasks,
            fitting,
            rule,
            out,
            wrong,
        )
        self.work = out.with_name(out.name + WORK)
        places: dict[str, Path] = {}
        for task in tasks:
            for item in task.items:
                if item.name in places:
                    raise InputError(
                        f"two clips are called {item.name!r}: of {str(places[item.name])!r} and {str(task.path)!r}. "
                        "Remove or rename one."
                    )
                places[item.name] = task.path
        self.splits = rule.assign({item.name: item.split for task in tasks for item in task.items})
        if not self.splits:
            raise InputError(f"--split {rule.text!r} fits no clip. They are named as {tasks[0].items[0].name!r}.")
        self.alone = len(self.splits) == 1 and len(rule.fractions) > 1 and tasks[0].items[0].split is None
        listing = [[task.key, [(item.name, self.splits.get(item.name)) for item in task.items]] for task in tasks]
        asked = {"split": rule.text} | asdict(source.options) | asdict(fitting)
        self.plan = {"format": source.format} | {name: value for name, value in asked.items() if value is not None}
        self.plan["files"] = hashlib.sha256(json.dumps(listing).encode()).hexdigest()

    def run(self, crew: Crew, *, skip_bad: bool, overwrite: bool) -> None:
        """Says what will be done, does what is left of it, and says what was done."""
        if is_prepared(self.out, self.plan, overwrite):
            print(f"{self.out} is prepared already; nothing to do.", flush=True)
            return
        self._announce(crew.workers)
        self._check_disk(sum(task.frames for task in self.tasks), "needed")
        self._open_work(overwrite)
        try:
            with StoreWriter(self.work, self.fitting.size, self.fitting.channels) as writer:
                done = self._go_on(writer)
                self._decode(writer, crew, done, skip_bad)
                self._finish(writer)
        finally:
            self._clean_up()
        self._report()

    # ---------------------------------------------------------------------------------------------- before and after

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
        rates = {task.fps for task in self.tasks if task.fps}
        if len(rates) > 1:
            notes.append(f"{min(rates):g} to {max(rates):g} frames/s are mixed; --fps would make them one")
        if listed > len(self.splits):
            notes.append(f"{listed - len(self.splits):,} clip(s) fit no pattern of --split and are left out")
        for note in notes:
            print(f"  {note}")
        fit = self.fitting
        how = "" if widths == heights else ", the middle square" if fit.crop == "centre" else ", squashed"
        print(
            f"  → {self.out}: {fit.size}×{fit.size} {COLOURS.get(fit.channels, fit.channels)}{how}; needs "
            f"{_bytes(frames * fit.frame_bytes)} of disk, {_bytes(self._free())} are free; {workers or 1} worker(s)",
            flush=True,
        )

    def _check_disk(self, frames: int, verb: str) -> None:
        there = sum(path.stat().st_size for path in self.work.glob("*.npy"))
        need, free = frames * self.fitting.frame_bytes + SPARE - there, self._free()
        if need > free:
            raise InputError(
                f"the disk of {str(self.out)!r} has {_bytes(free)} free, but {_bytes(need)} are {verb}. Make room, "
                "choose another folder, or a smaller --size."
            )

    def _free(self) -> int:
        folder = self.out.absolute().parent
        while not folder.exists():
            folder = folder.parent
        return shutil.disk_usage(folder).free

    def _report(self) -> None:
        for name, split in Store(self.out).splits.items():
            least, most = min(split.lengths), max(split.lengths)
            lengths = f"{least}" if least == most else f"{least} to {most}"
            print(f"{name}: {len(split.names):,} clip(s) of {lengths} frames, {split.frames:,} in all")
        for fault in self.wrong[:5]:
            print(f"left out: {fault}")
        if len(self.wrong) > 5:
            print(f"left out: {len(self.wrong) - 5:,} more, named in {self.out / 'index.json'}")
        print(f"Done: {self.out}", flush=True)

    # ------------------------------------------------------------------------------------------------------- the work

    def _open_work(self, overwrite: bool) -> None:
        """Makes the work folder, or finds that it belongs to the same plan."""
        path = self.work / PLAN
        if path.is_file():
            try:
                plan = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                plan = None
            # other files are no other plan: the journal says from which on they differ
            same = isinstance(plan, dict) and plan | {"files": ""} == self.plan | {"files": ""}
            if not same and not overwrite:
                raise InputError(
                    f"{str(self.work)!r} holds unfinished work with other options ({difference(plan, self.plan)}). "
                    "Give those to go on with it, or --overwrite to begin anew."
                )
            if overwrite:
                shutil.rmtree(self.work)
        elif self.work.exists() and any(self.work.iterdir()):
            raise InputError(f"{str(self.work)!r} is in the way: it is no work of stochvid. Choose another folder.")
        writable_folder(self.work)
        path.write_text(json.dumps(self.plan), encoding="utf-8")

    def _go_on(self, writer: StoreWriter) -> int:
        """Takes up what the journal names, and says how many tasks that is."""
        path, splits, kept = self.work / JOURNAL, {}, []
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        for line, task in zip(lines, self.tasks, strict=False):
            try:
                entry = json.loads(line)
            except ValueError:
                break  # it was killed while it wrote this line
            if entry["task"] != self._identity(task):
                break  # from here on, the files or their splits are others
            for split, *clip in entry["clips"]:
                splits.setdefault(split, SplitIndex()).add(*clip)
            self.wrong += entry["wrong"]
            kept.append(f"{line}\n")
        path.write_text("".join(kept), encoding="utf-8")
        for array in self.work.glob("*.npy"):
            if array.stem not in splits:
                array.unlink()
        try:
            writer.go_on(splits)
        except OSError as error:
            raise cannot_write(self.work, error) from None
        if kept:
            print(f"  going on after {len(kept):,} of {len(self.tasks):,} files", flush=True)
        return len(kept)

    def _decode(self, writer: StoreWriter, crew: Crew, done: int, skip_bad: bool) -> None:
        total, before = sum(task.frames for task in self.tasks), sum(split.frames for split in writer.splits.values())
        left = self.tasks[done:]
        with FrameProgress(total, before) as progress:

            def tick() -> None:
                decoded = sum(part.stat().st_size for part in self.work.glob("part-*")) // self.fitting.frame_bytes
                written = sum(split.frames for split in writer.splits.values())
                progress.show(written + decoded, sum(len(split.names) for split in writer.splits.values()))

            parts = crew.decode(left, set(self.splits), self.fitting, self.work, tick)
            for task, part in zip(left, parts, strict=True):
                self._take(writer, task, part, skip_bad)
        print(f"decoded {progress.frames - before:,} frames, {progress.rate:,.0f} a second", flush=True)
        if not writer.splits:
            raise InputError(f"no clip could be read. The first of {len(self.wrong)} faults: {self.wrong[0]}")

    def _take(self, writer: StoreWriter, task: Task, part: Part, skip_bad: bool) -> None:
        """Appends a part to the arrays, then to the journal: only what the journal names counts."""
        if part.wrong and not skip_bad:
            raise InputError(f"{part.wrong[0]} To leave such clips out, run the same command with --skip-bad.")
        clips = []
        for item, length in zip(task.items, part.lengths, strict=True):
            if not length:
                continue
            if self.alone:
                cuts = self.rule.cuts(length)
                clips += [
                    (split, f"{item.name}[{start}:{stop}]", stop - start, task.fps) for split, start, stop in cuts
                ]
            else:
                clips.append((self.splits[item.name], item.name, length, task.fps))
        try:
            with open(part.path, "rb") as file:
                for split, name, length, fps in clips:
                    writer.add(split, name, file, length, fps)
            writer.flush()
            with open(self.work / JOURNAL, "a", encoding="utf-8") as journal:
                line = {"task": self._identity(task), "clips": clips, "wrong": part.wrong}
                journal.write(json.dumps(line) + "\n")
                journal.flush()
                os.fsync(journal.fileno())
        except OSError as error:
            raise cannot_write(self.work, error) from None
        self.wrong += part.wrong

    def _identity(self, task: Task) -> list[Any]:
        """The task as the journal knows it: its file, and where its clips go."""
        return [*task.key, [self.splits.get(item.name) for item in task.items]]

    def _finish(self, writer: StoreWriter) -> None:
        order = None
        if self.source.options.split == SRVP_TEST:  # clips are listed as they were drawn, not as they lie
            names = writer.splits["test"].names
            order = {"test": sorted(range(len(names)), key=names.__getitem__)}
        try:
            writer.finish({"plan": self.plan, "source": str(self.source.root), "left_out": self.wrong}, order)
            for name in (PLAN, JOURNAL):
                (self.work / name).unlink()
            aside = self.out.with_name(f"{self.out.name}.replaced")
            if self.out.exists():
                os.replace(self.out, aside)
            os.replace(self.work, self.out)
            shutil.rmtree(aside, ignore_errors=True)
        except OSError as error:
            raise cannot_write(self.out, error) from None

    def _clean_up(self) -> None:
        """Leaves the work folder only if there is something in it to go on with."""
        for part in self.work.glob("part-*"):
            part.unlink(missing_ok=True)
        journal = self.work / JOURNAL
        if self.work.exists() and not (journal.is_file() and journal.stat().st_size):
            shutil.rmtree(self.work)


def _pick_source(root: Path, format: str | None) -> type[Source]:
    try:
        root.stat()
    except OSError as error:
        raise InputError(f"source {str(root)!r} cannot be read: {error.strerror}. Give a folder or a file.") from None
    if format is not None:
        if format not in SOURCES:
            raise InputError(f"there is no format {format!r}. {nearest(format, SOURCES)}")
        return SOURCES[format]
    for kind in SOURCES.values():
        if kind.recognises(root):
            return kind
    raise InputError(
        f"there is nothing in {str(root)!r} that is known for clips: videos, folders of images, .npy, .npz, KTH, BAIR "
        "or LeRobot datasets. Name the format with --format."
    )


def _check_options(kind: type[Source], options: Options) -> None:
    for name, value in asdict(options).items():
        if value is not None and name not in kind.takes:
            who = " and ".join(sorted(s.format for s in SOURCES.values() if name in s.takes))
            shown = f"--split {value}" if name == "split" else f"--{name}"
            raise InputError(f"{shown} is for {who}; the source is of the format {kind.format}.")
    if options.axes is not None and options.axes not in CLIP_AXES + SET_AXES:
        raise InputError(f"--axes must be one of {', '.join(CLIP_AXES + SET_AXES)}, got {options.axes!r}.")
    if options.length is not None and options.split is None:
        raise InputError("--length is for --split srvp-test; other clips are as long as they are.")


def _check_ranges(**values: float | None) -> None:
    for name, value in values.items():
        least = 0 if name == "workers" else 2 if name == "length" else 1e-3 if name == "fps" else 1
        if value is not None and not least <= value < 1e6:
            raise InputError(f"--{name} must be at least {least:g}, got {value}.")
    if values["channels"] not in (None, 1, 3):
        raise InputError(f"--channels must be 1 (grey) or 3 (RGB), got {values['channels']}.")


def _bytes(count: float) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
