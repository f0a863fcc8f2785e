"""Helpers that tests of omnimat and of its extensions share."""
