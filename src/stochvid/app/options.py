"""What `stochvid app` takes. Imports no torch."""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from stochvid.command_options import MODEL, DeviceOptions, argument, option
from stochvid.config import shipped_models


@dataclass
class AppOptions(DeviceOptions):
    """What `stochvid app` takes."""

    model: str | Path = argument(MODEL, next(iter(shipped_models())))
    _: KW_ONLY
    port: int = option(7860, "of the page", least=1, most=65535, said="from 1 to 65535")
    host: str = option("127.0.0.1", "address to listen on; 127.0.0.1: this machine alone")
    allow_host: str = option("", "names of a proxy before it, a comma between them: page.example.org")

    @property
    def names(self) -> tuple[str, ...]:
        """The names of proxies."""
        return tuple(name for part in self.allow_host.split(",") if (name := part.strip()))
