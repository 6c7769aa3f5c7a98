"""The folder of what visitors uploaded and may download. Nothing outside of it is opened or served for them."""

import os
import stat
import time
from pathlib import Path
from typing import Any

from stochvid.app.limits import IDLE
from stochvid.core.errors import InputError

MOST_PATH = 4096  # characters
MISSING = (
    "The file is none that was uploaded to this server, or it is no longer here: files are kept for an hour, and none "
    "is fetched from elsewhere. Upload it again."
)


class Uploads:
    """A folder of files at `FOLDER/SOMETHING/NAME`, as gradio lays them.

    Args:
        folder: that holds them; nobody else writes to it. None: there are none.
    """

    def __init__(self, folder: Path | None):
        self.folder = folder and folder.resolve()

    def holds(self, path: Any) -> bool:
        """Whether something from a browser is the plain path of a regular file in the folder.

        What is `..`, a link, a folder, a device or a pipe is not, and neither is an upload that is still under way.
        """
        if self.folder is None or not isinstance(path, str) or len(path) > MOST_PATH:
            return False
        if not path.startswith(f"{self.folder}{os.sep}"):
            return False
        try:
            return (
                os.path.realpath(path) == path
                and len(Path(path).relative_to(self.folder).parts) == 2
                and stat.S_ISREG(os.lstat(path).st_mode)
            )
        except (OSError, ValueError):  # it is not there, or has a zero byte in its name
            return False

    def find(self, value: Any) -> str | None:
        """The path of an uploaded file.

        Args:
            value: what a browser says of it: nothing, {"path": …, …} or a list of one such mapping.

        Raises:
            InputError: it is no such value, or there is no such upload.
        """
        if not value:
            return None
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        path = value.get("path") if isinstance(value, dict) else None
        if not self.holds(path):
            raise InputError(MISSING)
        return path

    def sweep(self) -> None:
        """Deletes what uploads left that broke off."""
        old = time.time() - 3 * IDLE  # one that goes on writes more often
        for path in self.folder.glob("*") if self.folder else ():
            try:
                if path.is_file() and path.stat().st_mtime < old:
                    path.unlink()
            except OSError:
                continue  # another was faster
