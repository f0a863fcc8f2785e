"""The source that reads the files people have, whatever their formats."""
