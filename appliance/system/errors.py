"""Refusals of the sys/ engine that have a sentence of their own in Vault's API."""

from core.errors import CallerError


class PreflightDeniedError(CallerError):
    """As PermissionDeniedError, but clients of kv know its sentence."""
