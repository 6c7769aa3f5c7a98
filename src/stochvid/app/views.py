"""What the browser gets to draw: one picture with all frames, and numbers. `static/player.js` reads it.

Axes: `N` frames in the picture, `S` samples, `T` time, `Z` latents. Frames count from 1.
"""

import base64
import io
import math
from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np
from PIL import Image

from stochvid.app.playing import MOST_STEPS, Moment, Playground
from stochvid.app.studio import Futures, SurpriseResult
from stochvid.core.clips import events, in_words
from stochvid.inference.predict import futures_std
from stochvid.media.heat import heat
from stochvid.models.noise import Branch
from stochvid.models.state import Prediction

ROWS = 64  # of latents
COLUMNS = 32  # of the picture: browsers take none that is wider than some thousand pixels


def futures_view(shown: Futures) -> dict[str, Any]:
    """Futures and their uncertainty, for the player."""
    job, settings, drawn = shown.job, shown.settings, shown.prediction
    known, horizon = len(job.context), settings.horizon
    truth = job.truth[:horizon]
    frames = np.concatenate([job.context, truth, drawn.frames[0].numpy().reshape(-1, *job.context.shape[1:])])
    given = list(range(known))
    after = known + len(truth)
    tracks: list[dict[str, Any]] = []
    if len(truth):
        tracks.append({"label": "What happened", "tone": "truth", "frames": list(range(after))})
    for s in range(settings.futures):
        first = after + s * horizon
        tracks.append(
            {
                "label": f"Future {s + 1}" if settings.futures > 1 else "Future",
                "tone": "future",
                "sample": s,
                "frames": given + list(range(first, first + horizon)),
            }
        )
    view = {
        "id": shown.id, "mode": "futures", "title": job.clip.name, "known": known, "total": known + horizon,
        "tracks": tracks, "fps": _speed(job.clip.fps), "path": _path(settings.branch, known),
        "shared": known + (settings.branch.frames if settings.branch else 0),
    }  # fmt: skip
    if drawn.prior_std.shape[-1]:
        sigma = drawn.prior_std[0].float().flatten(2).mean(-1).numpy()
        view["curve"] = {
            "label": "Uncertainty σ", "from": known + 1, "lines": _rounded(sigma), "mean": _rounded(sigma.mean(0)),
            **_marks(job.clip.tracks, known + horizon, known),
        }  # fmt: skip
        view["latents"] = {"from": known + 1, "z": _rounded(_rows(drawn.latents[0].float().numpy()))}
    return view | _sprite(frames) | {"heats": _heats_of_futures(drawn, known)}


def surprise_view(shown: SurpriseResult) -> dict[str, Any]:
    """A video and its surprise, for the player."""
    total, series = len(shown.frames), shown.series
    later = list(range(total, total + len(shown.explained)))
    view = {
        "id": shown.id, "mode": "surprise", "title": shown.name, "known": 0, "total": total, "path": [],
        "fps": _speed(shown.fps),
        "tracks": [
            {"label": "The video", "tone": "truth", "frames": list(range(total))},
            {"label": "As the model explains it", "tone": "future", "frames": [0, *later]},
        ],
        "shared": 0,
        "curve": {
            "label": "Surprise", "unit": "nats", "from": 2, "lines": [], "mean": _rounded(series["kl"]),
            **_marks(shown.tracks, total, 1), "peaks": series["frame"][series["peak"]].tolist(),
        },
        "error": {"from": 2, "mean": _rounded(series["mse"], 5)},
    }  # fmt: skip
    heats = [] if shown.kl_map is None else [_heat("Surprise", shown.kl_map, 0, "truth", 2)]
    return view | _sprite(np.concatenate([shown.frames, shown.explained])) | {"heats": heats}


def world_view(playground: Playground) -> dict[str, Any]:
    """What can be done in a world, for `static/play.js`."""
    controls = [{"name": c.name, "low": c.low, "high": c.high, "value": c.value} for c in playground.controls]
    config = playground.studio.network.config
    return {
        "controls": controls, "choice": playground.choice, "size": config.image_size,
        "uncertain": playground.studio.network.stochastic, "clips": playground.studio.held_out, "most": MOST_STEPS,
    }  # fmt: skip


def moment_view(moment: Moment) -> dict[str, Any]:
    """A moment of it; with the given frames before it where it is the first one."""
    view = {"moment": moment.id, "number": moment.number, "action": moment.action, "picture": _picture(moment.frame)}
    if moment.parent is None:
        view["given"] = [_picture(frame) for frame in moment.given]
    if moment.sigma is not None:
        view["sigma"] = round(moment.sigma, 4)
    if moment.std_map is not None:
        view["cells"] = _rounded(moment.std_map)
    return view


def say(text: str, tone: str = "") -> str:
    """A sentence for the page, as HTML: tone `error` is read out at once by screen readers."""
    role = "alert" if tone == "error" else "status"
    return f'<p class="sv-say {tone}" role="{role}">{escape(text)}</p>'


def _path(branch: Branch | None, known: int) -> list[dict[str, int]]:
    """The futures that were followed, the first one first: their number, and the last frame that is shared."""
    if branch is None:
        return []
    return [*_path(branch.parent, known), {"future": branch.sample + 1, "frame": known + branch.frames}]


def _marks(tracks: Mapping[str, np.ndarray], total: int, known: int) -> dict[str, Any]:
    """The frames after the known ones in which something happens, and what that is."""
    found = {name: np.flatnonzero(track[:total]) + 1 for name, track in events(tracks).items()}
    marks = sorted({frame for frames in found.values() for frame in frames.tolist() if frame > known})
    return {"marks": marks, "marked": f"true {' and '.join(map(in_words, found))}"}


def _speed(fps: float | None) -> float:
    return min(max(fps or 8.0, 1.0), 30.0)


def _rounded(values: np.ndarray, digits: int = 3) -> list:
    return np.round(values.astype(np.float64), digits).tolist()


def _rows(latents: np.ndarray) -> np.ndarray:
    """Latents (S, T, …) in one axis, (S, T, Z): those that differ most between futures and frames, where many."""
    rows = latents.reshape(*latents.shape[:2], -1)
    most = np.argsort(-rows.std((0, 1)), kind="stable")[:ROWS]
    return rows[..., np.sort(most)]


def _heats_of_futures(drawn: Prediction, known: int) -> list[dict[str, Any]]:
    """Where the futures differ, and σ where it is a map: a mean over samples and over the latents of a cell."""
    heats = []
    if drawn.frames.shape[1] > 1:
        heats.append(_heat("Where futures differ", futures_std(drawn.frames[0].numpy()), 0, "future", known + 1))
    if drawn.std_map.numel():
        cells = drawn.std_map[0].float().mean(0).numpy()
        heats.append(_heat("Uncertainty σ", cells, float(cells.min()), "future", known + 1))
    return heats


def _heat(label: str, values: np.ndarray, low: float, tone: str, first: int) -> dict[str, Any]:
    """What is laid over tiles of a tone from a frame on: values (T, h, w)."""
    colours = heat(values, low, float(values.max())).transpose(0, 3, 1, 2)
    return {"label": label, "tone": tone, "from": first, "count": len(values)} | _sprite(colours, channels_shown=4)


def _picture(frame: np.ndarray) -> str:
    """A frame (C, H, W) uint8 as a PNG; more channels than are shown show their first."""
    shown = frame[:3] if len(frame) >= 3 else frame[:1]
    return _png(shown[0] if len(shown) == 1 else np.ascontiguousarray(shown.transpose(1, 2, 0)))


def _png(page: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(page).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _sprite(frames: np.ndarray, channels_shown: int = 3) -> dict[str, Any]:
    """Frames (N, C, H, W) uint8 as one PNG, row by row; more channels than are shown show their first."""
    count, channels, height, width = frames.shape
    shown = frames[:, :channels_shown] if channels >= 3 else frames[:, :1]
    rows = math.ceil(count / COLUMNS)
    page = np.zeros((rows * COLUMNS, *shown.shape[1:]), np.uint8)
    page[:count] = shown
    page = (
        page.reshape(rows, COLUMNS, -1, height, width)
        .transpose(0, 3, 1, 4, 2)
        .reshape(rows * height, COLUMNS * width, -1)
    )
    picture = _png(page[..., 0] if page.shape[-1] == 1 else page)
    return {"picture": picture, "columns": COLUMNS, "width": width, "height": height}
