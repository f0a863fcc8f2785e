"""Descriptions of materials in words."""
