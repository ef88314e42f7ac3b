"""Credentials that are made when somebody asks for them: accounts of databases, with leases."""
