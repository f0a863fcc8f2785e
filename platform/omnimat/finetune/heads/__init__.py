"""Heads map the embeddings of a material to outputs; settings and a network for each."""
