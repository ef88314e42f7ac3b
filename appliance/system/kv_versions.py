"""What the mount table knows of kv: the names of its versions, and which change from one to the other there is."""

from collections.abc import Mapping

from core.errors import InvalidRequestError

KV = "kv"
_VERSIONS = ("1", "2")
_ALIASES = {"kv-v1": "1", "kv-v2": "2", "generic": ""}  # generic is what kv was called before it had versions


def resolve_alias(mount_type: str, options: dict[str, str] | None) -> tuple[str, dict[str, str] | None]:
    """Type and options of a mount as they are kept."""
    if mount_type != KV and mount_type not in _ALIASES:
        return mount_type, options
    version = _ALIASES.get(mount_type)
    return KV, {**(options or {}), **({"version": version} if version else {})}  # Vault never shows null for kv


def check_version(mount_type: str, options: Mapping[str, str] | None, *, before: Mapping[str, str] | None) -> None:
    """Raise InvalidRequestError for a version that there is none of, and for a way back from 2 to 1.

    `before` are the options until now, None for a new mount. From 1 to 2 there is a way: both keep the same rows.
    """
    if mount_type != KV:
        return
    wanted = version_of(options)
    if wanted not in _VERSIONS:
        raise InvalidRequestError(f"kv has the versions {' and '.join(_VERSIONS)}; options.version must be one of them")
    if before is not None and version_of(before) == "2" and wanted == "1":
        raise InvalidRequestError("cannot downgrade mount from version 2")
    if before and before.get("version") and not (options or {}).get("version"):
        raise InvalidRequestError("options.version must be 1 or 2; leave it out to keep it")


def version_of(options: Mapping[str, str] | None) -> str:
    """Without one it is 1, as in Vault."""
    return (options or {}).get("version") or "1"
