"""Userpass: people log in with a name and a password."""
