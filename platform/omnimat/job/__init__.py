"""Job files: one typed tree, read with clear errors and handed to the room that runs its kind."""
