"""Pretraining: besides ``testing``, the only package with Ray Train, DeepSpeed or process groups."""
