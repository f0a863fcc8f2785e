"""What every room shares: records, splits, settings, provenance, where things are kept."""
