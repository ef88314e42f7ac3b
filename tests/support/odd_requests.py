"""Certificate requests that no honest program makes, signed all the same (RFC 2986): built field by field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from asn1crypto import algos, core, csr, keys, pem, x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

Extension = tuple[str, bool, bytes]  # OID, critical, DER of the value

SUBJECT_ALT_NAME = "2.5.29.17"
BASIC_CONSTRAINTS = "2.5.29.19"


def request_pem(
    key: Any,
    *,
    common_name: str = "web.example.com",
    extensions: Sequence[Extension] = (),
    hash_algorithm: hashes.HashAlgorithm | None = None,
    spoil_signature: bool = False,
) -> str:
    """A CSR of an EC or RSA key, as PEM."""
    info = csr.CertificationRequestInfo(
        {
            "version": "v1",
            "subject": x509.Name.build({"common_name": common_name}) if common_name else x509.Name("", []),
            "subject_pk_info": keys.PublicKeyInfo.load(
                key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            ),
            "attributes": _attributes(extensions),
        }
    )
    digest = hash_algorithm or hashes.SHA256()
    signature = bytearray(_signature(key, info.dump(), digest))
    if spoil_signature:
        signature[-1] ^= 1
    kind = "ecdsa" if isinstance(key, ec.EllipticCurvePrivateKey) else "rsa"
    made = csr.CertificationRequest(
        {
            "certification_request_info": info,
            "signature_algorithm": algos.SignedDigestAlgorithm({"algorithm": f"{digest.name}_{kind}"}),
            "signature": bytes(signature),
        }
    )
    return str(pem.armor("CERTIFICATE REQUEST", made.dump()).decode())


def _attributes(extensions: Sequence[Extension]) -> list[dict[str, Any]]:
    if not extensions:
        return []
    rows = [
        x509.Extension({"extn_id": oid, "critical": critical, "extn_value": core.ParsableOctetString(value)})
        for oid, critical, value in extensions
    ]
    return [{"type": "extension_request", "values": [x509.Extensions(rows)]}]


def _signature(key: Any, message: bytes, digest: hashes.HashAlgorithm) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(message, padding.PKCS1v15(), digest)
    signature: bytes = key.sign(message, ec.ECDSA(digest))
    return signature


def dns_names(*names: str) -> Extension:
    """subjectAltName of DNS names, which may hold any ASCII."""
    return _alt_names([(2, name.encode("latin-1")) for name in names])


def emails(*names: str) -> Extension:
    """subjectAltName of mail addresses."""
    return _alt_names([(1, name.encode("latin-1")) for name in names])


def uris(*names: str) -> Extension:
    """subjectAltName of URIs."""
    return _alt_names([(6, name.encode("latin-1")) for name in names])


def addresses(*octets: bytes) -> Extension:
    """subjectAltName of IP addresses; 4 and 16 octets are good ones (RFC 5280, 4.2.1.6)."""
    return _alt_names([(7, address) for address in octets])


def _alt_names(names: Sequence[tuple[int, bytes]]) -> Extension:
    content = b"".join(bytes([0x80 | tag]) + _length(len(value)) + value for tag, value in names)
    return SUBJECT_ALT_NAME, False, b"\x30" + _length(len(content)) + content


def _length(size: int) -> bytes:
    """DER's length octets (X.690, 8.1.3)."""
    if size < 0x80:
        return bytes([size])
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(octets)]) + octets
