"""Training: the loop, what happens around its steps, and the run folder."""
