"""Measures Mimir on loopback, beside another server of the same HTTP API."""
