"""Predictions that others have published, as rows of the leaderboard."""
