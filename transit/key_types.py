"""The key types, and what each can do."""

from dataclasses import dataclass

from core.errors import InvalidRequestError
from core.protocols import KeyKind, KeyUsage

DEFAULT_TYPE = "aes256-gcm96"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyType:
    """One row of the table. `encryption_limit`: how often one version may encrypt with random 96-bit nonces."""

    name: str
    kind: KeyKind
    usage: KeyUsage
    supports_encryption: bool = False
    supports_decryption: bool = False
    supports_derivation: bool = False
    supports_signing: bool = False
    supports_associated_data: bool = False
    encryption_limit: int = 2**32  # SP 800-38D, 8.3


_TABLE = {
    row.name: row
    for row in (
        KeyType(
            name="aes256-gcm96",
            kind=KeyKind.AES_256,
            usage=KeyUsage.ENCRYPT,
            supports_encryption=True,
            supports_decryption=True,
            supports_associated_data=True,
        ),
    )
}


def key_type(name: str) -> KeyType:
    """The row of a type that is asked for. Raises InvalidRequestError that names those there are."""
    row = _TABLE.get(name)
    if row is None:
        raise InvalidRequestError(f"unknown key type; the types are: {', '.join(_TABLE)}")
    return row
