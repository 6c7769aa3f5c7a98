"""Datasets: uint8 clips (T, C, H, W) that are a pure function of (seed, index)."""
