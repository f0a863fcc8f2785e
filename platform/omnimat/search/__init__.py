"""Nearest materials of a data set to anything a run's encoders can read; needs no Ray."""
