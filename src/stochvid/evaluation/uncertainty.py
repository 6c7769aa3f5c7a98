"""Is the prior uncertain exactly where the motion is? Its σ against events that are known, as where a digit bounces.

Axes: `N` clips, `T` frames, `Z` latents.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.metrics import roc_auc_score, roc_curve

from stochvid.command_options import takes
from stochvid.core.clips import Clips, events, in_words, one_of
from stochvid.core.errors import InputError
from stochvid.core.files import check_free, replacing_folder
from stochvid.core.philox import Streams
from stochvid.core.progress import Progress
from stochvid.core.threads import use_threads
from stochvid.evaluation.held_out import TestClips, find_clips_for
from stochvid.evaluation.options import EVENT_CLIPS, UncertaintyOptions
from stochvid.inference.trained import Trained
from stochvid.media.heat import heated, in_rgb
from stochvid.media.plots import plot_events
from stochvid.models.base import VideoModel
from stochvid.training.runs import folder_name

RESULT, PLOT = "uncertainty.json", "uncertainty.png"
AT_ONCE = 20  # clips
RESAMPLES = 1000
AROUND = 5  # steps either side of an event
WHY_NOT = {
    "fixed": "its prior is N(0, I): its σ is 1 at every step, and there is nothing to measure",
    "none": "it is deterministic: it has no latents and no prior, and so no σ to measure",
}


@takes(UncertaintyOptions)
def uncertainty(options: UncertaintyOptions) -> dict[str, Any]:
    """Measures how well the prior's σ tells the frames that nobody could foresee, and draws it.

    The prior sees the true frames before each frame (teacher forcing). σ is a mean over latents. The frames that count
    are those after the context: before, no observer can know the velocity. A bounce of Moving MNIST is a frame that is
    the first whose position depends on a newly drawn velocity. In the frame after it a perfect observer, who has seen
    one step at the new velocity, may be uncertain still; so the AUROC is told with and without those frames. A store
    may know of other events (`core/clips.py`); of several, the first by name is taken.

    Args:
        options: `UncertaintyOptions`, or their fields: the model, with a learned prior, the folder, and others by name.

    Returns:
        What `uncertainty.json` holds.

    Raises:
        InputError: a model without a learned prior, clips without known events, or numbers that do not work out.
    """
    o, model, clips = options, str(options.model), options.clips
    use_threads(o.threads)
    out = Path(o.out or f"uncertainty/{folder_name(model)}")
    check_free(out, RESULT, o.overwrite)
    trained = Trained.open(model, o.device)
    config, network = trained.config, trained.network.for_inference()
    if why_not := WHY_NOT.get(config.prior_kind):
        raise InputError(f"model {model!r}: {why_not}. Use one with a learned prior (SVG-LP).")
    found = find_clips_for(trained, str(o.data) if o.data else None, o.mnist)
    context = config.context
    length = context + 2 * config.horizon if o.length is None else o.length
    if length <= context + 1:
        raise InputError(f"--length must be more than the context of {context} and one frame, got {length}.")
    test = found.open(length)
    most = test.count or max(EVENT_CLIPS, clips or 0)
    count = min(EVENT_CLIPS, most) if clips is None else clips
    if most < 2:
        raise InputError(
            f"{test} has {most} clip of {length} frames, but two or more are needed. Use a smaller --length."
        )
    if count > most:
        print(f"note: there are {most:,} clip(s), not {count:,}; all of them are used")
        count = most
    if {**test.about, **test.about.get("plan", {})}.get("deterministic"):
        raise InputError(
            f"in {test}, the motion is deterministic: every bounce is certain, and nothing can be measured."
        )
    print(f"{model} on {test}: {count:,} clips of {length} frames", flush=True)
    name = _event(test)
    sigma, happens, things = _observe(network, test, count, trained.device, name)
    results = _measure(sigma, happens, context, o.seed, name)
    covered = None
    if things is not None:
        covered = _in_boxes(things.sigma, things.boxes[:, :-1], config.image_size)
        results["each_digit"] = _roc_of_things(covered, things.bounces, context, o.seed, name)
    results = {"model": model, "data": test.about, "clips": count, "length": length, "context": context} | results
    shown = _telling(happens, context)
    with replacing_folder(out) as temporary:
        (temporary / RESULT).write_text(json.dumps(results, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        frames = test.read([shown])["frames"][0]
        each = None
        if things is not None and covered is not None:
            cells, each = things.sigma[shown], (covered[shown], things.bounces[shown])
            hot = heated(frames[1:], cells, float(cells.min()), float(cells.max()))
            frames = np.concatenate([in_rgb(frames[:1]), hot])
        plot_events(temporary / PLOT, results, sigma[shown], happens[shown], frames, context, name, each)
    _report(results, name)
    print(f"{out}: {RESULT}, {PLOT}")
    return results


class Things(NamedTuple):
    """Where σ is (N, T − 1, h, w), a mean over a cell's latents; and D things, their boxes and when each turned.

    Boxes are (N, T, D, 4), bounces (N, T, D).
    """

    sigma: np.ndarray
    boxes: np.ndarray
    bounces: np.ndarray


def _event(test: TestClips) -> str:
    """The event that is known of clips; says which, if there are several."""
    found = sorted(events(test.read([0]), axes=2))
    if not found:
        raise InputError(
            f"nothing tells when something unpredictable happens in {test}. Use Moving MNIST: --data laptop, "
            "or a store that `stochvid prepare moving-mnist` made."
        )
    if len(found) > 1:
        print(f"note: of the events {', '.join(found)}, the first is taken")
    return found[0]


def _observe(
    network: VideoModel, test: TestClips, count: int, device: torch.device, name: str
) -> tuple[np.ndarray, np.ndarray, Things | None]:
    """σ of every step (N, T − 1), a mean over latents, and when the event happens (N, T).

    And where, if latents have a place in the frame, and it is known where things are.
    """
    sigma, happens, pieces = [], [], []
    with torch.inference_mode(), Progress(count, "clips") as progress:
        for first in range(0, count, AT_ONCE):
            batch = test.read(range(first, min(first + AT_ONCE, count)))
            told = network.observe(Clips.of_batch(batch).to(device), decode=False)
            assert told.prior is not None  # it is learned
            sigma.append(told.prior.std.flatten(2).mean(-1).double().cpu().numpy())
            happens.append(batch[name])
            if told.std_map is not None and "boxes" in batch and "digit_bounces" in batch:
                cells = told.std_map.double().cpu().numpy()
                pieces.append((cells, batch["boxes"], batch["digit_bounces"]))
            progress.show(first + len(batch[name]))
    things = Things(*map(np.concatenate, zip(*pieces, strict=True))) if pieces else None
    return np.concatenate(sigma), np.concatenate(happens), things


def _in_boxes(cells: np.ndarray, boxes: np.ndarray, image_size: int) -> np.ndarray:
    """Mean of maps (N, T, q, q) over boxes (N, T, D, 4), cells weighted by how much a box covers: (N, T, D)."""
    side = image_size / cells.shape[-1]
    edges = side * np.arange(cells.shape[-1] + 1)
    covered = []
    for axis in (0, 1):
        first, size = boxes[..., axis, None], boxes[..., axis + 2, None]
        covered.append(np.clip(np.minimum(first + size, edges[1:]) - np.maximum(first, edges[:-1]), 0, None))
    weight = covered[0][..., :, None] * covered[1][..., None, :]  # (N, T, D, q, q)
    return (weight * cells[:, :, None]).sum((-1, -2)) / weight.sum((-1, -2))


def _report(results: dict[str, Any], name: str) -> None:
    for which, what in (
        ("every_frame", "every frame"),
        ("without_the_frame_after", f"without the frame after a {one_of(name)}"),
        ("each_digit", f"σ where a digit is, against that digit's {in_words(name)}"),
    ):
        if which not in results:
            continue
        r = results[which]
        low, high = r["auroc_ci95"]
        counts = f"{r[name]:,} of {r['frames']:,} frames"
        print(f"AUROC {r['auroc']:.4f} (95 % {low:.4f} to {high:.4f}), {what}: {counts}")


def _measure(sigma: np.ndarray, happens: np.ndarray, context: int, seed: int, name: str) -> dict[str, Any]:
    """ROC curves, and σ around an event, of σ of frames 2 … T, (N, T − 1), and where it happens (N, T)."""
    after = np.zeros_like(happens)
    after[:, 1:] = happens[:, :-1]
    sigma, happens, after = sigma[:, context - 1 :], happens[:, context:], after[:, context:]
    results = {
        "every_frame": _roc(sigma, happens, np.ones_like(happens), seed, name),
        "without_the_frame_after": _roc(sigma, happens, happens | ~after, seed, name),
    }
    aligned = []
    for offset in range(-AROUND, AROUND + 1):
        values = np.array(list(_around(sigma, happens, offset)))
        low, high = np.percentile(values, [10, 90]) if len(values) else (None, None)
        mean = float(values.mean()) if len(values) else None
        aligned.append({"offset": offset, "mean": mean, "p10": low, "p90": high, "frames": len(values)})
    quiet = sigma[~(happens | after)]
    return results | {
        "aligned": aligned,
        f"sigma_at_{name}": float(sigma[happens].mean()),
        "sigma_else": float(quiet.mean()),
    }


def _around(sigma: np.ndarray, happens: np.ndarray, offset: int) -> Iterator[float]:
    """σ so many frames after each event, but not in frames in which it happens again."""
    for clip, frame in np.argwhere(happens):
        place = frame + offset
        if 0 <= place < happens.shape[1] and (offset == 0 or not happens[clip, place]):
            yield sigma[clip, place]


def _roc(sigma: np.ndarray, happens: np.ndarray, counted: np.ndarray, seed: int, name: str) -> dict[str, Any]:
    """ROC curve and AUROC of σ as a score for an event, over the frames that count, with a bootstrap over clips."""
    clip = np.broadcast_to(np.arange(len(sigma))[:, None], sigma.shape)[counted]
    score, label = sigma[counted], happens[counted]
    if label.all() or not label.any():
        raise InputError(
            f"of the {label.size:,} frames that count, {'every' if label.any() else 'no'} one is a {one_of(name)}: "
            "there is nothing to tell apart. Use more --clips, or a larger --length."
        )
    false, true, _ = roc_curve(label, score)
    auroc, random, resampled = _weighted_auroc(label, score), Streams(seed, "bootstrap").at(0), []
    for _ in range(RESAMPLES):
        weight = np.bincount(random.integers(len(sigma), size=len(sigma)), minlength=len(sigma))[clip]
        value = auroc(weight)
        if not np.isnan(value):  # else this resample has only frames of one kind
            resampled.append(value)
    if len(resampled) < RESAMPLES // 2:
        one = one_of(name)
        raise InputError(f"too few clips have both frames with and frames without a {one}. Use more --clips.")
    points = np.linspace(0, 1, 201)
    return {
        "auroc": float(roc_auc_score(label, score)),
        "auroc_ci95": np.percentile(resampled, [2.5, 97.5]).tolist(),
        "frames": int(counted.sum()),
        name: int(label.sum()),
        "roc": {"false_positive_rate": points.tolist(), "true_positive_rate": np.interp(points, false, true).tolist()},
    }


def _roc_of_things(sigma: np.ndarray, turned: np.ndarray, context: int, seed: int, name: str) -> dict[str, Any]:
    """As `_roc`, of every digit: σ (N, T − 1, D) where it is, against when that one turned (N, T, D)."""
    sigma, turned = sigma[:, context - 1 :], turned[:, context:]
    clips = len(sigma)
    return _roc(sigma.reshape(clips, -1), turned.reshape(clips, -1), np.ones((clips, sigma[0].size), bool), seed, name)


def _weighted_auroc(label: np.ndarray, score: np.ndarray) -> Callable[[np.ndarray], float]:
    """AUROC of weighted frames, which are sorted once: scikit-learn sorts them for each weighting anew, in 1.5 ms.

    Args:
        label: (N,), whether it happens.
        score: (N,).

    Returns:
        A function of weights (N,): the weighted share of pairs in the right order, ties by half; NaN without pairs.
    """
    order = np.argsort(score)
    ties = np.flatnonzero(np.diff(score[order], prepend=-np.inf))  # where each score begins
    label = label[order]

    def auroc(weight: np.ndarray) -> float:
        weight = weight[order].astype(float)
        true, false = (np.add.reduceat(weight * which, ties) for which in (label, ~label))
        pairs = true.sum() * false.sum()
        return float(true @ (false.cumsum() - false / 2) / pairs) if pairs else np.nan

    return auroc


def _telling(happens: np.ndarray, context: int) -> int:
    """The first clip with two events after the context, or else with the most."""
    counts = happens[:, context:].sum(1)
    return int(np.argmax(np.minimum(counts, 2)))
