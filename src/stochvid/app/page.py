"""The page: its parts, and which action each of them starts. All state of a visitor is in `gr.State`."""

from collections.abc import Callable, Iterator
from html import escape
from importlib import resources
from typing import Any

import gradio as gr

from stochvid.app.actions import (
    MOST_CONTEXT,
    MOST_FUTURES,
    MOST_HORIZON,
    MOST_TEMPERATURE,
    MOST_WATCHED,
    RECORDED,
    Actions,
    Step,
    with_sentences,
)  # fmt: skip
from stochvid.app.api import add_api
from stochvid.app.chosen_clips import (
    DIGITS,
    KINDS,
    MIB,
    MOST_SEED,
    SUFFIXES,
    UPLOAD,
    UPLOAD_BYTES,
    choose_clip,
)
from stochvid.app.playing import Playground
from stochvid.app.studio import FuturesSettings, Studio
from stochvid.app.uploads import Uploads
from stochvid.app.views import say, world_view
from stochvid.core.clips import ACTIONS
from stochvid.core.errors import InputError
from stochvid.inference.sources import shown_split

QUEUE = 16  # visitors who may wait
COMPUTING: dict[str, Any] = {
    "concurrency_limit": 1, "concurrency_id": "model", "api_visibility": "private", "show_progress": "hidden",
    "trigger_mode": "multiple",
}  # fmt: skip
AT_ONCE: dict[str, Any] = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}
KEPT = 3600  # seconds that files and what visitors look at are kept for
SESSIONS = 100  # visitors whose futures are kept
EXAMPLE_SEED = 4
FUTURES = 8
GONE = "What is shown here is no longer on the server: it was restarted, or it is too long ago. Draw again."
SHOW = """(kind) => ['Digits', 'Your clip', 'Drawing'].map(
  (own) => ({__type__: 'update', visible: own === kind})
)"""
SAVE = """(file) => {
  if (!file || window.stochvid.stopped()) return;
  const link = document.createElement('a');
  link.href = file.url;
  link.download = file.orig_name;
  link.click();
}"""


def static(name: str) -> str:
    """The text of a file beside this one."""
    return (resources.files("stochvid.app") / "static" / name).read_text(encoding="utf-8")


class Page(gr.Blocks):
    """A page whose actions get what a browser sends as it is, and check it themselves.

    gradio would open, copy and fetch files that a browser names, before any action is called.
    """

    async def preprocess_data(
        self, block_fn: Any, inputs: list[Any], state: Any, explicit_call: bool = False
    ) -> list[Any]:
        """The inputs of an action: what the server keeps for a visitor, and else what the browser sent."""
        return [
            state[block._id] if block.stateful else value for block, value in zip(block_fn.inputs, inputs, strict=False)
        ]


def build_page(studio: Studio, uploads: Uploads | None = None, playground: Playground | None = None) -> gr.Blocks:
    """The page of a model, with an example on it.

    Args:
        studio: the model.
        uploads: the only files that visitors may name; None: none at all.
        playground: the world that its actions drive; None: it knows none.
    """
    actions, uploads = Actions(studio), uploads or Uploads(None)
    with Page(title="stochvid", analytics_enabled=False, delete_cache=(KEPT // 4, KEPT), fill_width=True) as page:
        gr.HTML(_heading(studio), elem_classes="sv-heading")
        with gr.Tabs(elem_classes="sv-tabs"):
            with gr.Tab("Futures", id="futures"):
                _futures_tab(studio, actions, uploads)
            if playground:
                with gr.Tab("Play", id="play"):
                    _play_tab(playground)
            with gr.Tab("Surprise", id="surprise"):
                _surprise_tab(studio, actions, uploads)
        add_api(actions, uploads, default_settings(studio))
    page.state_session_capacity = SESSIONS
    return page.queue(max_size=QUEUE)


def _heading(studio: Studio) -> str:
    findings = "".join(f'<p class="sv-finding">{escape(studio.without_paths(text))}</p>' for text in studio.findings)
    return (
        '<header class="sv-head"><h1>stochvid</h1><p>The first frames of a clip are given. What comes next is drawn, '
        "many times over, with how uncertain each step is.</p>"
        f'<p class="sv-model"><b>{escape(studio.name)}</b> {studio.summary}</p>{findings}</header>'
    )


def _player(name: str, value: Any) -> gr.HTML:
    return gr.HTML(
        value,
        html_template=f'<div class="sv-player" data-label="{name}"></div>',
        js_on_load=static("player.js"),
        elem_classes="sv-player-block",
    )


def _clip_controls(studio: Studio, kinds: tuple[str, ...]) -> list[gr.components.Component]:
    """Kind, seed of the motion (or number of the clip), file, and drawing: what `choose_clip` takes."""
    held_out = studio.held_out
    shown = [("Held-out clip" if kind == DIGITS and held_out else kind, kind) for kind in kinds]
    kind = gr.Radio(shown, value=kinds[0], label="Clip", elem_classes="sv-kinds")
    with gr.Column(elem_classes="sv-clip"):
        motion = gr.Number(
            example_number(studio),
            label="Number of the clip" if held_out else "Seed of the motion",
            info=f"0 to {held_out - 1:,} of {studio.store.name}"
            if studio.store and held_out
            else "Another one, another clip of held-out digits",
            precision=0,
            minimum=0,
            maximum=MOST_SEED,
        )
        upload = gr.File(
            label=f"Video, GIF, .npy or .npz, {UPLOAD_BYTES // MIB} MB at most",
            file_types=SUFFIXES,
            visible=False,
            height=144,
            elem_classes="sv-upload",
        )
        drawing = gr.HTML(
            [],
            html_template='<div class="sv-sketch"></div>',
            js_on_load=static("sketch.js"),
            visible=False,
            elem_classes="sv-sketch-block",
        )
    kind.change(None, kind, [motion, upload, drawing], js=SHOW, **AT_ONCE)
    return [kind, motion, upload, drawing]


def _buttons(words: str, sentence: str) -> tuple[gr.Button, gr.HTML]:
    """The button that starts work, and where it says how far it is; `static/work.js` lets the other one stop it."""
    with gr.Row(elem_classes="sv-buttons"):
        go = gr.Button(words, variant="primary", scale=3, min_width=120, elem_classes="sv-go")
        gr.Button("Stop", scale=1, min_width=70, elem_classes="sv-stop")
    status = gr.HTML(
        sentence or say(""),
        html_template='<div class="sv-lines"></div>',
        js_on_load=static("status.js"),
        elem_classes="sv-status",
    )
    return go, status


def _futures_tab(studio: Studio, actions: Actions, uploads: Uploads) -> None:
    config, settings = studio.network.config, default_settings(studio)
    example, shown, sentence = _example(studio, actions, settings)
    with gr.Row(elem_classes="sv-columns"):
        with gr.Column(scale=1, min_width=300, elem_classes="sv-controls"):
            clip = _clip_controls(studio, (DIGITS, UPLOAD) if studio.held_out else KINDS)
            go, status = _buttons("Draw futures", sentence)
            trained = f"as trained: {config.context}"
            context = gr.Slider(
                studio.least_context, MOST_CONTEXT, settings.context, step=1, label="Given frames", info=trained
            )
            trained = f"as trained: {config.horizon}"
            horizon = gr.Slider(1, MOST_HORIZON, settings.horizon, step=1, label="Predicted frames", info=trained)
            futures = gr.Slider(1, MOST_FUTURES, settings.futures, step=1, label="Futures")
            heat = "scale of σ: 0 the prior's mean, 1 as trained"
            temperature = gr.Slider(0, MOST_TEMPERATURE, settings.temperature, step=0.1, label="Temperature", info=heat)
            done = [] if ACTIONS not in config.tracks else [_actions_control(studio)]
            seed = gr.Number(
                settings.seed, label="Seed: another one, other futures", precision=0, minimum=0, maximum=MOST_SEED
            )
        with gr.Column(scale=3, min_width=330, elem_classes="sv-stage"):
            player = _player("Futures", example)
    state = gr.State(shown, time_to_live=KEPT)
    numbers, outputs = [horizon, futures, seed, temperature], [player, state, status]

    def on_draw(kind: Any, motion: Any, upload: Any, strokes: Any, *numbers: Any) -> Iterator[Any]:
        yield from _updates(lambda: actions.draw(kind, motion, uploads.find(upload), strokes, *numbers))

    def on_branch(
        kept: Any, horizon: Any, futures: Any, seed: Any, temperature: Any, event: gr.EventData
    ) -> Iterator[Any]:
        sample, frame = _told(event, "sample"), _told(event, "frame")
        yield from _updates(
            lambda: actions.branch(_seen(kept, event), sample, frame, horizon, futures, seed, temperature)
        )

    def on_back(kept: Any, event: gr.EventData) -> Iterator[Any]:
        yield from _updates(lambda: actions.go_back(_seen(kept, event), _told(event, "level")))

    go.click(on_draw, [*clip, context, *numbers, *done], outputs, **COMPUTING)
    player.branch(on_branch, [state, *numbers], outputs, **COMPUTING)
    player.back(on_back, [state], outputs, **COMPUTING)
    _run_download(actions, player, state, status)


def _actions_control(studio: Studio) -> gr.Radio:
    """What is done in the futures, of a model that is driven by actions."""
    shown = [("as recorded", RECORDED), ("the last one, held", "hold"), ("none (zeros)", "zero")]
    return gr.Radio(shown, value=RECORDED if studio.held_out else "zero", label="Actions", elem_classes="sv-done")


def _play_tab(playground: Playground) -> None:
    """A world to act in; `static/play.js` does all of it, and asks `play_calls.py`."""
    gr.HTML(
        world_view(playground),
        html_template='<div class="sv-world"></div>',
        js_on_load=static("play.js"),
        elem_classes="sv-world-block",
    )


def _example(studio: Studio, actions: Actions, settings: FuturesSettings) -> Step:
    """What the page begins with: futures of a clip, or why there are none."""

    def steps() -> Iterator[Step]:
        first = choose_clip(studio, DIGITS, example_number(studio), None, None, 100)
        yield from actions.futures(settings, first)

    if studio.network.config.tracks and not studio.held_out:
        return None, None, say("The clips that this model was trained on are not here. Give one of your own.")
    *_, last = steps()
    return last


def _surprise_tab(studio: Studio, actions: Actions, uploads: Uploads) -> None:
    with gr.Row(elem_classes="sv-columns"):
        with gr.Column(scale=1, min_width=300, elem_classes="sv-controls"):
            gr.Markdown(
                "How much does each frame of a video tell that its past did not? The model watches it to the end, and "
                "counts in nats: KL(q ‖ p)."
            )
            kind, motion, upload, _ = _clip_controls(studio, (DIGITS, UPLOAD))
            length = gr.Slider(2, MOST_WATCHED, 100, step=1, label="Frames to watch, at most")
            go, status = _buttons("Watch", "")
        with gr.Column(scale=3, min_width=330, elem_classes="sv-stage"):
            player = _player("Surprise", None)
    state = gr.State(None, time_to_live=KEPT)

    def on_watch(kind: Any, motion: Any, upload: Any, length: Any) -> Iterator[Any]:
        yield from _updates(lambda: actions.watch(kind, motion, uploads.find(upload), length))

    go.click(on_watch, [kind, motion, upload, length], [player, state, status], **COMPUTING)
    _run_download(actions, player, state, status)


def example_number(studio: Studio) -> int:
    """Which clip the page begins with."""
    if studio.store is None:
        return EXAMPLE_SEED
    frames = studio.network.config.context + 2 * studio.network.config.horizon
    return studio.store.first(shown_split(studio.store), frames * studio.preprocessing["stride"])


def default_settings(studio: Studio) -> FuturesSettings:
    """The numbers that the page begins with: twice the horizon of training, as `stochvid predict`."""
    config = studio.network.config
    context, horizon = min(config.context, MOST_CONTEXT), min(2 * config.horizon, MOST_HORIZON)
    if config.tracks and studio.store and studio.held_out:  # nobody knows what was done after the end of a clip
        lengths, stride = studio.store.splits[shown_split(studio.store)].lengths, studio.preprocessing["stride"]
        horizon = max(1, min(horizon, -(-max(lengths) // stride) - context))
    return FuturesSettings(context, horizon, FUTURES, 0)


def _updates(action: Callable[[], Iterator[Step]]) -> Iterator[list[Any]]:
    """The steps of an action as gradio wants them; what goes wrong before its first step becomes a sentence, too."""

    def steps() -> Iterator[Step]:
        yield from action()

    for step in with_sentences(steps()):
        yield [gr.skip() if value is None else value for value in step]


def _seen(kept: Any, event: gr.EventData) -> Any:
    """What the server keeps for a visitor, if that is what they see.

    Raises:
        InputError: it is not: the server was restarted, or has dropped it for others.
    """
    if kept is None or kept.id != _told(event, "view"):
        raise InputError(GONE)
    return kept


def _told(event: gr.EventData, name: str) -> Any:
    """What the browser says with an event; it may say anything."""
    data = event._data
    return data.get(name) if isinstance(data, dict) else None


def _run_download(actions: Actions, player: gr.HTML, state: gr.State, status: gr.HTML) -> None:
    file, unused = gr.File(visible="hidden", elem_classes="sv-hidden"), gr.State()

    def on_download(kept: Any, event: gr.EventData) -> Iterator[Any]:
        yield from _updates(lambda: actions.download(_seen(kept, event), _told(event, "kind")))

    run = player.download(on_download, [state], [file, unused, status], **COMPUTING)
    run.success(None, file, None, js=SAVE, **AT_ONCE)
