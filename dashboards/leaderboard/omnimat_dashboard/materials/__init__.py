"""Materials one by one: their pictures, what is known and predicted of them, and what is near."""
