"""Layers that the encoders of several modalities share."""
