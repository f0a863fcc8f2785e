"""Arrays -> embedding, one file an encoder: pure torch, no Ray, no ranks, no I/O but export."""
