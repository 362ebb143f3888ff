"""Real logs: one loader a file."""
