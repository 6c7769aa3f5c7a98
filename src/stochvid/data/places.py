"""Where the data of a run are: it remembers them by absolute paths, and finds them again if they moved with it.

Imports no torch.
"""

import copy
import dataclasses
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from stochvid.config import HELD_OUT, RUN_CONFIG, DataConfig, TrainConfig, load_config, shipped_models
from stochvid.core.errors import InputError
from stochvid.data.digits import is_mnist
from stochvid.data.store import is_store

MOST_PARTS = 40  # of a path that a file from elsewhere may name


def remembered(data: DataConfig) -> DataConfig:
    """The same data, named by absolute paths."""
    places = {name: os.path.abspath(place) for name in ("store", "mnist") if (place := getattr(data, name)) is not None}
    return dataclasses.replace(data, **places)


def remembered_model(model: str | Path | None) -> str | Path | None:
    """The same model: a folder by its absolute path, one that is shipped or on the Hub by its name."""
    if model is None or str(model) in shipped_models() or not Path(model).is_dir():
        return model
    return os.path.abspath(model)


def at_hand(config: TrainConfig, run: Path, resume: bool) -> TrainConfig:
    """A copy of a config to train by, with its data where they are now.

    Args:
        config: as it was given.
        run: folder of the run.
        resume: whether the run is continued: what its own config names may have moved with it.

    Raises:
        InputError: the store of the continued run is nowhere.
    """
    config = copy.deepcopy(config)
    if resume and (run / RUN_CONFIG).is_file() and config.data.store == load_config(run / RUN_CONFIG).data.store:
        config.data = find_data(config.data, run, f"stochvid train --resume {run} --data.store STORE")
    return config


def find_data(data: DataConfig, near: Path, option: str) -> DataConfig:
    """The data that a run, a model or a config names, where they are now.

    A path is taken as it stands; else the same path, or the end of it, is looked for beside each folder above the file
    that names it: a run and its data may have moved together, or a relative path been written in another folder.

    Args:
        data: as the file names them.
        near: folder of that file.
        option: that names a store in place of this one, for the message.

    Raises:
        InputError: the store is nowhere. (MNIST may well be: not everything needs it, and what does says so.)
    """
    return dataclasses.replace(
        data,
        store=data.store and find_store(data.store, near, option),
        mnist=data.mnist and find_mnist(data.mnist, near),
    )


def find_store(store: str, near: Path, option: str) -> str:
    """The store that a file names, or else the held-out clips that lie beside this file; as `find_data`."""
    if not is_store(store) and is_store(near / HELD_OUT):
        return str(near / HELD_OUT)
    found = _find(store, near, is_store)
    if found is None:
        where = "there any more" if os.path.isabs(store) else "found from this folder, or beside it"
        raise InputError(
            f"{str(near)!r} names the store {store!r}, which is not {where}. Say where it is now: {option}."
        )
    return found


def find_mnist(folder: str, near: Path) -> str:
    """The folder of MNIST that a file names, or that name where it is nowhere; as `find_data`."""
    return _find(folder, near, is_mnist) or folder


def _find(place: str, near: Path, there: Callable[[str], bool]) -> str | None:
    if there(place):
        return place
    found = next((path for path in _candidates(Path(place), near.absolute()) if there(path)), None)
    if found is not None:
        print(f"note: {place!r} was not found; taking {found!r}", file=sys.stderr)
    return found


def _candidates(place: Path, near: Path) -> Iterator[str]:
    """Places beside the folders above, from the nearest and the most of the path on."""
    absolute = place.is_absolute()
    parts = place.parts[absolute:][-MOST_PARTS:]
    for folder in (near, *near.parents)[:MOST_PARTS]:
        for first in range(len(parts)) if absolute else [0]:
            yield os.path.normpath(folder.joinpath(*parts[first:]))
