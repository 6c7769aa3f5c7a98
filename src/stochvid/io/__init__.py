"""Files in and out: videos, checkpoints."""
