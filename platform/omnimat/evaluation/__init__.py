"""Retrieval and other measures of what an embedding knows."""
