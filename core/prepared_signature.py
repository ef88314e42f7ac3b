"""X.509 objects signed by a key that can only be asked asynchronously: in the HSM, maybe across a network.

`cryptography` builds and signs in one synchronous call. So the object is built with a placeholder for the signature,
which tells the bytes to be signed; when the custodian has signed them and the signature was verified, it takes the
placeholder's place. What is checked, what is signed and what leaves are the same bytes.
"""

import hashlib
from collections.abc import Callable
from typing import Any, Generic, NoReturn, Protocol, TypeVar

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding

from core.errors import KeyPolicyError
from core.protocols import KeyCustodian, SignatureScheme, WrappedKey
from core.public_keys import load_public_key, verify_signature


class _Encoded(Protocol):
    def public_bytes(self, encoding: Encoding) -> bytes: ...


BuiltT = TypeVar("BuiltT", bound=_Encoded)

Digest = hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None
# `sign` of a builder of certificates, requests or CRLs, or what calls it
Build = Callable[[Any, Digest], BuiltT]

_HASHES: dict[str, hashes.SHA256 | hashes.SHA384 | hashes.SHA512] = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}
_NO_HASH = "sha256"  # the default of the custodian's call, which does not look at it for these


class ToBeSigned(Generic[BuiltT]):
    """An object before its signature. `draft` is the whole of it with a signature that does not verify."""

    def __init__(self, key: WrappedKey, build: Build[BuiltT]) -> None:
        """`build` is handed a private key and the hash that fits it, or None.

        It must build the same bytes whenever it is called. Raises KeyPolicyError for a key that signs no X.509 objects.
        """
        if key.public_key is None:
            raise KeyPolicyError("this key has no public half, so it signs no certificates and requests")
        self._key = key
        self._build = build
        self._public_der = key.public_key
        self._public = load_public_key(key.public_key)
        self._signer, self._digest = _signer_for(self._public)
        learnt = self._signer(self._public)
        self.draft = build(learnt, self._digest)
        self.message = learnt.message  # what is signed: the TBSCertificate, in DER
        self._scheme = learnt.scheme
        self._hash = learnt.hash_name or _hash_name(self._digest)

    async def sign(self, keys: KeyCustodian) -> BuiltT:
        """The same object, signed. Raises InvalidSignatureError when the custodian's signature does not verify."""
        signature = await self._signature(keys, self.message)
        return self._build(self._signer(self._public, message=self.message, signature=signature), self._digest)

    async def sign_der(self, keys: KeyCustodian, *, message: bytes = b"") -> bytes:
        """As `sign`, as DER, without building it again; with `message`, where it is given, in the draft's stead."""
        message = message or self.message
        signature = await self._signature(keys, message)
        return _with_signature(self.draft.public_bytes(Encoding.DER), self.message, signature, message)

    async def _signature(self, keys: KeyCustodian, message: bytes) -> bytes:
        signed = message if self._digest is None else hashlib.new(self._hash, message).digest()
        [signature] = await keys.sign(self._key, (signed,), scheme=self._scheme, hash_name=self._hash)
        verify_signature(self._public_der, signature, signed, scheme=self._scheme, hash_name=self._hash)
        return signature


async def sign_prepared(keys: KeyCustodian, key: WrappedKey, build: Build[BuiltT]) -> BuiltT:
    """What `build` makes, signed by `key`; it is handed a private key and the hash that fits it, or None.

    `build` is called twice and must build the same bytes both times (RuntimeError). RSA keys sign by PKCS #1 v1.5, or
    where `build` asks for it by PSS with a salt of the digest's length. Raises KeyPolicyError for a key that signs no
    X.509 objects, and InvalidSignatureError when the custodian's signature does not verify.
    """
    return await ToBeSigned(key, build).sign(keys)


def _with_signature(draft: bytes, message: bytes, signature: bytes, signed: bytes) -> bytes:
    """The draft with a signature in the placeholder's stead, and what was signed in that of the message.

    Certificates (RFC 5280, 4.1), CRLs (5.1) and requests (RFC 2986, 4.2) are a SEQUENCE of what is signed, an
    AlgorithmIdentifier and a BIT STRING.
    """
    start = draft.find(message)
    body, placeholder = draft[start:], _bit_string(_PLACEHOLDER)
    if not (0 < start <= _LONGEST_HEADER and body.endswith(placeholder)) or draft != _sequence(body):
        raise RuntimeError("the object is not what is signed, an algorithm and a signature")
    algorithm = body[len(message) : -len(placeholder)]
    return _sequence(b"".join((signed, algorithm, _bit_string(signature))))


def _bit_string(octets: bytes) -> bytes:
    return b"\x03" + _length(len(octets) + 1) + b"\0" + octets


def _sequence(content: bytes) -> bytes:
    return b"\x30" + _length(len(content)) + content


def _length(size: int) -> bytes:
    """A length in DER (X.690, 10.1)."""
    if size < 0x80:
        return bytes((size,))
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((0x80 | len(octets),)) + octets


_LONGEST_HEADER = 6  # tag, and a length of up to four octets


def _hash_name(digest: Digest) -> str:
    return _NO_HASH if digest is None else digest.name


class _Prepared:
    """A private key without its secret: it learns what it is to sign, or gives one signature for known bytes.

    The members that `cryptography` asks for and that would need the secret refuse.
    """

    scheme = SignatureScheme.ECDSA
    hash_name = ""  # of the hash that `build` chose

    def __init__(self, public: PublicKeyTypes, *, message: bytes = b"", signature: bytes = b"") -> None:
        self._public = public
        self._signature = signature
        self.message = message

    def sign(self, data: Any, *_how: Any, **_more: Any) -> bytes:
        """Learn the bytes; or answer the signature, for the bytes it was made for."""
        if not self._signature:
            self.message = bytes(data)
            self.hash_name = _chosen_hash(_how)
            return _PLACEHOLDER
        if bytes(data) != self.message:
            raise RuntimeError("the object was built with other bytes the second time")
        return self._signature

    def public_key(self) -> Any:
        """Its public half."""
        return self._public

    @property
    def key_size(self) -> Any:
        """In bits."""
        return getattr(self._public, "key_size", 0)

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise RuntimeError("this key is with its custodian")

    exchange = decrypt = private_numbers = private_bytes = private_bytes_raw = sign_mu = _refuse
    __copy__ = __deepcopy__ = _refuse


_PLACEHOLDER = bytes(64)


def _chosen_hash(how: tuple[Any, ...]) -> str:
    """The last argument of `sign` of EC and RSA keys: a hash, or ECDSA with one."""
    if not how:
        return ""
    chosen = how[-1].algorithm if isinstance(how[-1], ec.ECDSA) else how[-1]
    return chosen.name if isinstance(chosen, hashes.HashAlgorithm) else ""


class _EcSigner(_Prepared, ec.EllipticCurvePrivateKey):
    @property
    def curve(self) -> ec.EllipticCurve:
        curve: ec.EllipticCurve = self.public_key().curve
        return curve


class _RsaSigner(_Prepared, rsa.RSAPrivateKey):
    scheme = SignatureScheme.RSA_PKCS1V15

    def sign(self, data: Any, *how: Any, **more: Any) -> bytes:
        if how and isinstance(how[0], padding.PSS):
            self.scheme = SignatureScheme.RSA_PSS
        return super().sign(data, *how, **more)


class _Ed25519Signer(_Prepared, ed25519.Ed25519PrivateKey):
    scheme = SignatureScheme.ED25519


class _MlDsa44Signer(_Prepared, mldsa.MLDSA44PrivateKey):
    scheme = SignatureScheme.ML_DSA


class _MlDsa65Signer(_Prepared, mldsa.MLDSA65PrivateKey):
    scheme = SignatureScheme.ML_DSA


class _MlDsa87Signer(_Prepared, mldsa.MLDSA87PrivateKey):
    scheme = SignatureScheme.ML_DSA


def _signer_for(public: PublicKeyTypes) -> tuple[type[_Prepared], Digest]:
    match public:
        case ec.EllipticCurvePublicKey() if public.curve.name in _HASHES:
            return _EcSigner, _HASHES[public.curve.name]
        case rsa.RSAPublicKey():
            return _RsaSigner, hashes.SHA256()
        case ed25519.Ed25519PublicKey():
            return _Ed25519Signer, None
        case mldsa.MLDSA44PublicKey():
            return _MlDsa44Signer, None
        case mldsa.MLDSA65PublicKey():
            return _MlDsa65Signer, None
        case mldsa.MLDSA87PublicKey():
            return _MlDsa87Signer, None
        case _:
            raise KeyPolicyError("a key of this type signs no certificates and requests")
