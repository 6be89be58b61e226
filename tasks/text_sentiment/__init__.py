"""Text sentiment: assign one of N labels to a text."""
