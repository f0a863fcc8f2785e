"""Sources of records, each in a file of its own, and the ingest that turns them into shards."""
