"""What a material is here: its record, its crystal, its split."""
