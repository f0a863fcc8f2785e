"""Property heads on exported encoders, swept over learning rate and seed by Ray Tune."""
