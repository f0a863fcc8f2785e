"""WebDataset tar shards and their manifest: written deterministically, read by offset."""
