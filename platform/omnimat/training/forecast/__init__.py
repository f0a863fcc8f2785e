"""Predicts how long a pretraining run will take from measured rates."""
