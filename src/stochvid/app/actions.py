"""What happens when a visitor presses something: from the page's values to what it shows. Errors become sentences.

Each action is a generator, so that the queue can stop it between two steps.
"""

import errno
import tempfile
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from stochvid.app.chosen_clips import choose_clip, number_within, read_frames, whole_number
from stochvid.app.studio import Futures, FuturesSettings, Studio, SurpriseResult, draw_futures, make_job, watch
from stochvid.app.views import futures_view, say, surprise_view
from stochvid.core.errors import InputError
from stochvid.inference.given_actions import WORDS
from stochvid.inference.predict import write_result
from stochvid.inference.surprise import TABLE, write_table
from stochvid.models.noise import Branch

MOST_CONTEXT, MOST_HORIZON, MOST_FUTURES, MOST_TEMPERATURE, MOST_WATCHED = 20, 100, 16, 2.0, 600
MOST_BRANCHES = 50  # parents that a branch may have
RECORDED = "recorded"  # actions: what was done in the clip
SMOOTH = 2.0  # of surprise, in frames, as the command's
FULL_DISK = "The disk of this server is full (or a quota is used up). Free some space there, and try again."
NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

Step = tuple[Any, Any, str]  # for the player, for the visitor's state, and a sentence; None: stays as it is


def explain(error: Exception) -> str:
    """An error as a sentence for visitors; what only the server's owner can mend goes to its log, too."""
    if isinstance(error, InputError) and not isinstance(error.__cause__, OSError):
        return str(error)
    cause = error.__cause__ or error
    if isinstance(cause, OSError) and cause.errno in NO_SPACE:
        return FULL_DISK
    traceback.print_exception(error)
    return f"Something went wrong on the server ({type(cause).__name__}); its log says what. Please try something else."


def with_sentences(steps: Iterator[Step]) -> Iterator[Step]:
    """The steps of an action, with an error as the last sentence."""
    try:
        yield from steps
    except Exception as error:
        yield None, None, say(explain(error), "error")


def read_settings(
    studio: Studio, context: Any, horizon: Any, futures: Any, seed: Any, temperature: Any, actions: Any = None
) -> FuturesSettings:
    """The numbers of the page, checked.

    Raises:
        InputError: one is missing or out of range.
    """
    return FuturesSettings(
        whole_number("number of given frames", context, studio.least_context, MOST_CONTEXT),
        whole_number("number of predicted frames", horizon, 1, MOST_HORIZON),
        whole_number("number of futures", futures, 1, MOST_FUTURES),
        whole_number("seed", seed, 0, 2**31 - 1),
        number_within("temperature", temperature, 0.0, MOST_TEMPERATURE),
        actions=read_given(actions),
    )


def read_given(actions: Any) -> np.ndarray | str | None:
    """What is said to be done: hold, zero, rows of numbers, or None (also as the word recorded): what was done.

    Raises:
        InputError: it is none of these.
    """
    if actions is None or actions in (RECORDED, *WORDS):
        return None if actions == RECORDED else actions
    wrong = InputError(
        f"actions must be {RECORDED}, {' or '.join(WORDS)}, or a list of rows of finite numbers, one for each frame to "
        f"predict, got {actions!r:.60}."
    )
    if not isinstance(actions, list) or not all(isinstance(row, list) for row in actions):
        raise wrong
    try:
        rows = np.array(actions, dtype=np.float32)
    except (TypeError, ValueError):
        raise wrong from None
    if rows.ndim != 2 or not rows.size or not np.isfinite(rows).all():
        raise wrong
    return rows


def branch_of(parts: Any) -> Branch | None:
    """A line of branches as the API takes it: [{"seed", "sample", "frames", "temperature"}, …], the first one first.

    Raises:
        InputError: it is no such list.
    """
    branch = None
    if not isinstance(parts or [], list) or len(parts or []) > MOST_BRANCHES:
        raise InputError(f"branches must be a list of at most {MOST_BRANCHES}, got {parts!r:.60}.")
    for part in parts or []:
        if not isinstance(part, dict) or not {"sample", "frames"} <= set(part) <= {
            "seed",
            "sample",
            "frames",
            "temperature",
        }:
            raise InputError(
                f"a branch must have sample and frames, and may have seed and temperature, got {part!r:.80}."
            )
        branch = Branch(
            whole_number("seed of a branch", part.get("seed", 0), 0, 2**31 - 1),
            whole_number("sample of a branch", part["sample"], 0, MOST_FUTURES - 1),
            whole_number("frames of a branch", part["frames"], 0, MOST_HORIZON),
            number_within("temperature of a branch", part.get("temperature", 1.0), 0.0, MOST_TEMPERATURE),
            branch,
        )
    return branch


class Actions:
    """The actions of the page of one model."""

    def __init__(self, studio: Studio):
        self.studio = studio

    def draw(self, kind: str, motion: Any, upload: Any, strokes: Any, *numbers: Any) -> Iterator[Step]:
        settings = read_settings(self.studio, *numbers)
        yield from self.futures(
            settings, choose_clip(self.studio, kind, motion, upload, strokes, settings.context + settings.horizon)
        )

    def futures(self, settings: FuturesSettings, source: Any) -> Iterator[Step]:
        """Reads a clip and draws its futures."""
        frames, length = [], settings.context + settings.horizon
        for frame in read_frames(source, self.studio, length):
            frames.append(frame)
            if len(frames) % 8 == 0:
                yield None, None, say(f"Reading frame {len(frames)} of {length}")
        yield from self._futures_of(make_job(source, frames, settings.context), settings)

    def _futures_of(self, job: Any, settings: FuturesSettings, parents: Futures | None = None) -> Iterator[Step]:
        for step in draw_futures(self.studio, job, settings, parents):
            if isinstance(step, Futures):
                yield futures_view(step), step, say(_summary(step) + self.studio.unlike(job), "done")
            else:
                yield None, None, say(f"Drawing futures: {step} of {settings.futures}")

    def branch(self, shown: Futures | None, sample: int, frame: int, *numbers: Any) -> Iterator[Step]:
        if shown is None:
            raise InputError("There are no futures to follow yet. Draw some first.")
        known = len(shown.job.context)
        follow = shown.branch(
            whole_number("future", sample, 0, MOST_FUTURES),
            whole_number("frame", frame, known, known + MOST_HORIZON) - known,
        )
        given = shown.settings.actions
        settings = replace(read_settings(self.studio, known, *numbers), branch=follow, actions=given)
        if settings.horizon <= follow.frames:
            raise InputError(
                f"Frame {frame} is the last of {known + settings.horizon}: nothing is left to draw after it. "
                "Step back, or predict more frames."
            )
        yield from self._futures_of(shown.job, settings, shown)

    def go_back(self, shown: Futures | None, level: int, *numbers: Any) -> Iterator[Step]:
        """To the branches of level 1, 2, …, or to the futures that followed none (0)."""
        if shown is None:
            raise InputError("There are no futures to go back to. Draw some first.")
        branch = shown.settings.branch
        while branch is not None and branch.depth > level:
            shown_with, branch = branch, branch.parent
            settings = replace(shown.settings, seed=shown_with.seed, temperature=shown_with.temperature, branch=branch)
            shown = replace(shown, settings=settings)
        yield from self._futures_of(shown.job, shown.settings)

    def watch(self, kind: str, motion: Any, upload: Any, length: Any) -> Iterator[Step]:
        most = whole_number("number of frames", length, 2, MOST_WATCHED)
        source = choose_clip(self.studio, kind, motion, upload, None, most)
        for step in watch(self.studio, source, read_frames(source, self.studio, most), SMOOTH):
            if isinstance(step, SurpriseResult):
                peaks = int(step.series["peak"].sum())
                text = f"{len(step.frames)} frames, {peaks} of them peaks: these are marked, and you can jump to them."
                yield surprise_view(step), step, say(text, "done")
            else:
                yield None, None, say(f"Watching frame {step} of {most} at most")

    def download(self, shown: Futures | SurpriseResult | None, kind: str) -> Iterator[Step]:
        if shown is None:
            raise InputError("There is nothing to download yet. Draw some futures first.")
        yield None, None, say("Writing the file")
        with tempfile.TemporaryDirectory(prefix="stochvid-") as folder:  # the page copies the file before it goes on
            path = write_download(shown, kind, Path(folder))
            yield str(path), None, say(f"{path.name} is ready.", "done")


def write_download(shown: Futures | SurpriseResult, kind: Any, folder: Path) -> Path:
    """Writes futures as gif, mp4 or npz, or surprise as csv, into a folder.

    Raises:
        InputError: there is no such kind, or it cannot be written.
    """
    kinds = ("csv",) if isinstance(shown, SurpriseResult) else ("gif", "mp4", "npz")
    if kind not in kinds:
        raise InputError(f"There is no download of the kind {kind!r:.20}. Choose one of: {', '.join(kinds)}.")
    if isinstance(shown, SurpriseResult):
        return write_table(folder / TABLE, shown.series)
    return write_result(
        folder / f"futures.{kind}", shown.job, shown.prediction, shown.settings.seed, shown.settings.temperature
    )


def _summary(shown: Futures) -> str:
    settings, known = shown.settings, len(shown.job.context)
    if settings.branch is None:
        futures = f"{settings.futures} futures" if settings.futures > 1 else "1 future"
        return f"{futures} of {settings.horizon} frames, from {known} given ones."
    frame = known + settings.branch.frames
    followed = f"follow future {settings.branch.sample + 1} to frame {frame}"
    return f"{settings.futures} futures that {followed}, and diverge after it."
