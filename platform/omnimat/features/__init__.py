"""Record -> arrays, one file a modality: pure NumPy, no torch, no Ray."""
