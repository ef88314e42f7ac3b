"""Setting up a SoftHSM token for Mimir."""
