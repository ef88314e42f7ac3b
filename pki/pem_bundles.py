"""PEM bundles that somebody brings along: certificates of CAs and private keys, in any order (RFC 7468)."""

from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

from core.errors import InvalidRequestError
from core.protocols import KeyKind
from core.public_keys import kind_of
from core.secret import Secret
from pki.csr import check_key_strength
from pki.pem_blocks import Block, blocks_of
from pki.private_keys import LABELS, load_private_key
from pki.serials import OCTETS

MAX_TEXT = 1024 * 1024  # characters
_MOST = 256  # blocks
_SHORTEST = 75  # characters; less is a path, not PEM (Vault's rule)
_CERTIFICATES = ("CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE")
_PASSED_OVER = ("EC PARAMETERS", "EC PARAMS", "X509 CRL", "CRL")  # parameters: of `openssl ecparam -genkey`


class BroughtKey(NamedTuple):
    """A private key. `public_key` is SubjectPublicKeyInfo in DER, `material` as core.protocols.KeyKind has it."""

    kind: KeyKind
    public_key: bytes
    material: Secret


class Bundle(NamedTuple):
    """What was in the text, each thing once."""

    certificates: list[x509.Certificate]
    keys: list[BroughtKey]


def parse_bundle(text: str) -> Bundle:
    """Take it apart. Raises InvalidRequestError that says which block is wrong; never what is in it."""
    if len(text) < _SHORTEST:
        raise InvalidRequestError(
            "provided data for import was too short; perhaps a path was passed to the API rather than the contents of a"
            " PEM file"
        )
    if len(text) > MAX_TEXT:
        raise InvalidRequestError(f"a PEM bundle has at most {MAX_TEXT} characters")
    blocks = blocks_of(text)
    if not blocks:
        raise InvalidRequestError("the bundle holds no PEM: blocks of BEGIN CERTIFICATE or BEGIN PRIVATE KEY")
    if len(blocks) > _MOST:
        raise InvalidRequestError(f"a PEM bundle has at most {_MOST} blocks")
    certificates: dict[x509.Certificate, None] = {}
    keys: dict[bytes, BroughtKey] = {}
    for number, block in enumerate(blocks, 1):
        if block.label in _CERTIFICATES:
            certificates[_certificate(block, number)] = None
        elif block.label in LABELS:
            key = _key(block, number)
            keys[key.public_key] = key
        elif block.label not in _PASSED_OVER:
            raise _wrong(number, _why_not(block.label))
    return Bundle(list(certificates), list(keys.values()))


def _why_not(label: str) -> str:
    if label == "ENCRYPTED PRIVATE KEY":
        return "is an encrypted key: decrypt it first (openssl pkey)"
    return "is neither a certificate nor a private key"


def _wrong(number: int, why: str) -> InvalidRequestError:
    return InvalidRequestError(f"block {number} of the PEM bundle {why}")


def _certificate(block: Block, number: int) -> x509.Certificate:
    """One of a CA, with a key that we could verify with; all that every request reads of it can be read."""
    try:
        found = x509.load_der_x509_certificate(block.der())
        check_readable(found)
        constraints = next((e.value for e in found.extensions if isinstance(e.value, x509.BasicConstraints)), None)
        public_key = found.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        raise _wrong(number, "is no X.509 certificate that can be read") from None
    if constraints is None or not constraints.ca:
        raise _wrong(number, "is the certificate of no CA: refusing to import non-CA certificate")
    try:
        check_key_strength(public_key)
    except InvalidRequestError as exc:
        raise _wrong(number, f"cannot be used: {exc.sentence}") from None
    return found


def check_readable(certificate: x509.Certificate) -> None:
    """Raise ValueError or TypeError for a name that has no text, or a serial number that none can be (4.1.2.2)."""
    _ = certificate.subject, certificate.issuer
    if not 0 <= certificate.serial_number < 1 << 8 * OCTETS:
        raise ValueError("the serial number")


def _key(block: Block, number: int) -> BroughtKey:
    if "Proc-Type: 4,ENCRYPTED" in block.body:
        raise _wrong(number, "is an encrypted key: decrypt it first (openssl pkey)")
    try:
        load_private_key(block.der())  # so what is tested now is of a size that can be
        key = load_der_private_key(block.der(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _wrong(number, "is no private key that can be read") from None
    public_key = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    try:
        check_key_strength(public_key)
        kind = kind_of(public_key)
    except InvalidRequestError as exc:
        raise _wrong(number, f"cannot be used: {exc.sentence}") from None
    return BroughtKey(kind, public_key, Secret(_material(key)))


def _material(key: object) -> bytes:
    match key:
        case ec.EllipticCurvePrivateKey() | rsa.RSAPrivateKey():
            return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        case ed25519.Ed25519PrivateKey() | mldsa.MLDSA44PrivateKey() | mldsa.MLDSA65PrivateKey():
            return key.private_bytes_raw()
        case mldsa.MLDSA87PrivateKey():
            return key.private_bytes_raw()
        case _:
            raise InvalidRequestError("a key of this kind is not taken")
