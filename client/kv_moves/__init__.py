"""Moving secrets: into Mimir from files, from Vault and OpenBao, and out of it into a sealed file."""
