"""A backed-up key as Vault and OpenBao write it: base64 of the JSON of their `KeyData`.

    {"policy": {"name": …, "type": 0, "keys": {"3": {entry}, …}, …}, "archived_keys": {"keys": [{entry}, …]}}

`policy.keys` holds the versions that decrypt; the archive holds every version that was not trimmed, in order, from
`archive_min_version` (where that is 0, the first place is empty). An entry has `key` (symmetric keys; Ed25519 as seed
and public key), or `ec_x`, `ec_y`, `ec_d`, or `rsa_key` as Go writes one, and `hmac_key`. Times are RFC 3339, the
rotation period is in nanoseconds. Source: sdk/helper/keysutil/policy.go of OpenBao, and of Vault, whose numbers of the
types agree up to 9.
"""

import binascii

import msgspec

from core.errors import InvalidRequestError
from transit.format import decode_base64, encode_base64

AES256, ECDSA_P256, ED25519, RSA_2048, RSA_4096, CHACHA20, ECDSA_P384, ECDSA_P521, AES128, RSA_3072 = range(10)
TEN = 10  # OpenBao: hmac; Vault: a key that another device manages
ELEVEN = 11  # OpenBao: xchacha20-poly1305; Vault: hmac
AES256_CMAC, ML_DSA = 13, 14  # Vault's

HKDF_SHA256 = 1
CONVERGENT_VERSION = 3
TEMPLATES = ("", "vault:v{{version}}:", "mimir:v{{version}}:")
NANOSECONDS = 10**9
MAX_VERSION = 2**31 - 1
MAX_PERIOD = 2**63 - 1  # of Go's time.Duration
MAX_OBJECTS = 2**18  # in a backup; each takes a hundred bytes of memory

_NAMES = {
    AES256: "aes256-gcm96",
    ECDSA_P256: "ecdsa-p256",
    ED25519: "ed25519",
    RSA_2048: "rsa-2048",
    RSA_4096: "rsa-4096",
    CHACHA20: "chacha20-poly1305",
    ECDSA_P384: "ecdsa-p384",
    ECDSA_P521: "ecdsa-p521",
    AES128: "aes128-gcm96",
    RSA_3072: "rsa-3072",
    TEN: "hmac",
    AES256_CMAC: "aes256-cmac",
}
_NUMBERS = {name: number for number, name in _NAMES.items()} | {"xchacha20-poly1305": ELEVEN}


class RsaKey(msgspec.Struct, frozen=True, kw_only=True):
    """Go's rsa.PrivateKey, and rsa.PublicKey where D and Primes are left out."""

    N: int  # of any size
    E: int
    D: int = 0
    Primes: list[int] | None = None

    def __repr__(self) -> str:
        return "RsaKey(…)"


class KeyEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One version."""

    key: bytes | None = None
    hmac_key: bytes | None = None
    time: str = ""
    ec_x: int | None = None
    ec_y: int | None = None
    ec_d: int | None = None
    rsa_key: RsaKey | None = None
    rsa_public_key: RsaKey | None = None
    public_key: str = ""
    convergent_version: int = 0
    creation_time: int = 0
    certificate_chain: list[bytes] | None = None

    def __repr__(self) -> str:
        return "KeyEntry(…)"


EMPTY = KeyEntry(time="0001-01-01T00:00:00Z")  # Go's zero


class ArchivedKeys(msgspec.Struct, frozen=True, kw_only=True):
    """Every version in order."""

    keys: list[KeyEntry] | None = None


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """The key; `Imported` and `AllowImportedKeyRotation` have no JSON names in Go, so they are spelled like this."""

    name: str = ""
    key_size: int = 0
    keys: dict[str, KeyEntry] | None = None
    derived: bool = False
    kdf: int = 0
    convergent_encryption: bool = False
    exportable: bool = False
    min_decryption_version: int = 1
    min_encryption_version: int = 0
    latest_version: int = 0
    archive_version: int = 0
    archive_min_version: int = 0
    min_available_version: int = 0
    deletion_allowed: bool = False
    convergent_version: int = 0
    type: int = AES256
    allow_plaintext_backup: bool = False
    version_template: str = ""
    storage_prefix: str = ""
    auto_rotate_period: int = 0  # nanoseconds
    Imported: bool = False
    AllowImportedKeyRotation: bool = False
    soft_deleted: bool = False
    parameter_set: str = ""

    @property
    def first_version(self) -> int:
        """The oldest that was not trimmed."""
        return max(1, self.min_available_version)


class KeyData(msgspec.Struct, frozen=True, kw_only=True):
    """The whole backup."""

    policy: Policy
    archived_keys: ArchivedKeys | None = None

    def entry(self, version: int) -> KeyEntry:
        """A version. Raises InvalidRequestError when the backup lacks it."""
        found = (self.policy.keys or {}).get(str(version))
        if found is None and self.archived_keys is not None and self.archived_keys.keys:
            place = version - self.policy.archive_min_version
            found = self.archived_keys.keys[place] if 0 <= place < len(self.archived_keys.keys) else None
        if found is None or found == KeyEntry(time=found.time):
            raise InvalidRequestError(f"the backup lacks version {version} of the key; nothing was restored")
        return found

    @property
    def type_name(self) -> str:
        """The key's type. Raises InvalidRequestError for one that Mimir does not have.

        Eleven is hmac in Vault, whose HMAC keys are their own companions, and xchacha20-poly1305 in OpenBao.
        """
        number = self.policy.type
        if number == ELEVEN:
            latest = self.entry(self.policy.latest_version)
            return "hmac" if latest.key and latest.key == latest.hmac_key else "xchacha20-poly1305"
        if number == ML_DSA and self.policy.parameter_set in ("44", "65", "87"):
            return f"ml-dsa-{self.policy.parameter_set}"
        if number not in _NAMES:
            raise InvalidRequestError(f"the backup holds a key of type {number}, which Mimir does not have")
        return _NAMES[number]


def type_number(name: str) -> int:
    """OpenBao's number of a type; Vault's, of those that only Vault has."""
    return _NUMBERS.get(name, ML_DSA)


def parse_backup(text: str) -> KeyData:
    """What the caller sent. Raises InvalidRequestError, which never holds a part of it."""
    octets = decode_base64(text, field="backup")
    try:
        if octets.count(b"{") > MAX_OBJECTS:
            raise InvalidRequestError("the backup holds more versions than can be restored at once")
        data = msgspec.json.decode(octets, type=KeyData)
    except (RecursionError, msgspec.MsgspecError):
        raise InvalidRequestError(
            "the backup is damaged, or no backup of a transit key; nothing was restored"
        ) from None
    _check(data.policy)
    return data


def write_backup(data: KeyData) -> str:
    """Text that `parse_backup` and other servers take."""
    return encode_base64(msgspec.json.encode(data))


def decode_raw(text: str) -> bytes | None:
    """Base64 of a public key in an entry; None for another text."""
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        return None


def _check(policy: Policy) -> None:
    """Raises InvalidRequestError for numbers that contradict each other, and for what Mimir does not do."""
    latest, decryption = policy.latest_version, policy.min_decryption_version
    if not (
        1 <= latest <= MAX_VERSION
        and 1 <= decryption <= latest
        and 0 <= policy.min_available_version <= decryption
        and (policy.min_encryption_version == 0 or decryption <= policy.min_encryption_version <= latest)
        and policy.archive_min_version >= 0
        and 0 <= policy.auto_rotate_period <= MAX_PERIOD
    ):
        raise InvalidRequestError("the versions in the backup contradict each other; nothing was restored")
    if policy.derived and policy.kdf != HKDF_SHA256:
        raise InvalidRequestError(
            "the backup holds a key of the old derivation (HMAC-SHA-256 in counter mode), which Mimir does not have"
        )
    if policy.version_template not in TEMPLATES:
        raise InvalidRequestError(
            "the backup holds a key whose ciphertexts have a prefix of their own; it is not taken"
        )
