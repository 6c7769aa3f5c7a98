"""The endpoints for programs: what the page draws, as files. docs/app.md shows how they are called."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from stochvid.app.actions import Actions, Step, branch_of, explain, read_settings, write_download
from stochvid.app.chosen_clips import DIGITS, DRAWING, UPLOAD, choose_clip
from stochvid.app.studio import FuturesSettings
from stochvid.app.uploads import Uploads
from stochvid.core.clips import ACTIONS

PUBLIC: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "model"}


def add_api(visits: Actions, uploads: Uploads, settings: FuturesSettings) -> None:
    """Adds `/futures` and `/surprise` to the page that is being built; nothing of them is shown.

    Args:
        visits: the actions of the page.
        uploads: where its clips are.
        settings: numbers that need not be given.
    """
    with gr.Column(visible=False):
        clip, digits, drawing = gr.File(label="clip"), gr.Number(0, label="digits"), gr.JSON([], label="drawing")
        names = ("context", "horizon", "futures", "seed", "temperature")
        numbers = [gr.Number(getattr(settings, name), label=name) for name in names]
        branches, length, out = gr.JSON([], label="branches"), gr.Number(100, label="length"), gr.File(label="result")
        done = gr.JSON(None, label="actions")
        start = gr.Button()

    # Clients call the arguments by these names. What the components above hold is what they are if they are left out.
    def futures(
        clip: Any = None,
        digits: Any = None,
        drawing: Any = None,
        context: Any = None,
        horizon: Any = None,
        futures: Any = None,
        seed: Any = None,
        temperature: Any = None,
        branches: Any = None,
        actions: Any = None,
    ) -> Iterator[str | None]:
        """Draws futures of a clip (or of a drawing, or else of made digits): futures.npz."""

        def steps() -> Iterator[Step]:
            file = uploads.find(clip)
            kind = UPLOAD if file else DRAWING if drawing else DIGITS
            numbers = read_settings(visits.studio, context, horizon, futures, seed, temperature, actions)
            settings = replace(numbers, branch=branch_of(branches))
            length = settings.context + settings.horizon
            yield from visits.futures(settings, choose_clip(visits.studio, kind, digits, file, drawing, length))

        yield from _file(steps, "npz")

    def surprise(clip: Any = None, digits: Any = None, length: Any = None) -> Iterator[str | None]:
        """Measures how much each frame of a clip (or else of made digits) surprises the model: surprise.csv."""

        def steps() -> Iterator[Step]:
            file = uploads.find(clip)
            yield from visits.watch(UPLOAD if file else DIGITS, digits, file, length)

        yield from _file(steps, "csv")

    driven = [done] if ACTIONS in visits.studio.network.config.tracks else []
    start.click(futures, [clip, digits, drawing, *numbers, branches, *driven], out, api_name="futures", **PUBLIC)
    start.click(surprise, [clip, digits, length], out, api_name="surprise", **PUBLIC)


def _file(steps: Callable[[], Iterator[Step]], kind: str) -> Iterator[str | None]:
    """The file of what the last of some steps shows; between them the work can be stopped."""
    shown: Any = None
    try:
        for step in steps():
            shown = step[1]
            yield None
        with tempfile.TemporaryDirectory(prefix="stochvid-") as folder:  # the server copies the file before it goes on
            yield str(write_download(shown, kind, Path(folder)))
    except Exception as error:
        raise gr.Error(explain(error), print_exception=False) from None
