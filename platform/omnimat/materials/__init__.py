"""Materials: their records, their crystals, and the split to which they belong."""
