"""What a change of a secret's metadata may be, and what becomes of the secret. No I/O."""

import json
import re
from collections.abc import Mapping

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from core.errors import InvalidRequestError
from kv.secret import Secret, Settings

MAX_VERSIONS = (1 << 32) - 1  # the largest number that Vault keeps there
MAX_OWNER = 256  # characters

# Vault's limits of custom_metadata; lengths in bytes
_KEYS, _KEY, _VALUE = 64, 128, 512

_CLASSIFICATION = re.compile(r"[a-z0-9_-]{1,64}")


class MetadataChange(msgspec.Struct, frozen=True, kw_only=True):
    """The new values; what is not named stays. In a patch a member of `custom_metadata` that is None is removed."""

    max_versions: int | UnsetType = UNSET
    cas_required: bool | UnsetType = UNSET
    delete_version_after: int | UnsetType = UNSET  # seconds
    custom_metadata: Mapping[str, str | None] | UnsetType | None = UNSET
    metadata_cas_required: bool | UnsetType = UNSET
    owner: str | UnsetType = UNSET
    classification: str | UnsetType = UNSET
    rotate_every: int | UnsetType = UNSET  # seconds
    expires_at: int | UnsetType = UNSET  # nanoseconds

    @property
    def names(self) -> list[str]:
        """The members that are changed."""
        return [name for name in self.__struct_fields__ if getattr(self, name) is not UNSET]


def check_metadata_cas(secret: Secret | None, cas: int | None, settings: Settings) -> None:
    """Compare with the number of writes that the metadata has had. Raises InvalidRequestError, in OpenBao's words."""
    if cas is None:
        if settings.metadata_cas_required or (secret is not None and secret.metadata_cas_required):
            raise InvalidRequestError("metadata check-and-set parameter required for this call")
    elif secret is None:
        if cas != 0:
            raise InvalidRequestError("metadata_cas must be 0 when creating new metadata")
    elif cas != secret.metadata_version:
        raise InvalidRequestError("metadata check-and-set parameter does not match the current version")


def changed(secret: Secret, change: MetadataChange, *, is_patch: bool) -> Secret:
    """The secret after the change; when a version was last made stays what it is, as in Vault.

    A patch merges `custom_metadata`, otherwise it is replaced. Raises InvalidRequestError.
    """
    values = {name: getattr(change, name) for name in change.names}
    if "custom_metadata" in values:
        values["custom_metadata"] = _custom_metadata(secret, values["custom_metadata"], is_patch=is_patch)
    return replace(secret, **values, metadata_version=secret.metadata_version + 1)


def _custom_metadata(
    secret: Secret, given: Mapping[str, str | None] | None, *, is_patch: bool
) -> dict[str, str] | None:
    """None when nothing is left."""
    if given is None:
        return None
    before = (secret.custom_metadata or {}) if is_patch else {}
    kept = {name: value for name, value in {**before, **given}.items() if value is not None}
    check_custom_metadata(kept)
    return kept or None


def check_custom_metadata(metadata: Mapping[str, str]) -> None:
    """Raise InvalidRequestError for more, or larger, than Vault takes; the sentence names no value."""
    if len(metadata) > _KEYS:
        raise _invalid(f"payload must contain at most {_KEYS} keys, provided {len(metadata)}")
    for name, value in metadata.items():
        size = len(name.encode("utf-8", "surrogatepass"))
        if not 0 < size <= _KEY:
            raise _invalid(f"length of key {_quoted(name[:_KEY])} is {size} but must be 0 < len(key) <= {_KEY}")
        if not name.isprintable():
            raise _invalid(f"key {_quoted(name)} contains unprintable characters")
        size = len(value.encode("utf-8", "surrogatepass"))
        if not 0 < size <= _VALUE:
            raise _invalid(f"length of value for key {_quoted(name)} is {size} but must be 0 < len(value) <= {_VALUE}")
        if not value.isprintable():
            raise _invalid(f"value for key {_quoted(name)} contains unprintable characters")


def _quoted(name: str) -> str:
    return json.dumps(name, ensure_ascii=not name.isprintable())


def _invalid(problem: str) -> InvalidRequestError:
    return InvalidRequestError(f"custom_metadata validation failed: {problem}")


def check_owner(owner: str) -> str:
    """An owner, or "" for none. Raises InvalidRequestError."""
    if len(owner) > MAX_OWNER or not owner.isprintable():
        raise InvalidRequestError(f"owner has at most {MAX_OWNER} characters, all of them printable")
    return owner


def check_classification(word: str) -> str:
    """A class, or "" for none. Raises InvalidRequestError."""
    if word and _CLASSIFICATION.fullmatch(word) is None:
        raise InvalidRequestError("classification is one word of at most 64 small letters, digits, _ and -")
    return word


def check_max_versions(number: int) -> int:
    """How many versions are kept; 0 leaves it to the mount. Raises InvalidRequestError."""
    if not 0 <= number <= MAX_VERSIONS:
        raise InvalidRequestError(f"max_versions must be from 0 to {MAX_VERSIONS}")
    return number
