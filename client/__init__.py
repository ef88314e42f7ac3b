"""What runs on the side of the user: the HTTP client and the `mimir` command."""
