"""How the public half of a version is shown."""

from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from core.protocols import KeyKind
from transit.format import encode_base64
from transit.key_types import KeyType
from transit.keyring import KeyVersion

_NAMES = {KeyKind.EC_P256: "P-256", KeyKind.EC_P384: "P-384", KeyKind.EC_P521: "P-521"}  # as Vault shows them


def shown_version(row: KeyType, version: KeyVersion) -> dict[str, Any]:
    """A version of an asymmetric key, as Vault shows it."""
    created = datetime.fromtimestamp(version.created_at, UTC)
    shown: dict[str, Any] = {
        "name": _NAMES.get(row.kind, row.name),
        "creation_time": created.isoformat().replace("+00:00", "Z"),
        "public_key": "" if version.public_key is None else shown_public_key(row.kind, version.public_key),
        "certificate_chain": pem_chain(version.certificate_chain),
    }
    if version.key is None:
        shown["public_key_only"] = True
    return shown


def shown_public_key(kind: KeyKind, public_key: bytes) -> str:
    """PEM of the SubjectPublicKeyInfo; of an Ed25519 key base64 of its 32 bytes, as Vault has it."""
    loaded = load_der_public_key(public_key)
    if kind is KeyKind.ED25519:
        return encode_base64(loaded.public_bytes(Encoding.Raw, PublicFormat.Raw))
    return loaded.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def pem_chain(chain: tuple[bytes, ...]) -> str:
    """Certificates in PEM, the leaf first."""
    return "".join(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode() for der in chain)
