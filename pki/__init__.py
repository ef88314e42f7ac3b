"""X.509 certificates from a CA whose key is in the HSM."""
