"""The Materials Project as a source: harvested once into a snapshot, then read like any table."""
