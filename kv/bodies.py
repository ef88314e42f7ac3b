"""Bodies of kv's routes. What must keep its digits is read from the request itself (`kv.exact_json`)."""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType


class PutOptions(msgspec.Struct):
    """`cas`: the version that must hold the label now; 0: none may. `stage`: the label, `current` unless said."""

    cas: int | float | str | bool | UnsetType | None = UNSET  # null is 0, as in Vault
    stage: str | None = None


class PutBody(msgspec.Struct):
    """A new version."""

    data: dict[str, Any] | None = None
    options: PutOptions | None = None


class VersionsBody(msgspec.Struct):
    """Which versions."""

    versions: Any = None


class MetadataBody(msgspec.Struct):
    """What is to change of a secret's metadata; what is absent stays."""

    max_versions: int | None = None
    cas_required: bool | None = None
    delete_version_after: str | int | float | None = None
    custom_metadata: dict[str, Any] | None = None
    metadata_cas: int | None = None  # how often the metadata was written until now; 0: there must be none
    metadata_cas_required: bool | None = None
    owner: str | None = None
    classification: str | None = None
    rotate_every: str | int | float | None = None
    expires_at: str | None = None


class ConfigBody(msgspec.Struct):
    """What is to change for all secrets of the mount."""

    max_versions: int | None = None
    cas_required: bool | None = None
    delete_version_after: str | int | float | None = None
    metadata_cas_required: bool | None = None
