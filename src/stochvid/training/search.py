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
from stochvid.core.files import writable_folder
from stochvid.core.progress import duration
from stochvid.core.signals import Interrupted
from stochvid.core.threads import fastest_threads, use_threads
from stochvid.core.untrusted import read_json, shown
from stochvid.training.objectives import Diverged
from stochvid.training.options import SearchOptions
from stochvid.training.run_log import RunLog
from stochvid.training.search_report import measure, report
from stochvid.training.space import Range, Space, read_space, shown_value, to_json, with_values
from stochvid.training.train import train

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

JOURNAL = "study.log"  # of a search without another storage, in its folder
OF = "search.json"  # whose trials are in a folder: --storage and --study
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
    writable_folder(out)
    place = options.storage or str(out / JOURNAL)
    _check_folder(out, options)
    study = _study(optuna, options, base, space, place)
    (out / OF).write_text(json.dumps([options.storage, options.study]), encoding="utf-8")
    use_threads(options.threads or fastest_threads(base.trainer.device))
    _begin_again(optuna, study)
    end = math.inf if options.minutes is None else time.monotonic() + 60 * options.minutes
    print(f"{_done(study)} of {options.trials} trials are there; storage {place}", flush=True)
    states = optuna.trial.TrialState
    try:
        while _begun(study) < options.trials and time.monotonic() < end:
            _carry_out(optuna, study, space, base, out)
        lines = report(study, base, space, out)
    except (optuna.exceptions.OptunaError, json.JSONDecodeError) as error:
        why = " ".join(str(error).split())
        raise InputError(
            f"storage {place!r} failed: {why:.200} Once it can be reached again, the same command goes on."
        ) from None
    for line in lines:
        print(line)
    ended = study.get_trials(states=(states.COMPLETE, states.PRUNED), deepcopy=False)
    return 1 if _done(study) and not ended else 0


def _optuna() -> Any:
    try:
        import optuna
    except ModuleNotFoundError:
        raise InputError("search needs Optuna. Run: pip install 'stochvid[search]'.") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def _check_folder(out: Path, options: SearchOptions) -> None:
    """Sees that a folder does not hold the trials of another search.

    Raises:
        InputError: it does.
    """
    if not (out / OF).exists():
        return
    try:
        known = read_json(out / OF)
    except (OSError, ValueError):
        known = None
    if known != [options.storage, options.study]:
        raise InputError(
            f"folder {str(out)!r} holds the trials of another search: {shown(known)}. Give another --out, or "
            "that one's --storage and --study."
        )


def _study(optuna: Any, options: SearchOptions, base: TrainConfig, space: Space, place: str) -> "Study":
    """The study that is in the storage, or a new one.

    Raises:
        InputError: the storage cannot be reached, or holds another search.
    """
    try:
        _check_journal(place)
        study = optuna.create_study(
            storage=_storage(place),
            study_name=options.study,
            direction="minimize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=FIRST),
        )
        if [direction.name for direction in study.directions] != ["MINIMIZE"]:
            raise ValueError("its study is to be maximised, or has several aims.")
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


def _check_journal(place: str) -> None:
    """Raises ValueError where a file is there that is no journal: Optuna would write into it before it finds out."""
    if "://" in place or not os.path.exists(place):
        return
    with open(place, "rb") as file:
        first = file.readline(1 << 16)
    if first and not (first.startswith(b"{") and b"op_code" in first):
        raise ValueError("it is no journal of Optuna.")


def _storage(place: str) -> "BaseStorage":
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend

    return RDBStorage(place) if "://" in place else JournalStorage(JournalFileBackend(place))


def _alike(config: TrainConfig) -> dict[str, Any]:
    """What has to be the same in a search that goes on: not where it computes, and where its data are."""
    groups = asdict(config)
    return {g: {k: v for k, v in fields.items() if f"{g}.{k}" not in ELSEWHERE} for g, fields in groups.items()}


def _difference(known: Any, given: dict[str, Any]) -> str:
    """The first setting in which two searches differ."""
    given = json.loads(json.dumps(given))
    try:
        for name in {**known["space"], **given["space"]}:
            old, new = (str(one["space"].get(name, "nothing")) for one in (known, given))
            if old != new:
                return f"its space has {name} {old:.80}, not {new:.80}"
        for group, fields in given["config"].items():
            for name, new in fields.items():
                old = known["config"].get(group, {}).get(name, "nothing")
                if old != new:
                    return f"its --{group}.{name} is {old!s:.80}, not {new!s:.80}"
    except (LookupError, AttributeError, TypeError):
        return "it is none of stochvid's"
    return "it is of another version of stochvid"


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
