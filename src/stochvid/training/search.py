"""A search for settings: many trainings, whose values Optuna proposes, and which end early where they are no good.

All that is known of the trials is in a storage that several processes and machines may share. Each trial is a run in a
folder of its own, below `trials/` of the process that trained it.
"""

import contextlib
import json
import math
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback, LightningModule, Trainer

from stochvid.config import TrainConfig
from stochvid.core.errors import InputError
from stochvid.core.progress import duration
from stochvid.core.signals import Interrupted
from stochvid.core.threads import fastest_threads, use_threads
from stochvid.training.objectives import Diverged
from stochvid.training.options import SearchOptions
from stochvid.training.run_log import RunLog
from stochvid.training.search_report import measure
from stochvid.training.space import Range, Space, read_space, shown_value, to_json, with_values
from stochvid.training.train import train

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

JOURNAL = "study.log"  # of a search without another storage, in its folder
ELSEWHERE = {"data.store", "data.mnist", "data.workers", "trainer.device", "trainer.logger"}  # may differ by machine
SEARCH, PROCESS = "search", "process"  # attributes of a study, and of a trial
FIRST = 5  # trials that are trained to their end, whatever they are like


def search(options: SearchOptions) -> int:
    """Trains until there are as many trials as asked for, or the time is over, and reports what was found.

    Args:
        options: what the command line says.

    Raises:
        InputError: Optuna is missing, the space or the storage is none, or the first trials all fail.
        Interrupted: a signal; the trial that it stopped is begun anew when the same search goes on.
    """
    optuna = _optuna()
    base, out = options.config, Path(options.out)
    if base.processes > 1:
        raise InputError(
            "a search trains each trial in one process. Start the same command several times, with one --storage, to "
            "use more of the machine."
        )
    space = read_space(options.space, base)
    out.mkdir(parents=True, exist_ok=True)
    study = _study(optuna, options, base, space, out)
    use_threads(options.threads or fastest_threads(base.trainer.device))
    _begin_again(optuna, study)
    end = math.inf if options.minutes is None else time.monotonic() + 60 * options.minutes
    print(
        f"{_done(study)} of {options.trials} trials are there; storage {options.storage or out / JOURNAL}", flush=True
    )
    while _begun(study) < options.trials and time.monotonic() < end:
        _carry_out(optuna, study, space, base, out)
    from stochvid.training.search_report import report

    for line in report(study, base, space, out):
        print(line)
    return 0


def _optuna() -> Any:
    try:
        import optuna
    except ModuleNotFoundError:
        raise InputError("search needs Optuna. Run: pip install 'stochvid[search]'.") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def _study(optuna: Any, options: SearchOptions, base: TrainConfig, space: Space, out: Path) -> "Study":
    """The study that is in the storage, or a new one.

    Raises:
        InputError: the storage cannot be reached, or holds another search.
    """
    place = options.storage or str(out / JOURNAL)
    try:
        study = optuna.create_study(
            storage=_storage(place),
            study_name=options.study,
            direction="minimize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=FIRST),
        )
        past = len(study.get_trials(deepcopy=False))
        apart = os.getpid() if options.storage else 0  # processes that begin together shall not propose the same
        study.sampler = optuna.samplers.TPESampler(seed=(options.seed + 1_000_003 * past + apart) % 2**32)
        what = {"space": to_json(space), "config": _alike(base)}
        known = study.user_attrs.get(SEARCH)
        if known is None:
            study.set_user_attr(SEARCH, what)
    except Exception as error:  # of databases, drivers and files: they have no common class
        why = " ".join(str(error).split())
        raise InputError(
            f"storage {place!r} cannot be reached or read: {why:.200} Give a file, or the URL of a database as "
            "sqlite:///FILE or postgresql://USER@HOST/NAME."
        ) from None
    if known is not None and known != json.loads(json.dumps(what)):
        raise InputError(
            f"storage {place!r} holds another search, {options.study!r}: {_difference(known, what)}. Take its "
            "settings, another --study, or another --storage."
        )
    return study


def _storage(place: str) -> "BaseStorage":
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend

    return RDBStorage(place) if "://" in place else JournalStorage(JournalFileBackend(place))


def _alike(config: TrainConfig) -> dict[str, Any]:
    """What has to be the same in a search that goes on: not where it computes, and where its data are."""
    groups = asdict(config)
    return {g: {k: v for k, v in fields.items() if f"{g}.{k}" not in ELSEWHERE} for g, fields in groups.items()}


def _difference(known: Any, given: dict[str, Any]) -> str:
    try:
        for part in ("space", "config"):
            for name, value in json.loads(json.dumps(given[part])).items():
                if known[part].get(name) != value:
                    return f"its {part} has {name} {known[part].get(name)!s:.100}, not {value!s:.100}"
        return f"its space has {min(set(known['space']) - set(given['space']))}, too"
    except (LookupError, AttributeError, TypeError, ValueError):
        return "it is none of stochvid's"


def _process() -> str:
    return f"{socket.gethostname()} {os.getpid()}"


def _alive(process: str) -> bool:
    """Whether a trial's process may be at it: of other machines nobody knows."""
    host, _, number = process.rpartition(" ")
    if host != socket.gethostname() or not number.isdigit():
        return True
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _begin_again(optuna: Any, study: "Study") -> None:
    """Takes up trials whose process is no longer there."""
    for trial in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
        if not _alive(trial.user_attrs.get(PROCESS, "")):
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
            study.enqueue_trial(trial.params, user_attrs={"instead_of": trial.number})


def _counted(trials: "list[FrozenTrial]") -> "list[FrozenTrial]":
    """Those that have an end, or that somebody is at: neither waiting ones nor those that another stands in for."""
    replaced = {trial.user_attrs.get("instead_of") for trial in trials}
    return [trial for trial in trials if trial.number not in replaced and trial.state.name != "WAITING"]


def _begun(study: "Study") -> int:
    return len(_counted(study.get_trials(deepcopy=False)))


def _done(study: "Study") -> int:
    return sum(trial.state.is_finished() for trial in _counted(study.get_trials(deepcopy=False)))


class Reports(Callback):
    """Tells Optuna of every validation, and ends training where others were better by then.

    Args:
        trial: which one.

    Attributes:
        pruned: whether it was ended.
        best: step of the best validation, and what it was.
    """

    def __init__(self, trial: "Trial"):
        self.trial, self.pruned, self.best = trial, False, (0, math.inf)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """As the log has it, which comes first."""
        (log,) = (callback for callback in trainer.callbacks if isinstance(callback, RunLog))  # type: ignore[attr-defined]
        (step, value), self.best = log.newest, log.best
        if not math.isfinite(value):
            return
        self.trial.report(value, step)
        if self.trial.should_prune() and step < trainer.max_steps:
            self.pruned = trainer.should_stop = True


def _carry_out(optuna: Any, study: "Study", space: Space, base: TrainConfig, out: Path) -> None:
    """One trial from proposal to end."""
    states, trial = optuna.trial.TrialState, study.ask()
    trial.set_user_attr(PROCESS, _process())
    values = {name: _proposed(trial, name, entry) for name, entry in space.items()}
    told = ", ".join(f"{name} {shown_value(value)}" for name, value in values.items())
    folder, begun = out / "trials" / f"{trial.number:04d}", time.monotonic()
    reports = Reports(trial)
    try:
        config = with_values(base, values)
        folder.parent.mkdir(exist_ok=True)
        with _into(folder.with_suffix(".log")):
            run = train(config, folder, overwrite=True, callbacks=[reports])
    except (InputError, Diverged) as error:
        trial.set_user_attr("why", str(error)[:500])
        study.tell(trial, state=states.FAIL)
        if isinstance(error, InputError) and not study.get_trials(states=(states.COMPLETE, states.PRUNED)):
            raise  # nothing says that it is these values alone
        print(f"trial {trial.number}: {told}: failed: {error}", flush=True)
        return
    if run.stopped_by:
        study.tell(trial, state=states.FAIL)
        study.enqueue_trial(values, user_attrs={"instead_of": trial.number})
        stopped = Interrupted(run.stopped_by)
        stopped.advice = "The same command goes on; the trial that was stopped is begun anew."
        raise stopped
    step, value = reports.best
    trial.set_user_attr("minutes", (time.monotonic() - begun) / 60)
    trial.set_user_attr("best_step", step)
    took = duration(time.monotonic() - begun)
    if not math.isfinite(value):
        study.tell(trial, state=states.FAIL)
        print(f"trial {trial.number}: {told}: no number came out, {took}", flush=True)
        return
    if reports.pruned:
        study.tell(trial, state=states.PRUNED)  # its value is that of its last validation
    else:
        study.tell(trial, value)
    ended = ", ended early" if reports.pruned else ""
    print(f"trial {trial.number}: {told}: {measure(base)} {value:.5g} at step {step}{ended}, {took}", flush=True)


def _proposed(trial: "Trial", name: str, entry: Range | list) -> Any:
    if isinstance(entry, list):
        return trial.suggest_categorical(name, entry)
    if entry.whole:
        return trial.suggest_int(name, int(entry.low), int(entry.high), step=int(entry.step or 1), log=entry.log)
    return trial.suggest_float(name, entry.low, entry.high, step=entry.step, log=entry.log)


@contextlib.contextmanager
def _into(path: Path) -> Iterator[None]:
    """What is printed goes into a file."""
    with (
        open(path, "w", encoding="utf-8") as file,
        contextlib.redirect_stdout(file),
        contextlib.redirect_stderr(file),
    ):
        yield
