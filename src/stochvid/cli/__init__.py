"""The command line: what it is called with, and what that starts."""

from stochvid.cli.commands import main

__all__ = ["main"]
