"""Layers that encoders of several modalities share."""
