"""Evaluation of a model, a baseline or any tool's futures by a published protocol, streamed and resumable."""

import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from stochvid.command_options import takes
from stochvid.core.clips import Clips
from stochvid.core.devices import check_compiler, pick_device, pick_precision
from stochvid.core.errors import InputError, alike
from stochvid.core.files import replacing_folder
from stochvid.core.processes import ProcessGroup
from stochvid.core.signals import advice
from stochvid.core.threads import use_threads
from stochvid.evaluation.curves import plot_curves
from stochvid.evaluation.forecasters import Baseline, FileClips, Forecaster, Model, Predictions
from stochvid.evaluation.held_out import Found, TestClips, find_clips_for, find_test_clips
from stochvid.evaluation.journal import Journal
from stochvid.evaluation.loop import Evaluation
from stochvid.evaluation.options import EvaluateOptions
from stochvid.evaluation.protocols import (
    BASELINES,
    CLIPS,
    PUBLISHED_CLIPS,
    SAMPLES,
    ForecastTask,
    Protocol,
    find_protocol,
)
from stochvid.evaluation.results import CURVES, RESULTS, read_results, write_curves, write_results
from stochvid.evaluation.scores import ENSEMBLE, ClipScores, Scorer
from stochvid.evaluation.tables import evaluation_table
from stochvid.inference.trained import Trained
from stochvid.training.runs import folder_name

GIB = 1 << 30
MEMORY = {"cpu": 0.5, "cuda": 4.0}  # GiB; more makes nothing faster


@takes(EvaluateOptions)
def evaluate(options: EvaluateOptions) -> dict[str, Any]:
    """Scores futures against what really happened, and writes `results.json`, `curves.csv`, `curves.png`, `best.gif`.

    Processes that `torchrun` started share the clips; the numbers are those of one process.

    Args:
        options: `EvaluateOptions`, or their fields: the model or a baseline (copy-last, mean-of-context), the folder,
            and others by name.

    Returns:
        What `results.json` holds; nothing in all but the main process of several.

    Raises:
        InputError: something that does not exist or does not fit.
        Interrupted: a signal stopped it; `resume` goes on.
    """
    begun, processes, o = time.monotonic(), ProcessGroup(), options
    use_threads(o.threads)
    with advice("The same command with --resume continues."):
        evaluation = _prepare(o, processes)
        name = o.name or folder_name(o.tested)
        out = Path(o.out or f"evaluations/{name}")
        if o.resume and not o.overwrite and (done := _done(out, evaluation.identity())):
            print(f"{out} is done already.\n\n{evaluation_table(done, o.places)}")
            return done
        with processes:
            if not processes.main:
                evaluation.assist(processes)
                return {}
            return _carry_out(evaluation, out, processes, begun, o.places, resume=o.resume, overwrite=o.overwrite)


def _prepare(options: EvaluateOptions, processes: ProcessGroup) -> Evaluation:
    """What is to be done, once all that can be wrong with it has been found."""
    o, rules, place = options, find_protocol(options.protocol), pick_device(options.device)
    if o.compile:
        check_compiler(place, "--compile")
    forecaster, found = _open(o, place)
    task = _task(rules, found, forecaster, o.context, max(o.places, default=o.horizon))
    test, count = _clips(found, forecaster, task, o.clips)
    if o.clips is not None and count < o.clips and processes.main:
        print(f"note: there are {count:,} clip(s), not {o.clips:,}; all of them are used")
    if forecaster.batch_size and count % forecaster.batch_size == 1:
        fix = count - 1 if count > 1 else "2 or more"
        raise InputError(f"--clips {count} leaves one clip alone, which has no batch statistics. Use {fix}.")
    samples = _samples(forecaster, o.samples)
    scorer = Scorer.load(rules, {"lpips": o.lpips_weights, "fvd": o.fvd_weights}, place, test.read([0]).keys())
    forecaster.name = o.name or forecaster.name
    _check_frames(scorer, test, task, place)
    chunk = _chunk(forecaster, test, task, samples, o.memory, place)
    departures = _departures(rules, test, task, count, samples)
    return Evaluation(forecaster, test, scorer, task, count, samples, o.seed, place, chunk, departures)


def _carry_out(
    evaluation: Evaluation,
    out: Path,
    processes: ProcessGroup,
    begun: float,
    places: Sequence[int],
    *,
    resume: bool,
    overwrite: bool,
) -> dict[str, Any]:
    """Scores what is not scored yet and writes the results."""
    with Journal(out, evaluation.identity(), resume=resume, overwrite=overwrite) as journal:
        evaluation.chunk = journal.keep("chunk", evaluation.chunk)
        print(evaluation, flush=True)
        done = evaluation.run(journal, processes)
        results = evaluation.results(journal, time.monotonic() - begun, done)
        with replacing_folder(out) as folder:
            write_results(folder / RESULTS, results)
            if results["metrics"]:
                write_curves(folder / CURVES, results)
                plot_curves(folder / "curves.png", [results])
                evaluation.draw_best(folder / "best.gif", results)
        journal.remove()
    print(f"\n{evaluation_table(results, places)}\n\n{out}: {', '.join(sorted(path.name for path in out.iterdir()))}")
    return results


def _open(options: EvaluateOptions, device: torch.device) -> tuple[Forecaster, Found | FileClips]:
    """What is tested, and on what."""
    o, data = options, str(options.data) if options.data else None
    if o.predictions is not None:
        forecaster = Predictions(o.predictions)
        if data is None and forecaster.clips is None:
            raise InputError(
                f"predictions {str(o.predictions)!r} come without the true frames. Say with --data which clips they "
                "predict, or save them as .npz with 'predictions' and 'truth'."
            )
        own = forecaster.clips if data is None else None
        return forecaster, own or find_test_clips(data, None, o.mnist)
    model = o.tested
    if model in BASELINES:
        return Baseline(model), find_test_clips(data, None, o.mnist)
    if not Path(model).exists() and (names := alike(model, BASELINES)):
        raise InputError(f"there is no model or baseline {model!r}. Did you mean {' or '.join(names)}?")
    trained = Trained.open(model, device)
    precision = pick_precision(o.precision, device)
    drawn = Model(trained, o.seed, precision, compile=o.compile, batch_statistics=o.batch_statistics)
    return drawn, find_clips_for(trained, data, o.mnist)


def _task(
    protocol: Protocol, found: Found | FileClips, forecaster: Forecaster, context: int | None, horizon: int | None
) -> ForecastTask:
    """How many frames are given and predicted: as asked, else as the protocol says of the data, else as trained."""
    most = forecaster.shape[2] if isinstance(forecaster, Predictions) else None
    usual: tuple[int | None, int | None] = (None, None)
    if isinstance(found, FileClips):
        usual = found.context, most
        if context not in (None, found.context):
            raise InputError(
                f"--context is {context}, but the file holds {found.context} context frame(s). Leave it out."
            )
    elif found.data_set in protocol.tasks:
        known = protocol.tasks[found.data_set]
        usual = known.context, known.horizon
    elif found.config is not None:
        usual = found.config.context, 2 * found.config.horizon
    context = usual[0] if context is None else context
    horizon = (most or usual[1]) if horizon is None else horizon
    if context is None or horizon is None:
        missing = [f"--{name}" for name, value in (("context", context), ("horizon", horizon)) if value is None]
        raise InputError(f"the data are of no published set: say {' and '.join(missing)}.")
    if most is not None and horizon > most:
        raise InputError(f"the predictions have {most} frames, --horizon asks for {horizon}. Use at most {most}.")
    if isinstance(forecaster, Model):
        forecaster.network.check_context(context, "--context")
    return ForecastTask(context, horizon)


def _clips(
    found: Found | FileClips, forecaster: Forecaster, task: ForecastTask, count: int | None
) -> tuple[TestClips, int]:
    """The clips, and how many of them are taken."""
    test = found.open(task.context + task.horizon) if isinstance(found, Found) else found
    if isinstance(forecaster, Predictions):
        made, _, _, height, width, channels = forecaster.shape
        frames = test.read([0])["frames"].shape[2:]
        if frames != (channels, height, width):
            raise InputError(
                f"the predictions are {height}×{width} with {channels} channel(s), the data {frames[1]}×{frames[2]} "
                f"with {frames[0]}. They must match."
            )
        if test.count is not None and made > test.count:
            raise InputError(f"the predictions are of {made:,} clips, the data have {test.count:,}: {test}.")
        return test, made if count is None else min(count, made)
    count = CLIPS if count is None else count
    return test, count if test.count is None else min(count, test.count)


def _samples(forecaster: Forecaster, samples: int | None) -> int:
    if not isinstance(forecaster, Predictions):
        return SAMPLES if samples is None else samples
    held = forecaster.shape[1]
    if samples is not None and samples > held:
        raise InputError(f"--samples is {samples}, but the predictions hold {held} of each clip. Use at most {held}.")
    return held if samples is None else samples


def _check_frames(scorer: Scorer, test: TestClips, task: ForecastTask, device: torch.device) -> None:
    """Scores a single clip, so that frames that a metric cannot take are found before anything is drawn."""
    length = task.context + task.horizon
    clips = Clips.of_batch(test.read([0])).between(0, length).to(device)
    tracks = {name: track[0] for name, track in clips.tracks.items()}
    known, truth = clips.frames[0, : task.context], clips.frames[0, task.context :]
    ClipScores(scorer, known, truth, 0, tracks).add(truth[None].float() / 255)


def _chunk(
    forecaster: Forecaster,
    test: TestClips,
    task: ForecastTask,
    samples: int,
    memory: float | None,
    device: torch.device,
) -> int:
    """How many samples fit into memory: what rolling them takes, a few copies of their frames, and the ensemble."""
    frames = 4 * task.horizon * test.read([0])["frames"][0, 0].size
    row = 4 * frames + (forecaster.network.row_bytes if isinstance(forecaster, Model) else 0)
    least = row + 4 * frames * (min(samples, ENSEMBLE) if forecaster.stochastic else 1)
    budget = max(least, int(MEMORY[device.type] * GIB)) if memory is None else int(memory * GIB)
    if budget < least:
        enough = math.ceil(least / GIB * 1000) / 1000
        raise InputError(f"--memory {memory:g} GiB is too little for this model and clips. Use {enough:g} or more.")
    return 1 + (budget - least) // row


def _done(out: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """The results of this very evaluation, if they are there."""
    if not (out / RESULTS).is_file():
        return None
    results = read_results(out)
    same = json.loads(json.dumps(identity))
    return results if all(_holds(results.get(name), value) for name, value in same.items()) else None


def _holds(have: Any, want: Any) -> bool:
    """Whether a value is the wanted one; of a mapping, whether it has the wanted fields."""
    if isinstance(want, dict) and isinstance(have, dict):
        return all(name in have and _holds(have[name], value) for name, value in want.items())
    return have == want


def _departures(protocol: Protocol, test: TestClips, task: ForecastTask, count: int, samples: int) -> list[str]:
    """In what this differs from the evaluations whose numbers were published."""
    if test.data_set is None:
        return test.departures
    usual, departures = protocol.tasks[test.data_set], list(test.departures)
    if task != usual:
        departures.append(f"{task.context} → {task.horizon} frames instead of {usual.context} → {usual.horizon}")
    if count != PUBLISHED_CLIPS[test.data_set]:
        departures.append(f"{count:,} clips instead of {PUBLISHED_CLIPS[test.data_set]:,}")
    if samples != SAMPLES:
        departures.append(f"{samples} samples instead of {SAMPLES}")
    return departures
