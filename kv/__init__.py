"""The engine kv: secrets with versions (2), or plainly stored (1)."""
