"""What is timed: `python -m benchmarks [PART ...]`. Ratios in one run; the last results are in README.md."""
