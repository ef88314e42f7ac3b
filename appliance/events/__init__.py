"""Events: what engines announce, from the log to subscribers."""
