"""What does not depend on materials: errors, settings, storage and files."""
