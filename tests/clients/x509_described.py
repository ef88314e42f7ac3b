"""Certificates, requests, CRLs and keys as plain values that two servers' answers can be compared by.

What differs from one issue to the next (serial numbers, keys, moments) is replaced by what it is; and what servers
differ in by principle, where both ways mean the same, is written one way:

- a key usage that a key of its type cannot have (RFC 5480, 3; RFC 8410, 5; RFC 3279, 2.3.1) is left out
- values of a subject that stand in one RDN stand in RDNs of their own
- a CA's common name without a dot is no DNS name
"""

from __future__ import annotations

import re
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
NO_DOT = re.compile(r"[^.]+")
SIGNING = frozenset({"digital_signature", "content_commitment", "key_cert_sign", "crl_sign"})
RSA_USAGES = SIGNING | {"key_encipherment", "data_encipherment"}
EC_USAGES = SIGNING | {"key_agreement"}


def described(value: Any, member: str = "") -> Any:
    """An answer's data, without what differs from one time to the next."""
    if isinstance(value, dict):
        return {_text(name): described(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [described(inner, member) for inner in value]
    if isinstance(value, str):
        return _text(value)
    if member in MOMENTS and isinstance(value, int) and value > 1_000_000_000:
        return "MOMENT"
    return value


def _text(text: str) -> Any:
    blocks = [found[0] for found in BLOCK.finditer(text)]
    if blocks:
        return [_block(block) for block in blocks] + (["…"] if BLOCK.sub("", text).strip() else [])
    for pattern, word in ((UUID, "UUID"), (SERIAL, "SERIAL"), (TIME, "TIME")):
        text = pattern.sub(word, text)
    return text


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
    return [attribute.rfc4514_string() for rdn in name.rdns for attribute in rdn]


def extensions(found: x509.Certificate | x509.CertificateSigningRequest) -> dict[str, Any]:
    described = {each.oid.dotted_string: [each.critical, _extension(each.value, found)] for each in found.extensions}
    return {oid: pair for oid, pair in described.items() if pair[1] != []}


def _extension(value: x509.ExtensionType, found: x509.Certificate | x509.CertificateSigningRequest) -> Any:
    if isinstance(value, x509.SubjectKeyIdentifier | x509.AuthorityKeyIdentifier):
        return type(value).__name__
    if isinstance(value, x509.SubjectAlternativeName):
        return sorted(repr(name) for name in value if not _is_name_of_a_ca(name, found.subject))
    if isinstance(value, x509.KeyUsage):
        return _usages(value, found.public_key())
    return _text(repr(value))


def _is_name_of_a_ca(name: x509.GeneralName, subject: x509.Name) -> bool:
    """Whether it is the common name, which has no dot: CAs are called so, hosts of the internet are not."""
    own = [attribute.value for attribute in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return isinstance(name, x509.DNSName) and name.value in own and NO_DOT.fullmatch(name.value) is not None


def _usages(value: x509.KeyUsage, key: Any) -> list[str]:
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    possible = SIGNING
    if isinstance(key, rsa.RSAPublicKey):
        possible = RSA_USAGES
    elif isinstance(key, ec.EllipticCurvePublicKey):
        possible = EC_USAGES
    return [name for name in (*names, "key_cert_sign", "crl_sign") if name in possible and getattr(value, name)]
