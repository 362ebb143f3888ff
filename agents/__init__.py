"""Agents: one a file, readable top to bottom, made to be copied. Each module has `make(**static)`."""
