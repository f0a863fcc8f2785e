"""Finds the materials nearest to anything that a run's encoders can read; needs no Ray."""
