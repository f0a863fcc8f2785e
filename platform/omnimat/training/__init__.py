"""Pretraining: apart from ``testing``, the only user of Ray Train, DeepSpeed and process groups."""
