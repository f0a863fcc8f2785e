"""Models that leave the platform: packed into a folder, opened anywhere, applied to any crystal."""
