"""The key types, and what each can do."""

from dataclasses import dataclass

from core.errors import InvalidRequestError
from core.protocols import KeyKind, KeyUsage

DEFAULT_TYPE = "aes256-gcm96"
ML_DSA = "ml-dsa"  # how OpenBao names the type; the parameter set comes beside it
NONCES_OF_96_BITS = 2**32  # SP 800-38D, 8.3

_CURVES = frozenset({KeyKind.EC_P256, KeyKind.EC_P384, KeyKind.EC_P521})


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyType:
    """One row of the table.

    `encryption_limit`: how often one version may encrypt under random nonces; 0: as often as one likes. `overhead`:
    bytes of nonce and tag that a ciphertext has more than its plaintext.
    """

    name: str
    kind: KeyKind
    usage: KeyUsage
    supports_encryption: bool = False
    supports_decryption: bool = False
    supports_derivation: bool = False
    supports_signing: bool = False
    supports_associated_data: bool = False
    encryption_limit: int = 0
    overhead: int = 0
    parameter_set: str = ""

    def usage_for(self, *, derived: bool) -> KeyUsage:
        """What a key of this type is made for."""
        return KeyUsage.DERIVE if derived else self.usage

    @property
    def is_cipher(self) -> bool:
        """An AEAD: encrypts with nonce and associated data."""
        return self.supports_associated_data

    @property
    def is_rsa(self) -> bool:
        """Encrypts under the public key by OAEP."""
        return self.usage is KeyUsage.SIGN_DECRYPT

    @property
    def is_ecdsa(self) -> bool:
        """Signs digests of any hash."""
        return self.kind in _CURVES

    @property
    def is_asymmetric(self) -> bool:
        """Has a public key."""
        return self.supports_signing

    @property
    def supports_convergence(self) -> bool:
        """Whether a derived key can encrypt convergently."""
        return self.is_cipher

    @property
    def is_hmac(self) -> bool:
        """The key itself makes the HMACs; keys of other types have a companion for that."""
        return self.kind is KeyKind.HMAC


def _cipher(name: str, kind: KeyKind, *, limit: int = NONCES_OF_96_BITS, overhead: int = 28) -> KeyType:
    return KeyType(
        name=name,
        kind=kind,
        usage=KeyUsage.ENCRYPT,
        supports_encryption=True,
        supports_decryption=True,
        supports_derivation=True,
        supports_associated_data=True,
        encryption_limit=limit,
        overhead=overhead,
    )


def _signer(name: str, kind: KeyKind, *, derivation: bool = False, parameter_set: str = "") -> KeyType:
    return KeyType(
        name=name,
        kind=kind,
        usage=KeyUsage.SIGN,
        supports_derivation=derivation,
        supports_signing=True,
        parameter_set=parameter_set,
    )


def _rsa(name: str, kind: KeyKind) -> KeyType:
    return KeyType(
        name=name,
        kind=kind,
        usage=KeyUsage.SIGN_DECRYPT,
        supports_encryption=True,
        supports_decryption=True,
        supports_signing=True,
    )


_TABLE = {
    row.name: row
    for row in (
        _cipher("aes128-gcm96", KeyKind.AES_128),
        _cipher("aes256-gcm96", KeyKind.AES_256),
        _cipher("chacha20-poly1305", KeyKind.CHACHA20_POLY1305),
        # random nonces of 192 bits do not run out (draft-irtf-cfrg-xchacha-03, 3.1)
        _cipher("xchacha20-poly1305", KeyKind.XCHACHA20_POLY1305, limit=0, overhead=40),
        _signer("ed25519", KeyKind.ED25519, derivation=True),
        _signer("ecdsa-p256", KeyKind.EC_P256),
        _signer("ecdsa-p384", KeyKind.EC_P384),
        _signer("ecdsa-p521", KeyKind.EC_P521),
        _rsa("rsa-2048", KeyKind.RSA_2048),
        _rsa("rsa-3072", KeyKind.RSA_3072),
        _rsa("rsa-4096", KeyKind.RSA_4096),
        KeyType(name="hmac", kind=KeyKind.HMAC, usage=KeyUsage.MAC),
        KeyType(name="aes256-cmac", kind=KeyKind.AES_256, usage=KeyUsage.MAC),
        _signer("ml-dsa-44", KeyKind.ML_DSA_44, parameter_set="44"),
        _signer("ml-dsa-65", KeyKind.ML_DSA_65, parameter_set="65"),
        _signer("ml-dsa-87", KeyKind.ML_DSA_87, parameter_set="87"),
    )
}


def key_type(name: str, *, parameter_set: str = "") -> KeyType:
    """The row of a type that is asked for. Raises InvalidRequestError that names those there are."""
    if name == ML_DSA:
        if parameter_set not in {"44", "65", "87"}:
            raise InvalidRequestError("parameter_set is required for type ml-dsa: 44, 65 or 87")
        name = f"{ML_DSA}-{parameter_set}"
    row = _TABLE.get(name)
    if row is None:
        raise InvalidRequestError(f"unknown key type; the types are: {', '.join(_TABLE)}")
    if parameter_set and parameter_set != row.parameter_set:
        raise InvalidRequestError(f"parameter_set is not valid for algorithm {row.name}")
    return row
