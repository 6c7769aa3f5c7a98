"""`stochvid doctor`: is something wrong with a model, and what could be tried next?"""

import sys
from pathlib import Path

import torch

from stochvid.command_options import takes
from stochvid.config import HEALTH
from stochvid.core.clips import Clips
from stochvid.core.errors import InputError
from stochvid.core.files import replacing
from stochvid.core.threads import use_threads
from stochvid.evaluation.findings import Finding, data_findings, findings
from stochvid.evaluation.health import GIVEN, Health
from stochvid.evaluation.held_out import Found, TestClips, find_clips_for
from stochvid.evaluation.options import DoctorOptions
from stochvid.inference.trained import Trained
from stochvid.training.runs import METRICS, read_metrics


@takes(DoctorOptions)
def doctor(options: DoctorOptions) -> list[Finding]:
    """Draws futures of held-out clips and says what is wrong with them; nothing where nothing is.

    What was measured is kept in the model's folder, unless `data` names other clips than those of its training.

    Args:
        options: `DoctorOptions`, or their fields: the run or model, and others by name.

    Returns:
        What is wrong.

    Raises:
        InputError: a model or data that do not exist or do not fit.
    """
    o = options
    use_threads(o.threads)
    trained = Trained.open(o.model, o.device)
    found = find_clips_for(trained, str(o.data) if o.data else None, o.mnist)
    test = _open(found, trained)
    count = GIVEN if test.count is None else min(GIVEN, test.count)
    with torch.inference_mode():
        health = Health.of(trained.network, Clips.of_batch(test.read(range(count))).to(trained.device))
    if o.data is None and Path(o.model).is_dir():
        with replacing(trained.folder / HEALTH) as path:
            path.write_text(health.to_json(), encoding="utf-8")
    context, s = trained.config.context, health.rollouts
    print(f"{trained.network.summary}\n{health.clips} clips of {test}, {context} → {health.horizon} frames:")
    print(f"  {s.line(health.samples)}")
    if health.latents:
        print(f"  {health.nats:.3g} nats a step, {health.active} of {health.latents} latents in use")
    wrong = findings(health, trained.training, _rows(Path(o.model)), str(o.model))
    wrong += data_findings(health.motion, trained.training.data.store if trained.training else None, None)
    for finding in wrong:
        print(f"\n{finding.text}\n  {finding.fix}")
    if not wrong:
        print("Nothing is found to be wrong.")
    return wrong


def _open(found: Found, trained: Trained) -> TestClips:
    """Clips twice as long as in training, or as long where there are no longer ones."""
    context, horizon = trained.config.context, trained.config.horizon
    try:
        return found.open(context + 2 * horizon)
    except InputError:
        return found.open(context + horizon)


def _rows(model: Path) -> list[dict[str, str]]:
    try:
        return read_metrics(model / METRICS)
    except InputError as error:
        print(f"note: {error}", file=sys.stderr)
        return []
