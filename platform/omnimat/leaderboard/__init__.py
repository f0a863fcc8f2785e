"""The leaderboard: results with their evidence, the database that stores them, and reports."""
