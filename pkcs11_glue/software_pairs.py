"""Key pairs in software: ECDSA, RSA, Ed25519 and ML-DSA by the `cryptography` package."""

# ruff: noqa: ARG002 - every family takes the same arguments, and uses those that its schemes have

from collections.abc import Callable, Sequence
from typing import TypeAlias

from cryptography.hazmat.primitives.asymmetric import ec, mldsa, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import NoDigestInfo, Prehashed
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_private_key

from core.errors import CiphertextError, InvalidRequestError, KeyPolicyError
from core.protocols import KeyKind, KeyUsage, SignatureScheme
from core.public_keys import check_digests, find_hash, find_oaep_hash, pss_salt
from core.secret import Secret
from pkcs11_glue.errors import bad_ciphertext
from pkcs11_glue.software_ciphers import derive
from pkcs11_glue.software_key import SoftwareKey

SEED_BYTES = 32
MlDsaPrivateKey: TypeAlias = mldsa.MLDSA44PrivateKey | mldsa.MLDSA65PrivateKey | mldsa.MLDSA87PrivateKey

ML_DSA: dict[KeyKind, Callable[[bytes], MlDsaPrivateKey]] = {
    KeyKind.ML_DSA_44: mldsa.MLDSA44PrivateKey.from_seed_bytes,
    KeyKind.ML_DSA_65: mldsa.MLDSA65PrivateKey.from_seed_bytes,
    KeyKind.ML_DSA_87: mldsa.MLDSA87PrivateKey.from_seed_bytes,
}


class EcKey(SoftwareKey):
    """ECDSA (FIPS 186-5, 6)."""

    __slots__ = ("_key",)

    def __init__(self, kind: KeyKind, usage: KeyUsage, material: Secret) -> None:
        super().__init__(kind, usage)
        key = load_der_private_key(material.expose(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise CiphertextError(f"the material of this key is not that of a key of type {kind.value}")
        self._key = key

    def sign(
        self,
        digests: Sequence[bytes],
        *,
        scheme: SignatureScheme,
        hash_name: str = "sha256",
        salt_length: int | None = None,
        context: bytes = b"",
    ) -> list[bytes]:
        """Signatures as DER ECDSA-Sig-Value (RFC 3279, 2.2.3)."""
        _check_scheme(self._kind, scheme, SignatureScheme.ECDSA)
        _check_no_context(context)
        check_digests(digests, hash_name)
        how = ec.ECDSA(Prehashed(find_hash(hash_name)))
        return [self._key.sign(digest, how) for digest in digests]


class RsaKey(SoftwareKey):
    """RSA signatures and OAEP (RFC 8017)."""

    __slots__ = ("_key",)

    def __init__(self, kind: KeyKind, usage: KeyUsage, material: Secret) -> None:
        super().__init__(kind, usage)
        # the primes were proved when the material was taken in, and the seal has authenticated it since
        key = load_der_private_key(material.expose(), None, unsafe_skip_rsa_key_validation=True)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise CiphertextError(f"the material of this key is not that of a key of type {kind.value}")
        self._key = key

    def sign(
        self,
        digests: Sequence[bytes],
        *,
        scheme: SignatureScheme,
        hash_name: str = "sha256",
        salt_length: int | None = None,
        context: bytes = b"",
    ) -> list[bytes]:
        """RSASSA-PSS or RSASSA-PKCS1-v1_5."""
        if self._usage is KeyUsage.ENCRYPT:
            raise self._cannot("sign")
        _check_no_context(context)
        if scheme is SignatureScheme.RSA_PKCS1V15_RAW:
            return [self._sign_raw(message) for message in digests]
        check_digests(digests, hash_name)
        algorithm = find_hash(hash_name)
        how: padding.AsymmetricPadding
        if scheme is SignatureScheme.RSA_PKCS1V15:
            how = padding.PKCS1v15()
        else:
            _check_scheme(self._kind, scheme, SignatureScheme.RSA_PSS)
            salt = pss_salt(self._key.key_size, hash_name, salt_length)
            how = padding.PSS(padding.MGF1(algorithm), salt)
        prehashed = Prehashed(algorithm)
        return [self._key.sign(digest, how, prehashed) for digest in digests]

    def _sign_raw(self, message: bytes) -> bytes:
        most = self._key.key_size // 8 - 11
        if not 1 <= len(message) <= most:
            raise InvalidRequestError(f"this key signs 1 to {most} bytes without a hash")
        return self._key.sign(message, padding.PKCS1v15(), NoDigestInfo())

    def decrypt_oaep(self, ciphertexts: Sequence[bytes], *, hash_name: str = "sha256") -> list[bytes | CiphertextError]:
        """With MGF1 of the same hash and an empty label; one error for all that is wrong."""
        if self._usage is KeyUsage.SIGN:
            raise self._cannot("decrypt by RSA-OAEP")
        algorithm = find_oaep_hash(hash_name)
        how = padding.OAEP(padding.MGF1(algorithm), algorithm, None)
        return [self._decrypt_one(ciphertext, how) for ciphertext in ciphertexts]

    def _decrypt_one(self, ciphertext: bytes, how: padding.OAEP) -> bytes | CiphertextError:
        try:
            return self._key.decrypt(ciphertext, how)
        except ValueError:
            return bad_ciphertext()


class Ed25519Key(SoftwareKey):
    """Pure Ed25519 (RFC 8032, 5.1.6)."""

    __slots__ = ("_key",)

    def __init__(self, kind: KeyKind, usage: KeyUsage, material: Secret) -> None:
        super().__init__(kind, usage)
        self._key = Ed25519PrivateKey.from_private_bytes(material.expose())

    def sign(
        self,
        digests: Sequence[bytes],
        *,
        scheme: SignatureScheme,
        hash_name: str = "sha256",
        salt_length: int | None = None,
        context: bytes = b"",
    ) -> list[bytes]:
        """Signatures of 64 bytes over the messages themselves."""
        _check_scheme(self._kind, scheme, SignatureScheme.ED25519)
        _check_no_context(context)
        return [self._key.sign(message) for message in digests]


class DerivingEd25519Key(SoftwareKey):
    """Makes an Ed25519 key for each context, as Vault does: HKDF-SHA-256 over seed and public key gives its seed.

    So the public key of the seed itself is half of the secret, and is never shown.
    """

    __slots__ = ("_secret",)

    def __init__(self, kind: KeyKind, usage: KeyUsage, material: Secret) -> None:
        super().__init__(kind, usage)
        seed = material.expose()
        self._secret = Secret(seed + Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw())

    def sign(
        self,
        digests: Sequence[bytes],
        *,
        scheme: SignatureScheme,
        hash_name: str = "sha256",
        salt_length: int | None = None,
        context: bytes = b"",
    ) -> list[bytes]:
        """Signatures of 64 bytes over the messages themselves, by the key of the context."""
        _check_scheme(self._kind, scheme, SignatureScheme.ED25519)
        key = self._derived(context)
        return [key.sign(message) for message in digests]

    def derived_public_key(self, context: bytes) -> bytes:
        """SubjectPublicKeyInfo, DER."""
        return spki(self._derived(context))

    def _derived(self, context: bytes) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(derive(self._secret.expose(), context, SEED_BYTES))


class MlDsaKey(SoftwareKey):
    """Pure ML-DSA with an empty context string, hedged (FIPS 204, algorithm 2)."""

    __slots__ = ("_key",)

    def __init__(self, kind: KeyKind, usage: KeyUsage, material: Secret) -> None:
        super().__init__(kind, usage)
        self._key = ML_DSA[kind](material.expose())

    def sign(
        self,
        digests: Sequence[bytes],
        *,
        scheme: SignatureScheme,
        hash_name: str = "sha256",
        salt_length: int | None = None,
        context: bytes = b"",
    ) -> list[bytes]:
        """Signatures over the messages themselves."""
        _check_scheme(self._kind, scheme, SignatureScheme.ML_DSA)
        _check_no_context(context)
        return [self._key.sign(message) for message in digests]


def spki(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | Ed25519PrivateKey | MlDsaPrivateKey) -> bytes:
    """SubjectPublicKeyInfo of a private key, DER."""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _check_scheme(kind: KeyKind, asked: SignatureScheme, can: SignatureScheme) -> None:
    if asked is not can:
        raise KeyPolicyError(f"a key of type {kind.value} does not make {asked.value} signatures")


def _check_no_context(context: bytes) -> None:
    if context:
        raise KeyPolicyError("this key is not a derived one: it takes no context")
