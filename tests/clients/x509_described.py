"""Certificates, requests, CRLs and keys as plain values that two servers' answers can be compared by.

What differs from one issue to the next (serial numbers, keys, moments) is replaced by what it is; members that are
named by it are in the order of what they say. What servers differ in by principle, where both ways mean the same, is
written one way: see `subject`, `extensions` and `_USAGES`.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from binascii import Error
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----\n?", re.DOTALL)
SERIAL = re.compile(r"[0-9a-f]{2}([:-][0-9a-f]{2}){9,19}")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")
MOMENTS = frozenset({"expiration", "not_before", "revocation_time"})
_SAN = "2.5.29.17"
# not those that a key's type decides here, and nobody in OpenBao
_USAGES = ("digital_signature", "content_commitment", "key_cert_sign", "crl_sign")


def described(value: Any, member: str = "") -> Any:
    """An answer's data, without what differs from one time to the next."""
    if isinstance(value, dict):
        return _members({name: described(inner, name) for name, inner in value.items()})
    if isinstance(value, list):
        return [described(inner, member) for inner in value]
    if isinstance(value, str):
        return _text(value)
    if member in MOMENTS and isinstance(value, int) and value > 1_000_000_000:
        return "MOMENT"
    return value


def _members(found: dict[str, Any]) -> dict[str, Any]:
    """UUID 1, UUID 2, … for names that differ from one time to the next."""
    masked = sorted((_text(name), json.dumps(value), value) for name, value in found.items() if _text(name) != name)
    numbered = {f"{name} {number}": value for number, (name, _, value) in enumerate(masked, 1)}
    return {name: value for name, value in found.items() if _text(name) == name} | numbered


def _text(text: str) -> Any:
    blocks = [found[0] for found in BLOCK.finditer(text)]
    if blocks:
        return [_block(block) for block in blocks] + (["…"] if BLOCK.sub("", text).strip() else [])
    for pattern, word in ((UUID, "UUID"), (SERIAL, "SERIAL"), (TIME, "TIME")):
        text = pattern.sub(word, text)
    return _der(text) if text.startswith("MI") else text


def _block(block: str) -> Any:
    kind = BLOCK.match(block)
    assert kind
    data = block.encode()
    match kind[1]:
        case "CERTIFICATE":
            return certificate(x509.load_pem_x509_certificate(data))
        case "CERTIFICATE REQUEST":
            return request(x509.load_pem_x509_csr(data))
        case "X509 CRL":
            return crl(x509.load_pem_x509_crl(data))
        case label:
            return {"label": label, "key": key(serialization.load_pem_private_key(data, None))}


def _der(text: str) -> Any:
    """A certificate, a request or a key in base64; other text as it is."""
    try:
        data = b64decode(text, validate=True)
    except Error:
        return text
    for load, describe in _LOADS:
        try:
            return describe(load(data))
        except ValueError:
            continue
    return text


def key(found: Any) -> str:
    if isinstance(found, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey):
        return found.curve.name
    if isinstance(found, rsa.RSAPrivateKey | rsa.RSAPublicKey):
        return f"rsa-{found.key_size}"
    return type(found).__name__.strip("_").removesuffix("PublicKey").removesuffix("PrivateKey")


def certificate(found: x509.Certificate) -> dict[str, Any]:
    lifetime = found.not_valid_after_utc - found.not_valid_before_utc
    return {
        "subject": subject(found.subject),
        "issuer": subject(found.issuer),
        "key": key(found.public_key()),
        "signature": found.signature_algorithm_oid.dotted_string,
        "lifetime": "until a day" if found.not_valid_after_utc.second == 0 else round(lifetime.total_seconds(), -1),
        "extensions": extensions(found),
    }


def request(found: x509.CertificateSigningRequest) -> dict[str, Any]:
    return {
        "subject": subject(found.subject),
        "key": key(found.public_key()),
        "signature": found.signature_algorithm_oid.dotted_string,
        "extensions": extensions(found),
    }


def crl(found: x509.CertificateRevocationList) -> dict[str, Any]:
    assert found.next_update_utc
    return {
        "issuer": subject(found.issuer),
        "entries": len(found),
        "lifetime": round((found.next_update_utc - found.last_update_utc).total_seconds(), -1),
        "extensions": sorted(extension.oid.dotted_string for extension in found.extensions),
    }


def subject(name: x509.Name) -> list[str]:
    """Attribute by attribute: OpenBao puts those of one kind into one RDN."""
    return sorted(attribute.rfc4514_string() for rdn in name.rdns for attribute in rdn)


def extensions(found: x509.Certificate | x509.CertificateSigningRequest) -> dict[str, Any]:
    """By OID. Not whether alternative names are critical, nor the common name of a CA that is no host ("Root")."""
    made = {each.oid.dotted_string: [each.critical, _extension(each.value)] for each in found.extensions}
    if _SAN in made:
        names = [name for name in made[_SAN][1] if name not in _names_of_a_ca(found)]
        made[_SAN] = [None, names]
        if not names:
            del made[_SAN]
    return made


def _names_of_a_ca(found: x509.Certificate | x509.CertificateSigningRequest) -> list[str]:
    """Its common names without a dot, as DNS names. Requests are those that servers make, for CAs."""
    is_ca = any(isinstance(each.value, x509.BasicConstraints) and each.value.ca for each in found.extensions)
    if not is_ca and isinstance(found, x509.Certificate):
        return []
    names = [str(each.value) for each in found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return [f"<DNSName(value={name!r})>" for name in names if "." not in name]


def _extension(value: x509.ExtensionType) -> Any:
    if isinstance(value, x509.SubjectKeyIdentifier | x509.AuthorityKeyIdentifier):
        return type(value).__name__
    if isinstance(value, x509.KeyUsage):
        return [name for name in _USAGES if getattr(value, name)]
    if isinstance(value, x509.SubjectAlternativeName):
        return sorted(repr(name) for name in value)
    return _text(repr(value))


_LOADS: tuple[tuple[Any, Any], ...] = (
    (x509.load_der_x509_certificate, certificate),
    (x509.load_der_x509_csr, request),
    (lambda der: serialization.load_der_private_key(der, None), key),
)
