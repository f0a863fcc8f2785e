"""What knows no material: errors, settings, storage, files."""
