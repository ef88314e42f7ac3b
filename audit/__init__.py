"""Audit: what was asked and answered, one chained JSON line each."""
