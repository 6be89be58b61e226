"""Translation: parallel sentences to a translator."""
