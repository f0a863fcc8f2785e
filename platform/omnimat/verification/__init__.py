"""Results computed again from their files, and believed only then."""
