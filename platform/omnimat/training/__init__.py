"""Pretraining: the only home of Ray Train, DeepSpeed and torch.distributed."""
