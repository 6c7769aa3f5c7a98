"""Preparing data: whatever clips there are on disk, decoded once into a store."""

from typing import Any

__all__ = ["prepare"]


def __getattr__(name: str) -> Any:
    """Loads what it needs when it is first used: what the command takes is asked for before that."""
    if name == "prepare":
        from stochvid.prepare.preparation import prepare

        return prepare
    raise AttributeError(f"module 'stochvid.prepare' has no attribute {name!r}")
