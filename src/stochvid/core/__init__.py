"""What everything stands on: errors, files, random streams, devices."""
