"""A named key: its versions, and the rules which of them encrypts and decrypts. Nothing here does I/O."""

from dataclasses import dataclass
from typing import Self

import msgspec

from core.errors import InvalidRequestError, KeyPolicyError
from core.protocols import Custody
from transit.errors import KeyVersionError
from transit.key_types import KeyType, key_type


class VersionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What the key's row says of a version; `key_id` binds the version's own row to it."""

    created_at: int  # epoch seconds
    key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigChange:
    """What keys/<name>/config asks for; None leaves a value as it is."""

    min_decryption_version: int | None = None
    min_encryption_version: int | None = None
    deletion_allowed: bool | None = None


class Keyring(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it is stored, without the wrapped keys. Versions count from 1 without gaps.

    `min_encryption_version` 0 stands for "any version that decrypts, the latest unless asked otherwise".
    """

    type: str
    custody: Custody
    versions: dict[int, VersionInfo]
    latest_version: int = 1
    min_available_version: int = 0
    min_decryption_version: int = 1
    min_encryption_version: int = 0
    deletion_allowed: bool = False
    imported: bool = False
    format: int = 1

    @property
    def key_type(self) -> KeyType:
        """The row of the key's type."""
        return key_type(self.type)

    def version_to_encrypt(self, requested: int) -> int:
        """The version that encrypts when the caller asked for `requested`; 0 is the latest. Raises KeyVersionError."""
        if requested == 0:
            return self.latest_version
        if requested < 0:
            raise KeyVersionError("requested version for encryption is negative")
        if requested > self.latest_version:
            raise KeyVersionError("requested version for encryption is higher than the latest key version")
        if requested < self.min_encryption_version:
            raise KeyVersionError("requested version for encryption is less than the minimum encryption key version")
        if requested < self.min_decryption_version:
            raise KeyVersionError("requested version for encryption is less than the minimum decryption key version")
        return requested

    def version_to_decrypt(self, version: int) -> int:
        """The version that a ciphertext names. Raises KeyVersionError when it does not exist or is retired."""
        if version > self.latest_version:
            raise KeyVersionError("invalid ciphertext: version is too new")
        if version < self.min_decryption_version or version not in self.versions:
            raise KeyVersionError("ciphertext or signature version is disallowed by policy (too old)")
        return version

    def rotated(self, version: VersionInfo) -> Self:
        """With one more version, which encrypts from now on."""
        latest = self.latest_version + 1
        return msgspec.structs.replace(self, latest_version=latest, versions={**self.versions, latest: version})

    def configured(self, change: ConfigChange) -> Self:
        """With the change applied. Raises InvalidRequestError."""
        decryption = self.min_decryption_version
        if change.min_decryption_version is not None:
            decryption = self._minimum("decryption", change.min_decryption_version) or 1
        encryption = self.min_encryption_version
        if change.min_encryption_version is not None:
            encryption = self._minimum("encryption", change.min_encryption_version)
        if 0 < encryption < decryption:
            raise InvalidRequestError(
                "cannot set min encryption/decryption values; min encryption version of "
                f"{encryption} must be greater than or equal to min decryption version of {decryption}"
            )
        deletion = self.deletion_allowed if change.deletion_allowed is None else change.deletion_allowed
        return msgspec.structs.replace(
            self, min_decryption_version=decryption, min_encryption_version=encryption, deletion_allowed=deletion
        )

    def _minimum(self, what: str, version: int) -> int:
        if version < 0:
            raise InvalidRequestError(f"min {what} version cannot be negative")
        if version > self.latest_version:
            raise InvalidRequestError(
                f"cannot set min {what} version of {version}, latest key version is {self.latest_version}"
            )
        return version

    def check_deletable(self, name: str) -> None:
        """Raises KeyPolicyError unless the configuration allows it."""
        if not self.deletion_allowed:
            raise KeyPolicyError(
                f"error deleting policy {name}: deletion is not allowed for this key; "
                "set deletion_allowed=true in its config first"
            )
