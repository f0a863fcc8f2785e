"""Trained encoders after their training: how they are stored, loaded and applied to records."""
