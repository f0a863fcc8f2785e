"""Shards -> featurizer actors -> batches in a planned order: the only home of Ray Data."""
