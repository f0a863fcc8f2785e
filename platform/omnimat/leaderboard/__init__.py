"""Results with their proof: rows, store, report."""
