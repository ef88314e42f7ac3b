"""A named key: its versions, and the rules which of them encrypts and decrypts. Nothing here does I/O."""

from dataclasses import dataclass
from typing import Self

import msgspec

from core.errors import InvalidRequestError, KeyPolicyError
from core.protocols import Custody, KeyUsage, WrappedKey
from transit.errors import KeyVersionError
from transit.key_types import KeyType, key_type

MIN_ROTATION_PERIOD = 3600  # seconds; Vault's
MOST_COUNTED = 2**62  # what is stored has 64 bits


class KeyVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version as it is stored, one row each. `owner` binds it to the key of that name that it was made for."""

    owner: str  # Keyring.id
    created_at: int  # epoch seconds
    key: WrappedKey | None  # None: only a public key was imported
    mac: WrappedKey | None = None  # the companion that makes HMACs; of type hmac, `key` does
    public_key: bytes | None = None  # SubjectPublicKeyInfo, DER
    certificate_chain: tuple[bytes, ...] = ()  # DER, the leaf first


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigChange:
    """What keys/<name>/config asks for; None leaves a value as it is."""

    min_decryption_version: int | None = None
    min_encryption_version: int | None = None
    deletion_allowed: bool | None = None
    exportable: bool | None = None
    allow_plaintext_backup: bool | None = None
    auto_rotate_period: int | None = None  # seconds
    max_encryptions: int | None = None


class Keyring(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it is stored, without its versions, so its row does not grow. Versions count from 1 without gaps.

    `min_encryption_version` 0 stands for "any version that decrypts, the latest unless asked otherwise".
    `min_available_version` 0 stands for "never trimmed".
    """

    id: str  # a UUID, new with each key that takes the name
    type: str
    custody: Custody
    latest_version: int = 1
    min_available_version: int = 0
    min_decryption_version: int = 1
    min_encryption_version: int = 0
    rotated_at: int = 0  # epoch seconds: when the latest version was made
    deletion_allowed: bool = False
    derived: bool = False
    convergent: bool = False
    exportable: bool = False
    allow_plaintext_backup: bool = False
    auto_rotate_period: int = 0  # seconds; 0: by hand only
    max_encryptions: int = 0  # of one version; 0: as many as its type allows
    key_size: int = 0  # bytes, of type hmac
    imported: bool = False
    takes_imports: bool = False  # of an imported key until a version is made here: more versions may come by import
    allow_rotation: bool = False  # of an imported key: whether a version may be made here
    soft_deleted: bool = False
    format: int = 2

    @property
    def key_type(self) -> KeyType:
        """The row of the key's type."""
        return key_type(self.type)

    @property
    def usage(self) -> KeyUsage:
        """What its versions are made for."""
        return self.key_type.usage_for(derived=self.derived)

    @property
    def encryption_limit(self) -> int:
        """How often one version may encrypt; 0: as often as one likes."""
        limit = self.key_type.encryption_limit
        return min(limit, self.max_encryptions) if limit and self.max_encryptions else limit or self.max_encryptions

    @property
    def first_version(self) -> int:
        """The oldest that is still there."""
        return max(1, self.min_available_version)

    @property
    def can_rotate(self) -> bool:
        """Whether a version may be made here; a key whose versions come from elsewhere says when it is imported."""
        return not self.imported or self.allow_rotation

    def check_usable(self) -> None:
        """Raises KeyPolicyError while the key is softly deleted."""
        if self.soft_deleted:
            raise KeyPolicyError(
                "this key is softly deleted: restore it by POST to keys/<name>/soft-delete-restore "
                "(`mimir transit key undelete NAME`)"
            )

    def check_context(self, *, given: bool) -> None:
        """A derived key needs a context, another one takes none. Raises InvalidRequestError."""
        if given != self.derived:
            raise InvalidRequestError(
                "missing 'context' for key derivation; the key was created using a derived key, which means additional,"
                " per-request information must be included in order to perform operations with the key"
                if self.derived
                else "context is given, but this key is not derived: leave it out"
            )

    # --- which version ----------------------------------------------------------------------------------------------

    def version_to_encrypt(self, requested: int, *, purpose: str = "encryption") -> int:
        """The version that encrypts, signs or makes MACs when the caller asked for `requested`; 0 is the latest.

        `purpose` names it in the KeyVersionError.
        """
        if requested == 0:
            return self.latest_version
        if requested < 0:
            raise KeyVersionError(f"requested version for {purpose} is negative")
        if requested > self.latest_version:
            raise KeyVersionError(f"requested version for {purpose} is higher than the latest key version")
        if requested < self.min_encryption_version:
            raise KeyVersionError(f"requested version for {purpose} is less than the minimum encryption key version")
        if requested < self.min_decryption_version:
            raise KeyVersionError(f"requested version for {purpose} is less than the minimum decryption key version")
        return requested

    def version_to_decrypt(self, version: int, *, what: str = "ciphertext") -> int:
        """The version that a ciphertext, signature or MAC (`what`) names. Raises KeyVersionError."""
        if version > self.latest_version:
            raise KeyVersionError(f"invalid {what}: version is too new")
        if version < self.min_decryption_version or version < self.first_version:
            raise KeyVersionError("ciphertext or signature version is disallowed by policy (too old)")
        return version

    @property
    def shown_versions(self) -> range:
        """Those a reader of the key is shown."""
        return range(max(self.min_decryption_version, self.first_version), self.latest_version + 1)

    # --- changes ----------------------------------------------------------------------------------------------------

    def rotated(self, *, at: int) -> Self:
        """With one more version, which encrypts from now on."""
        return msgspec.structs.replace(self, latest_version=self.latest_version + 1, rotated_at=at, takes_imports=False)

    def check_rotatable(self) -> None:
        """Raises KeyPolicyError for a key that takes no version made here."""
        self.check_usable()
        if not self.can_rotate:
            raise KeyPolicyError(
                "this key was imported without allow_rotation: import a new version by keys/<name>/import_version"
            )

    def configured(self, change: ConfigChange) -> Self:
        """With the change applied. Raises InvalidRequestError, and KeyPolicyError for what its custody forbids."""
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
        if decryption < self.min_available_version or 0 < encryption < self.min_available_version:
            raise InvalidRequestError(
                f"versions before {self.min_available_version} were trimmed: they can not be made available again"
            )
        return msgspec.structs.replace(
            self,
            min_decryption_version=decryption,
            min_encryption_version=encryption,
            deletion_allowed=self.deletion_allowed if change.deletion_allowed is None else change.deletion_allowed,
            exportable=self._opened("exportable", self.exportable, change.exportable),
            allow_plaintext_backup=self._opened(
                "allow_plaintext_backup", self.allow_plaintext_backup, change.allow_plaintext_backup
            ),
            auto_rotate_period=self._period(change.auto_rotate_period),
            max_encryptions=self._limit(change.max_encryptions),
        )

    def _minimum(self, what: str, version: int) -> int:
        if version < 0:
            raise InvalidRequestError(f"min {what} version cannot be negative")
        if version > self.latest_version:
            raise InvalidRequestError(
                f"cannot set min {what} version of {version}, latest key version is {self.latest_version}"
            )
        return version

    def _opened(self, what: str, present: bool, wanted: bool | None) -> bool:
        """What lets a key out can be set, and not unset: copies may exist."""
        if wanted is None or wanted == present:
            return present
        if not wanted:
            raise InvalidRequestError(f"{what} cannot be disabled once it is set")
        check_may_leave(what, self.custody)
        return True

    def _period(self, wanted: int | None) -> int:
        if wanted is None or wanted == self.auto_rotate_period:
            return self.auto_rotate_period
        check_rotation_period(wanted)
        if wanted:
            self.check_rotatable()
        return wanted

    def _limit(self, wanted: int | None) -> int:
        if wanted is None:
            return self.max_encryptions
        check_max_encryptions(wanted, self.key_type)
        return wanted

    def trimmed(self, min_available_version: int) -> Self:
        """Without the versions before. Raises InvalidRequestError as Vault does, and KeyPolicyError."""
        self.check_usable()  # what is softly deleted can be restored, all of it
        if min_available_version < 0:
            raise InvalidRequestError("min available version cannot be negative")
        if min_available_version < self.min_available_version:
            raise InvalidRequestError(
                f"minimum available version cannot be decremented below {self.min_available_version}"
            )
        if self.min_encryption_version == 0:
            raise InvalidRequestError(
                "minimum available version cannot be set when minimum encryption version is not set"
            )
        if min_available_version > min(self.min_encryption_version, self.min_decryption_version):
            raise InvalidRequestError(
                "minimum available version cannot be higher than minimum encryption and decryption version"
            )
        return msgspec.structs.replace(self, min_available_version=min_available_version)

    def check_deletable(self, name: str) -> None:
        """Raises KeyPolicyError unless the configuration allows it."""
        if not self.deletion_allowed:
            raise KeyPolicyError(
                f"error deleting policy {name}: deletion is not allowed for this key; "
                "set deletion_allowed=true in its config first"
            )


def check_may_leave(what: str, custody: Custody) -> None:
    """Raises KeyPolicyError for a key in the HSM."""
    if custody is Custody.HSM:
        raise KeyPolicyError(
            f"{what} is refused: a key with {custody.value} custody is made inside the HSM and cannot leave it; create"
            " the key with custody=sealed if it must be exported"
        )


def check_rotation_period(seconds: int) -> None:
    """Raises InvalidRequestError."""
    if 0 < seconds < MIN_ROTATION_PERIOD:
        raise InvalidRequestError("auto rotate period must be 0 to disable or at least an hour")


def check_max_encryptions(wanted: int, row: KeyType) -> None:
    """Raises InvalidRequestError for a limit above the type's, or on a type that has none to count."""
    if wanted < 0:
        raise InvalidRequestError("max_encryptions cannot be negative; 0 is the most that the type allows")
    if wanted and not row.is_cipher:
        raise InvalidRequestError(f"max_encryptions is not valid for algorithm {row.name}")
    if row.encryption_limit and wanted > row.encryption_limit:
        raise InvalidRequestError(
            f"max_encryptions cannot be above {row.encryption_limit}, the most that random 96-bit nonces allow"
        )
    if wanted > MOST_COUNTED:
        raise InvalidRequestError(f"max_encryptions cannot be above {MOST_COUNTED}; 0 is no limit")
