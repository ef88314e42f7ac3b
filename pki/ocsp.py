"""OCSP (RFC 6960, RFC 5019, RFC 9654) as bytes: what a request asks, and what an answer says. Pure."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from hashlib import sha1
from typing import Any

import msgspec
from asn1crypto.core import OctetString
from asn1crypto.ocsp import OCSPRequest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from core.errors import InvalidRequestError, KeyPolicyError
from core.prepared_signature import Build, Digest

MAX_REQUEST = 2048  # octets, as OpenBao has it; a usual request has 80
MAX_SINGLE_REQUESTS = 10
MAX_NONCE = 128  # RFC 9654, 2.1

# the answers without a signature (RFC 6960, 4.2.1): a SEQUENCE of an ENUMERATED
MALFORMED_REQUEST = b"\x30\x03\x0a\x01\x01"
INTERNAL_ERROR = b"\x30\x03\x0a\x01\x02"
TRY_LATER = b"\x30\x03\x0a\x01\x03"
UNAUTHORIZED = b"\x30\x03\x0a\x01\x06"

_load_request: Callable[..., Any] = OCSPRequest.load
_load_octets: Callable[..., Any] = OctetString.load
_HASH_SIZES = {"sha1": 20, "sha256": 32, "sha384": 48, "sha512": 64}
_MAX_SERIAL = 20  # octets
_REASONS = {
    "keyCompromise": 1,
    "cACompromise": 2,
    "affiliationChanged": 3,
    "superseded": 4,
    "cessationOfOperation": 5,
    "certificateHold": 6,
    "privilegeWithdrawn": 9,
    "aACompromise": 10,
}


class CertificateId(msgspec.Struct, frozen=True, kw_only=True):
    """Which certificate is meant (RFC 6960, 4.1.1)."""

    hash_name: str
    issuer_name_hash: bytes
    issuer_key_hash: bytes
    serial: int
    der: bytes  # as it came: the answer repeats it


class OcspQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """A request, read. Its signature and its requestor's name are not looked at: anybody may ask."""

    certificates: tuple[CertificateId, ...]
    nonce: bytes = b""  # the whole extension, DER; b"" without one


class CertificateStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of one certificate."""

    certificate: CertificateId
    is_known: bool = False
    revoked_at: int = 0  # epoch seconds; 0: it is not
    reason: str = ""  # as RFC 5280, 5.3.1 names it


def parse_question(der: bytes) -> OcspQuestion:
    """An OCSPRequest (RFC 6960, 4.1.1). Raises InvalidRequestError."""
    if not 0 < len(der) <= MAX_REQUEST:
        raise InvalidRequestError(f"an OCSP request has 1 to {MAX_REQUEST} octets")
    try:
        request = _load_request(der, strict=True)
        return _question(request["tbs_request"])
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, RecursionError):
        raise InvalidRequestError("this is no OCSP request in DER") from None


def _question(body: Any) -> OcspQuestion:
    if body["version"].native != "v1":
        raise ValueError("version")
    singles = list(body["request_list"])
    if not 0 < len(singles) <= MAX_SINGLE_REQUESTS:
        raise ValueError("number of requests")
    for single in singles:
        _no_unknown_critical(single["single_request_extensions"])
    return OcspQuestion(
        certificates=tuple(_certificate_id(single["req_cert"]) for single in singles),
        nonce=_nonce(body["request_extensions"]),
    )


def _certificate_id(found: Any) -> CertificateId:
    name = found["hash_algorithm"]["algorithm"].native
    serial = found["serial_number"].native
    read = CertificateId(
        hash_name=name,
        issuer_name_hash=found["issuer_name_hash"].native,
        issuer_key_hash=found["issuer_key_hash"].native,
        serial=serial,
        der=found.dump(),
    )
    size = _HASH_SIZES[name]
    if len(read.issuer_name_hash) != size or len(read.issuer_key_hash) != size:
        raise ValueError("hash")
    if serial < 0 or len(found["serial_number"].contents) > _MAX_SERIAL + 1:
        raise ValueError("serial number")
    return read


def _no_unknown_critical(extensions: Any) -> None:
    for extension in extensions:
        if extension["critical"].native:
            raise ValueError("critical extension")


def _nonce(extensions: Any) -> bytes:
    """The nonce's extension, whole. More than one, or one of another size, is malformed (RFC 9654, 2.1)."""
    found = b""
    for extension in extensions:
        if extension["extn_id"].native != "nonce":
            _no_unknown_critical((extension,))
            continue
        value = _load_octets(bytes(extension["extn_value"].contents), strict=True)
        if found or not 0 < len(value.native) <= MAX_NONCE:
            raise ValueError("nonce")
        found = extension.dump()
    return found


class SignedAnswer:
    """An OCSPResponse, whole."""

    def __init__(self, der: bytes) -> None:
        self.der = der

    def public_bytes(self, _encoding: Encoding) -> bytes:
        """DER."""
        return self.der


def build_answer(
    statuses: Iterable[CertificateStatus],
    *,
    responder_key: bytes,
    this_update: int,
    next_update: int,
    nonce: bytes = b"",
    certificates: tuple[bytes, ...] = (),
) -> Build[SignedAnswer]:
    """What makes the answer when it is handed a key (RFC 6960, 4.2.1).

    `responder_key`: the bits of its public key, by whose hash the responder is named. Times are epoch seconds;
    `next_update` 0: newer information is always to be had. `certificates` (DER) go with the answer.
    """
    responses = b"".join(_single(status, this_update, next_update) for status in statuses)
    key_hash = _tlv(0x04, sha1(responder_key, usedforsecurity=False).digest())
    extensions = _tlv(0xA1, _tlv(0x30, nonce)) if nonce else b""
    data = _tlv(0x30, _tlv(0xA2, key_hash) + _time(0x18, this_update) + _tlv(0x30, responses) + extensions)
    attached = _tlv(0xA0, _tlv(0x30, b"".join(certificates))) if certificates else b""

    def sign(key: Any, digest: Digest) -> SignedAnswer:
        signature, algorithm = _sign(key, digest, data)
        basic = _tlv(0x30, data + algorithm + _tlv(0x03, b"\0" + signature) + attached)
        return SignedAnswer(_tlv(0x30, b"\x0a\x01\x00" + _tlv(0xA0, _tlv(0x30, _BASIC_RESPONSE + _tlv(0x04, basic)))))

    return sign


def _single(status: CertificateStatus, this_update: int, next_update: int) -> bytes:
    until = _tlv(0xA0, _time(0x18, next_update)) if next_update else b""
    return _tlv(0x30, status.certificate.der + _status(status) + _time(0x18, this_update) + until)


def _status(status: CertificateStatus) -> bytes:
    if not status.is_known:
        return b"\x82\x00"
    if not status.revoked_at:
        return b"\x80\x00"
    reason = _REASONS.get(status.reason, 0)
    said = _tlv(0xA0, bytes((0x0A, 1, reason))) if reason else b""  # "unspecified" is left out (RFC 5280, 5.3.1)
    return _tlv(0xA1, _time(0x18, status.revoked_at) + said)


def _time(tag: int, seconds: int) -> bytes:
    return _tlv(tag, datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%d%H%M%SZ").encode())


def _tlv(tag: int, content: bytes) -> bytes:
    """A value in DER (X.690, 10.1)."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content


def _oid(hex_content: str) -> bytes:
    return _tlv(0x06, bytes.fromhex(hex_content))


_BASIC_RESPONSE = _oid("2b0601050507300101")
_ECDSA = {
    name: _tlv(0x30, _oid(f"2a8648ce3d0403{last}"))
    for name, last in (("sha256", "02"), ("sha384", "03"), ("sha512", "04"))
}
_RSA = {
    name: _tlv(0x30, _oid(f"2a864886f70d0101{last}") + b"\x05\x00")
    for name, last in (("sha256", "0b"), ("sha384", "0c"), ("sha512", "0d"))
}
_ED25519 = _tlv(0x30, _oid("2b6570"))
_ML_DSA: dict[Any, bytes] = {  # RFC 9881
    mldsa.MLDSA44PrivateKey: _tlv(0x30, _oid("608648016503040311")),
    mldsa.MLDSA65PrivateKey: _tlv(0x30, _oid("608648016503040312")),
    mldsa.MLDSA87PrivateKey: _tlv(0x30, _oid("608648016503040313")),
}


def _sign(key: Any, digest: Digest, data: bytes) -> tuple[bytes, bytes]:
    """The signature, and the AlgorithmIdentifier that says what it is. RSA signs by PKCS #1 v1.5."""
    hash_name = digest.name if isinstance(digest, hashes.HashAlgorithm) else ""
    if isinstance(key, ec.EllipticCurvePrivateKey) and digest is not None:
        return key.sign(data, ec.ECDSA(digest)), _ECDSA[hash_name]
    if isinstance(key, rsa.RSAPrivateKey) and digest is not None:
        return key.sign(data, padding.PKCS1v15(), digest), _RSA[hash_name]
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(data), _ED25519
    for kind, algorithm in _ML_DSA.items():
        if isinstance(key, kind):
            return key.sign(data), algorithm
    raise KeyPolicyError("a key of this type signs no OCSP answers")
