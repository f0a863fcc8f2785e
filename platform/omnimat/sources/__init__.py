"""Where records come from: one file a source, and the ingest that turns them into shards."""
