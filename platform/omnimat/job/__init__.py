"""Job files: each is read into one job, whose class says what its kind needs and how it runs."""
