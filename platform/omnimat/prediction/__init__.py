"""Jobs that apply a packed model to any number of materials, on Ray Data."""
