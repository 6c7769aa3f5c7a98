"""Preparing data: whatever clips there are on disk, decoded once into a store."""

from stochvid.prepare.preparation import prepare

__all__ = ["prepare"]
