"""WebDataset tar shards, which are written deterministically and read by offset, and manifests."""
