"""Runs of an agent that learns: what they are made of, the loop that takes them through, the table at their end."""
