"""The servers that are measured beside ours: each does the same refresh, in its own way."""
