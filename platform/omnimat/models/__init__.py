"""A trained encoder outside its training run: stored, loaded, and applied to records."""
