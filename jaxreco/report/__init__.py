"""What people get to see of a run: tables, curves, and lives as text."""
