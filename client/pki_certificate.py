"""Certificates on this side: found in files and answers, and taken apart for people."""

import re
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, rsa

from client.errors import LocalError
from core.durations import people_duration

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----\r?\n.+?\r?\n-----END \1-----", re.DOTALL)
_SERIAL = re.compile(r"[0-9a-fA-F]{2}(?:[:-][0-9a-fA-F]{2}){3,19}")  # four bytes at least: names are shorter pairs
_ML_DSA = {
    mldsa.MLDSA44PublicKey: "ML-DSA-44",
    mldsa.MLDSA65PublicKey: "ML-DSA-65",
    mldsa.MLDSA87PublicKey: "ML-DSA-87",
}


def pem_blocks(content: bytes) -> list[tuple[str, bytes]]:
    """The labels and texts of all PEM blocks, in their order."""
    return [(match[1].decode("ascii"), match[0]) for match in _BLOCK.finditer(content)]


def certificates_in(content: bytes, *, what: str) -> list[x509.Certificate]:
    """All certificates of a PEM text, or the one of DER. LocalError if there is none."""
    blocks = [text for label, text in pem_blocks(content) if label in {"CERTIFICATE", "X509 CERTIFICATE"}]
    try:
        if blocks:
            return [x509.load_pem_x509_certificate(block) for block in blocks]
        return [x509.load_der_x509_certificate(content)]
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise LocalError(f"{what} holds no certificate that can be read: it must be PEM or DER") from exc


def certificate_of(text: object, *, what: str) -> x509.Certificate:
    """The first certificate of a text member of an answer."""
    if not isinstance(text, str) or not text.strip():
        raise LocalError(f"the answer holds no {what}: is this path served by a pki engine? `-o json` shows it")
    return certificates_in(text.encode(), what=f"the {what} in the answer")[0]


def is_serial(text: str) -> bool:
    """Whether this is a serial number as it is printed: pairs of hexadecimal digits."""
    return _SERIAL.fullmatch(text) is not None


def serial_text(number: int) -> str:
    """As the API writes serial numbers: `0a:1b:2c`."""
    digits = f"{number:x}"
    even = digits.zfill(len(digits) + len(digits) % 2)
    return ":".join(even[place : place + 2] for place in range(0, len(even), 2))


def subject_text(name: x509.Name) -> str:
    """A name as RFC 4514 writes it, the most general part last."""
    return name.rfc4514_string() or "(empty)"


def key_text(key: object) -> str:
    """A public key's type and size."""
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}.get(key.curve.name, key.curve.name)
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "Ed25519"
    if isinstance(key, ed448.Ed448PublicKey):
        return "Ed448"
    return next((name for kind, name in _ML_DSA.items() if isinstance(key, kind)), type(key).__name__)


def public_key_of(holder: x509.Certificate | x509.CertificateSigningRequest) -> Any:
    """Its public key, or None when this machine's library does not know the kind."""
    try:
        return holder.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return None


def moment(time: datetime) -> str:
    """RFC 3339, in UTC."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def distance(time: datetime, now: datetime) -> str:
    """How far away it is, as "in 5 days" or "2 hours ago"."""
    seconds = int((time - now).total_seconds())
    words = _rough(abs(seconds))
    return f"in {words}" if seconds >= 0 else f"{words} ago"


def _rough(seconds: int) -> str:
    for size, name in ((365 * 86400, "year"), (86400, "day"), (3600, "hour"), (60, "minute")):
        count = seconds // size
        if count >= (2 if name == "year" else 1):
            return f"{count} {name}{'' if count == 1 else 's'}"
    return people_duration(seconds)


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the DER, as OpenSSL writes it."""
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()
