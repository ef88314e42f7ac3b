"""Leases: secrets with a lifetime, each a sealed row that is found by its expiry, its token or its path."""
