"""What `import` and `export` take. Imports no torch."""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from stochvid.command_options import MODEL, Options, argument, option
from stochvid.core.errors import InputError, nearest

SUFFIXES = {"onnx": ".onnx", "torch-export": ".pt2"}  # of a graph's file, by the format


@dataclass
class ImportOptions(Options):
    """What `stochvid import` takes."""

    checkpoint: str | Path = argument("a .pth file of the 2018 code, of any version of PyTorch")
    out: str | Path = argument("folder for the model")
    _: KW_ONLY
    overwrite: bool = option(False, "replace an existing model")


@dataclass
class ExportOptions(Options):
    """What `stochvid export` takes."""

    model: str | Path = argument(MODEL)
    out: str | Path = argument("folder for the graphs")
    format: str = option("onnx", "of the graphs", metavar=f"{{{','.join(SUFFIXES)}}}")
    _: KW_ONLY
    context: int | None = option(None, "frames to give, fixed in the graph (default: as trained)")
    overwrite: bool = option(False, "replace an earlier export")

    def check(self) -> None:
        """Checks that there is such a format."""
        if self.format not in SUFFIXES:
            raise InputError(f"there is no export format {self.format!r}. {nearest(self.format, SUFFIXES)}")
