"""Contrastive losses as pure functions of gathered embeddings: no ranks, no collectives."""
