"""Labels and splits of the user's own: tables that are joined to the records of any source."""
