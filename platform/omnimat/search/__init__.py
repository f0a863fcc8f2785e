"""Finds the materials nearest to anything that a run or a packed model can read; needs no Ray."""
