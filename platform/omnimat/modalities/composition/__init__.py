"""Chemical compositions."""
