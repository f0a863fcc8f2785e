"""Heads map the embeddings of a material to outputs; one file for each."""
