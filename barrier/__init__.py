"""The barrier: seal, keyring, and the encrypted transactional store."""
