"""Charge densities."""
