"""The Ray cluster that a job runs on: what it has, where processes run, and what it measures."""
