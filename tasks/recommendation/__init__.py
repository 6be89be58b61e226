"""Recommendation: top-k lists from a table of who took what."""
