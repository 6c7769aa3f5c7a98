"""What `stochvid evaluate` and `stochvid compare` are made of: protocols, clips, forecasters, scores, results."""
