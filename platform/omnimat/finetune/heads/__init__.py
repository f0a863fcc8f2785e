"""What maps the embeddings of a material to outputs, one file for each head."""
