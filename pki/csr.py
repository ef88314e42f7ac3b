"""Certificate requests (PKCS #10, RFC 2986) from anybody: taken apart, their proof of possession checked.

What is wrong with one is said; what is right with it is plain values.
"""

import warnings
from base64 import b64decode
from dataclasses import dataclass
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtensionOID

from core.errors import InvalidRequestError, MimirError
from core.public_keys import PublicKey, load_public_key
from pki.der import content_of

MAX_TEXT = 64 * 1024  # characters of PEM
MAX_NAMES = 1000  # subject alternative names
_KEPT_KEYS = 1024  # who renews with the same key needs it loaded once
_WORDS = ("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST")  # RFC 7468, 7; the second is that of older tools
_KEYS = "a key must be RSA of 2048, 3072 or 4096 bits, EC on P-256, P-384 or P-521, Ed25519, or ML-DSA"
_EXTENSION_REQUEST = x509.ObjectIdentifier("1.2.840.113549.1.9.14")
_WEAK = (hashes.MD5, hashes.SHA1)
# critical extensions that may stand in a request: what they ask for is decided by the role, or copied (sign-verbatim)
_KNOWN = frozenset(
    {
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER,
        ExtensionOID.CERTIFICATE_POLICIES,
        ExtensionOID.NAME_CONSTRAINTS,
        ExtensionOID.TLS_FEATURE,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Csr:
    """A request whose signature was checked."""

    public_key: bytes  # SubjectPublicKeyInfo, DER
    key: PublicKey
    subject: x509.Name
    names: tuple[x509.GeneralName, ...]
    extensions: tuple[x509.Extension[x509.ExtensionType], ...]


def parse_csr(text: str) -> Csr:
    """A request in PEM, with blanks or a text before it. Raises InvalidRequestError with what is wrong with it."""
    if not text.strip():
        raise InvalidRequestError('"csr" is empty')
    if len(text) > MAX_TEXT:
        raise InvalidRequestError(f"a csr has at most {MAX_TEXT} characters")
    request = _load(text)
    key, public_key = _load_key(_public_key_info(request))
    _check_signature(request, key)
    extensions = _extensions(request)
    names = _names(extensions)
    return Csr(public_key=public_key, key=key, subject=_subject(request), names=names, extensions=extensions)


def _load(text: str) -> x509.CertificateSigningRequest:
    """What stands before the request is for people (openssl req -text); behind it, it would be something else."""
    for word in _WORDS:
        _, begin, rest = text.partition(f"-----BEGIN {word}-----")
        body, end, behind = rest.partition(f"-----END {word}-----")
        if begin and end:
            break
    else:
        raise InvalidRequestError("csr contains no data: it must be PEM with BEGIN CERTIFICATE REQUEST")
    if behind.strip():
        raise InvalidRequestError("csr has something behind its end: give one request alone")
    try:
        return x509.load_der_x509_csr(b64decode("".join(body.split()), validate=True))
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
        raise InvalidRequestError("certificate request could not be parsed: it is no PKCS #10 in PEM") from None


def _public_key_info(request: x509.CertificateSigningRequest) -> bytes:
    """The SubjectPublicKeyInfo as it stands there: behind version and subject (RFC 2986, 4.1)."""
    info = request.tbs_certrequest_bytes
    start, _ = content_of(info, 0)
    for _ in ("version", "subject"):
        _, start = content_of(info, start)
    _, end = content_of(info, start)
    return info[start:end]


@lru_cache(maxsize=_KEPT_KEYS)
def _load_key(public_key: bytes) -> tuple[PublicKey, bytes]:
    """The key, and its SubjectPublicKeyInfo as we write it (a point on a curve could be written otherwise)."""
    key = check_key_strength(public_key)
    return key, key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def check_key_strength(public_key: bytes) -> PublicKey:
    """Load a key (SubjectPublicKeyInfo); raise InvalidRequestError for one that is weak or of no known kind."""
    try:
        key = load_public_key(public_key)
    except MimirError:
        raise InvalidRequestError(_KEYS) from None
    if isinstance(key, rsa.RSAPublicKey):
        exponent = key.public_numbers().e
        if exponent < 65537 or exponent % 2 == 0 or exponent.bit_length() > 256:
            raise InvalidRequestError("the public exponent of an RSA key is odd and at least 65537 (FIPS 186-5, A.1.1)")
    return key


def _check_signature(request: x509.CertificateSigningRequest, key: PublicKey) -> None:
    """Proof of possession (RFC 2986, 3)."""
    try:
        digest = request.signature_hash_algorithm
        is_valid = isinstance(digest, _WEAK) or _is_signed_by(request, key)
    except (ValueError, UnsupportedAlgorithm, InvalidSignature):
        digest, is_valid = None, False
    if isinstance(digest, _WEAK):
        raise InvalidRequestError("the csr is signed with MD5 or SHA-1, which prove nothing: use SHA-256")
    if not is_valid:
        raise InvalidRequestError("the csr's signature does not verify, so it does not show who has the key")


def _is_signed_by(request: x509.CertificateSigningRequest, key: PublicKey) -> bool:
    """Whether the request's own key signed it: by the key that is loaded already, where that is simple.

    Raises InvalidSignature, ValueError and UnsupportedAlgorithm.
    """
    scheme = request.signature_algorithm_parameters
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(scheme, ec.ECDSA):
        key.verify(request.signature, request.tbs_certrequest_bytes, scheme)
        return True
    return request.is_signature_valid


def _extensions(request: x509.CertificateSigningRequest) -> tuple[x509.Extension[x509.ExtensionType], ...]:
    try:
        if sum(attribute.oid == _EXTENSION_REQUEST for attribute in request.attributes) > 1:
            raise InvalidRequestError("the csr asks for extensions twice (RFC 2985, 5.4.2: SINGLE VALUE)")
        found = tuple(request.extensions)
    except x509.DuplicateExtension:
        raise InvalidRequestError("the csr has an extension twice (RFC 5280, 4.2)") from None
    except (ValueError, TypeError, KeyError, x509.UnsupportedGeneralNameType, UnsupportedAlgorithm):
        raise InvalidRequestError("the extensions of the csr could not be parsed") from None
    for extension in found:
        if extension.critical and extension.oid not in _KNOWN:
            raise InvalidRequestError(
                f"the csr has the critical extension {extension.oid.dotted_string}, which means nothing here"
            )
    return found


def _names(extensions: tuple[x509.Extension[x509.ExtensionType], ...]) -> tuple[x509.GeneralName, ...]:
    for extension in extensions:
        if isinstance(extension.value, x509.SubjectAlternativeName):
            names = tuple(extension.value)
            if len(names) > MAX_NAMES:
                raise InvalidRequestError(f"the csr has {len(names)} alternative names; {MAX_NAMES} is the most")
            return names
    return ()


def _subject(request: x509.CertificateSigningRequest) -> x509.Name:
    try:
        with warnings.catch_warnings(action="ignore"):  # of lengths beyond RFC 5280: they matter where it is copied
            return request.subject
    except (ValueError, TypeError):  # TypeError: a BIT STRING where no text can be one
        raise InvalidRequestError("the subject of the csr could not be parsed") from None
