"""What stochvid is timed against, as ratios in one run: `python -m benchmarks.NAME`."""
