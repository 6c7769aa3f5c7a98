"""Writing files so that nothing is ever left half-written."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stochvid.core.errors import InputError

LEFTOVER = re.compile(r"\.(?:.+\.\d+\.[a-z]+|(?:new|old)-.{8})")  # temporary names


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Gives a temporary path beside `path` to write to; on success it is flushed to disk and takes its place.

    The temporary name keeps the suffix, for writers that choose a format by it. On an error nothing is left behind.

    Raises:
        InputError: the file cannot be written there.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"cannot write {str(path)!r}: {error.strerror or error}.") from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: str | Path) -> Iterator[Path]:
    """As `replacing`, for a new folder: `path` appears with everything in it, or not at all.

    An existing `path` is replaced; the caller has asked whether that is wanted.
    """
    path = Path(path).resolve()  # what a link points to is replaced, not the link
    writable_folder(path.parent)
    temporary = Path(tempfile.mkdtemp(prefix=".new-", dir=path.parent))
    aside = temporary.with_name(temporary.name.replace("new", "old", 1))
    try:
        temporary.chmod(0o777 & ~_umask())
        yield temporary
        if path.exists():
            os.replace(path, aside)
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"cannot write {str(path)!r}: {error.strerror or error}.") from error
    finally:
        if aside.exists() and not path.exists():  # stopped between the two renames
            os.replace(aside, path)
        for leftover in (temporary, aside):
            shutil.rmtree(leftover, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Deletes what `replacing` and `replacing_folder` had begun to write anywhere in a folder when they were killed."""
    for path in folder.rglob(".*"):
        if LEFTOVER.fullmatch(path.name):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)


def check_free(path: str | Path, marker: str, overwrite: bool) -> None:
    """Checks that results may be written to a folder: it is not there, or is empty, or holds results to be replaced.

    Args:
        path: the folder.
        marker: the file by which earlier results are known.
        overwrite: whether those may be replaced.

    Raises:
        InputError: it holds something else, or results that are to stay.
    """
    path = Path(path)
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not (path / marker).is_file():
        raise InputError(
            f"{str(path)!r} exists and is not an earlier result (it has no {marker}). Choose another folder."
        )
    if not overwrite:
        raise InputError(
            f"{str(path)!r} holds results already. Choose another folder, or replace them with --overwrite."
        )


def writable_folder(path: str | Path) -> Path:
    """Makes the folder if it is missing and checks that files can be written in it.

    Raises:
        InputError: it cannot be made or written to.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise InputError(f"cannot write to folder {str(path)!r}: {error.strerror or error}. Choose another.") from error
    return path


def sync_folder(path: Path) -> None:
    """Sees that the names in a folder are on the disk, where the system can do that."""
    if os.name == "posix":
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
