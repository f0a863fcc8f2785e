"""The Ray cluster a job runs on: what it holds, where things run on it, what it measures."""
