"""What is known of a material, a folder for each kind of knowledge."""
