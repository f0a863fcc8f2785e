"""Property heads on exported encoders, in sweeps over learning rate and seed by Ray Tune."""
