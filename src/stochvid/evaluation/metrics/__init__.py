"""What is measured of predictions, each metric with its definition and source; which are compared, a protocol says."""
