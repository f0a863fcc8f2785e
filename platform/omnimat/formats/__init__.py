"""Reads the files in which people keep their materials; one file of this room is one format."""
