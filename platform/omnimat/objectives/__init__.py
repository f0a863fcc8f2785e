"""Losses as pure functions of embeddings and of what is predicted: no ranks, no collectives."""
