"""The human check: blind pairs made from a run's sessions, asked of people, and what their answers say."""
