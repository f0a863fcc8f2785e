"""What is known about a material, with one folder for each kind of knowledge."""
