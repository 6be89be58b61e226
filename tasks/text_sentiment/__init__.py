"""Text sentiment."""
