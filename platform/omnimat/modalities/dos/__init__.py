"""Densities of states."""
