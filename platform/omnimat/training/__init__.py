"""Pretraining: the only package that uses Ray Train, DeepSpeed and torch.distributed."""
