"""What is answered about a new certificate: Vault's members, in the format that was asked for.

pem         PEM, without a line break at the end
pem_bundle  as pem, but `certificate` holds the private key (if it was made here), the certificate and the chain
der         the same as DER in base64
pkcs12      as pem, and `pkcs12` (base64) holds key, certificate and chain in one file (RFC 7292)
"""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)

from core.errors import InvalidRequestError
from pki.authority import Issuer
from pki.issuing import Issued

FORMATS = ("pem", "pem_bundle", "der", "pkcs12")
_NO_ENCRYPTION = NoEncryption()
_KEY_TYPES: tuple[tuple[type, str], ...] = (
    (ec.EllipticCurvePrivateKey, "ec"),
    (rsa.RSAPrivateKey, "rsa"),
    (ed25519.Ed25519PrivateKey, "ed25519"),
    (mldsa.MLDSA44PrivateKey, "ml-dsa"),
    (mldsa.MLDSA65PrivateKey, "ml-dsa"),
    (mldsa.MLDSA87PrivateKey, "ml-dsa"),
)


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """How the caller wants it."""

    format: str = "pem"
    is_pkcs8: bool = False  # the private key; otherwise as its type's older form has it (PKCS #1, SEC 1), if it has one
    without_roots: bool = False  # in ca_chain
    pkcs12_password: str = ""  # "": the file is not encrypted


class Chain:
    """An issuer and those above it, encoded once for all that it issues."""

    def __init__(self, issuers: Sequence[Issuer]) -> None:
        self.issuers = tuple(issuers)
        self.pem = [issuer.pem for issuer in issuers]
        self.pem_without_roots = [issuer.pem for issuer in issuers if not issuer.is_self_signed]

    def shown(self, wanted: Wanted) -> list[Issuer]:
        """Those that the caller wants to see."""
        return [issuer for issuer in self.issuers if not (wanted.without_roots and issuer.is_self_signed)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A new certificate, with what stands above it."""

    issued: Issued
    issuer: Issuer
    chain: Chain
    key: PrivateKeyTypes | None = None  # None: it is about a key that was not made here


def check_wanted(wanted: Wanted, *, has_key: bool, key_type: str = "") -> None:
    """Raise InvalidRequestError for what cannot be answered, before anything is made."""
    if wanted.format not in FORMATS:
        raise InvalidRequestError('the "format" path parameter must be "pem", "der", "pem_bundle" or "pkcs12"')
    if wanted.format != "pkcs12":
        return
    if not has_key:
        raise InvalidRequestError('the format "pkcs12" holds the private key, so it is for certificates by "issue"')
    if key_type == "ml-dsa":
        raise InvalidRequestError('ML-DSA keys are not answered as "pkcs12"; use "pem"')


def answer_of(made: Made, wanted: Wanted) -> dict[str, Any]:
    """`data` of the answer."""
    issued = made.issued
    data: dict[str, Any] = {
        "expiration": issued.not_after,
        "not_before": issued.not_before,
        "serial_number": issued.serial,
    }
    if made.key is not None:
        data["private_key_type"] = key_type_of(made.key)
    if wanted.format == "der":
        _add_der(data, made, wanted)
    else:
        _add_pem(data, made, wanted)
    return data


def _add_der(data: dict[str, Any], made: Made, wanted: Wanted) -> None:
    data["certificate"] = _base64(made.issued.der)
    data["issuing_ca"] = _base64(made.issuer.row.certificate)
    shown = made.chain.shown(wanted)
    if shown:
        data["ca_chain"] = [_base64(issuer.row.certificate) for issuer in shown]
    if made.key is not None:
        data["private_key"] = _base64(private_bytes(made.key, Encoding.DER, wanted))


def _add_pem(data: dict[str, Any], made: Made, wanted: Wanted) -> None:
    chain = made.chain
    certificate = data["certificate"] = pem_of(made.issued.der)
    data["issuing_ca"] = made.issuer.pem
    shown = chain.pem_without_roots if wanted.without_roots else chain.pem
    if shown:
        data["ca_chain"] = shown
    parts = [certificate, *chain.pem]
    if made.key is not None:
        private = data["private_key"] = private_bytes(made.key, Encoding.PEM, wanted).decode().rstrip("\n")
        parts.insert(0, private)
    if wanted.format == "pem_bundle":
        data["certificate"] = "\n".join(parts)  # with roots in any case, as Vault has it
    elif wanted.format == "pkcs12":
        data["pkcs12"] = _base64(_pkcs12(made, wanted))


def _pkcs12(made: Made, wanted: Wanted) -> bytes:
    encryption: KeySerializationEncryption = _NO_ENCRYPTION
    if wanted.pkcs12_password:
        encryption = BestAvailableEncryption(wanted.pkcs12_password.encode())
    key: Any = made.key  # of a type that PKCS #12 has: `check_wanted`
    above = [issuer.certificate for issuer in made.chain.shown(wanted)]
    return pkcs12.serialize_key_and_certificates(None, key, made.issued.certificate, above, encryption)


def key_type_of(key: PrivateKeyTypes) -> str:
    """Vault's word for it; `ml-dsa` is ours."""
    return next(word for kind, word in _KEY_TYPES if isinstance(key, kind))


def private_bytes(key: PrivateKeyTypes, encoding: Encoding, wanted: Wanted) -> bytes:
    """Not encrypted. Ed25519 and ML-DSA keys have no form but PKCS #8 (RFC 8410, 7)."""
    older = isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) and not wanted.is_pkcs8
    return key.private_bytes(
        encoding, PrivateFormat.TraditionalOpenSSL if older else PrivateFormat.PKCS8, _NO_ENCRYPTION
    )


def pem_of(der: bytes) -> str:
    """A certificate as PEM (RFC 7468, 5), without a line break at the end."""
    text = b64encode(der).decode()
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return "\n".join(("-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----"))


def _base64(data: bytes) -> str:
    return b64encode(data).decode()
