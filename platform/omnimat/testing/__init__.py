"""Helpers for the tests of omnimat and of its extensions."""
