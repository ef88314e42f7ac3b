"""Encryption as a service: named keys that never leave, versions, ciphertexts that name their version."""
