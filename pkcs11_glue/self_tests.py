"""The self-tests of the token at start: each kind of key with each usage is proved by using it.

A key is taken through its life: made, wrapped under the KEK, unwrapped, used, and what it gives is checked against
software or published values. RSA keys take too long to generate, so a test key is imported; one size stands for all.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from cryptography.hazmat.primitives import cmac
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pkcs11.constants import Attribute
from pkcs11.mechanisms import Mechanism

from core import public_keys
from core.errors import CiphertextError, MimirError
from core.protocols import AeadInput, KeyKind, KeyUsage, SignatureScheme
from pkcs11_glue import derivation, keys, newcomers, rsa_decryption, templates
from pkcs11_glue.cryptoki import CryptokiError
from pkcs11_glue.derivation import Purpose
from pkcs11_glue.kek import Kek
from pkcs11_glue.macs import HMACS, mac_method
from pkcs11_glue.operations import NONCE_BYTES, Operations
from pkcs11_glue.rsa_decryption import OaepMethod
from pkcs11_glue.signing import signing_method

Pair = tuple[KeyKind, KeyUsage]


@dataclass(frozen=True, slots=True)
class Proof:
    """What a token was seen to do."""

    pairs: frozenset[Pair]
    oaep: dict[str, OaepMethod]  # how to decrypt by OAEP, by hash


Test = Callable[[Operations, Kek, KeyKind, KeyUsage], bool]

_DIGEST = bytes(range(32))

# An RSA-2048 key made for this self-test. It guards nothing: it stands here for everybody to read.
_TEST_P = int(
    "f6bf8489555d3a14829a9207b6bc3a02bfc174fe0b0390617f94467b080e220c6b7aeccf507377840286fda10e54b994"
    "83228ddb9c4988adeef6189b7cd07158256cfb22012139249dab32eac0a6b7a18e1fa6322e7b64da8dd3cbdaccf5038b"
    "0bc43d2de3da3675dd737930271f37351c4c5adb4b579fe572936b03cdb9c67d",
    16,
)
_TEST_Q = int(
    "c2edbf55b1832e0559009174dcdb8dd369e523572160f5976c3e15d44a72b5576d31d9485439b151b079d0dd3d24f689"
    "cc799eb46fc38401dc60cd6bd55bf7157e7b4cb3276553d0e8c550c471bb30eb6f6ea77c44c045d26a2cce891b714834"
    "d426f6f1c3ea58037313ca7ed74d6dc95438f18ddc45a1a0565a8501982a720b",
    16,
)
_TEST_E = 65537

_TEST_NUMBERS = rsa.RSAPrivateNumbers(
    p=_TEST_P,
    q=_TEST_Q,
    d=(_TEST_D := pow(_TEST_E, -1, (_TEST_P - 1) * (_TEST_Q - 1))),
    dmp1=_TEST_D % (_TEST_P - 1),
    dmq1=_TEST_D % (_TEST_Q - 1),
    iqmp=pow(_TEST_Q, -1, _TEST_P),
    public_numbers=rsa.RSAPublicNumbers(_TEST_E, _TEST_P * _TEST_Q),
)


def prove(operations: Operations, kek: Kek) -> Proof:
    """Whose whole life was seen to work on this token."""
    pairs = {(kind, usage) for (kind, usage), test in _TESTS.items() if _passes(test, operations, kek, kind, usage)}
    oaep: dict[str, OaepMethod] = {}
    with suppress(CryptokiError, MimirError):
        wrapped = _wrapped_test_key(operations, kek)
        oaep = _prove_rsa_decryption(operations, kek, wrapped)
        proven = {KeyUsage.ENCRYPT} if oaep else set()
        proven |= {usage for usage in _RSA_SCHEMES if _proves_rsa(operations, kek, wrapped, usage)}
        pairs |= {(kind, usage) for kind in templates.RSA_BITS for usage in proven}
    return Proof(pairs=frozenset(pairs), oaep=oaep)


def _passes(test: Test, operations: Operations, kek: Kek, kind: KeyKind, usage: KeyUsage) -> bool:
    try:
        return test(operations, kek, kind, usage)
    except (CryptokiError, MimirError):
        return False


@contextmanager
def _known(operations: Operations, kind: KeyKind, usage: KeyUsage, value: bytes) -> Iterator[int]:
    """A session key of a known value."""
    handle = operations.session.create(templates.imported_secret(kind, value, usage))
    try:
        yield handle
    finally:
        operations.session.destroy(handle)


@contextmanager
def _live(operations: Operations, kek: Kek, kind: KeyKind, usage: KeyUsage) -> Iterator[tuple[int, bytes]]:
    """A key that was generated, wrapped and unwrapped; its handle and public key."""
    key = keys.generate(operations, kind, usage=usage, under=keys.WrappingKeys(kek=kek, escrow=None))
    handle = keys.unwrap(operations, key, kek)
    try:
        yield handle, key.public_key or b""
    finally:
        operations.session.destroy(handle)


def _prove_cipher(operations: Operations, kek: Kek, kind: KeyKind, usage: KeyUsage) -> bool:
    value = _DIGEST[: templates.SECRET_BYTES[kind]]
    with _known(operations, kind, usage, value) as handle:
        known = operations.encrypt_with_nonce(handle, bytes(NONCE_BYTES), b"probe", b"data")
    if known != AESGCM(value).encrypt(bytes(NONCE_BYTES), b"probe", b"data"):
        return False
    with _live(operations, kek, kind, usage) as (handle, _):
        (sealed,) = operations.encrypt(handle, [AeadInput(_DIGEST, b"probe")])
        opened, refused = operations.decrypt(handle, [AeadInput(sealed, b"probe"), AeadInput(sealed, b"other")])
    return opened == _DIGEST and isinstance(refused, CiphertextError)


def _prove_cmac(operations: Operations, kek: Kek, kind: KeyKind, usage: KeyUsage) -> bool:
    value = _DIGEST[: templates.SECRET_BYTES[kind]]
    software = cmac.CMAC(algorithms.AES(value))
    software.update(b"probe")
    how = mac_method(kind, "")
    with _known(operations, kind, usage, value) as handle:
        known = operations.mac(handle, [b"probe"], how)
    with _live(operations, kek, kind, usage) as (handle, _):
        (mac,) = operations.mac(handle, [b"probe"], how)
    return known == [software.finalize()] and len(mac) == how.size


def _prove_derivation(operations: Operations, kek: Kek, kind: KeyKind, usage: KeyUsage) -> bool:
    value = _DIGEST[: templates.SECRET_BYTES[kind]]
    with _known(operations, kind, usage, value) as handle:
        if not all(_derives(operations, handle, kind, value, purpose) for purpose in Purpose):
            return False
    with _live(operations, kek, kind, usage) as (handle, _):
        operations.session.destroy(derivation.derive(operations.session, handle, kind, b"context", Purpose.CIPHER))
    return True


def _derives(operations: Operations, base: int, kind: KeyKind, value: bytes, purpose: Purpose) -> bool:
    """Whether the token derives what software does; the derived key must be one that cannot be read."""
    blocks = hashlib.sha256(purpose.value + b"context").digest()
    expected = Cipher(algorithms.AES(value), modes.ECB()).encryptor().update(blocks)  # noqa: S305 - two random blocks
    session = operations.session
    handle = derivation.derive(session, base, kind, b"context", purpose)
    try:
        hidden = {Attribute.SENSITIVE: b"\x01", Attribute.EXTRACTABLE: b"\x00"}
        if any(session.attribute(handle, name) != wanted for name, wanted in hidden.items()):
            return False
        if purpose is Purpose.NONCE:
            (mac,) = operations.mac(handle, [b"probe"], mac_method(KeyKind.HMAC, "sha256"))
            return hmac.compare_digest(mac, hmac.digest(expected, b"probe", "sha256"))
        cipher = AESGCM(expected[: templates.SECRET_BYTES[kind]])
        sealed = operations.encrypt_with_nonce(handle, bytes(NONCE_BYTES), b"probe", b"")
        return sealed == cipher.encrypt(bytes(NONCE_BYTES), b"probe", b"")
    finally:
        session.destroy(handle)


def _prove_hmac(operations: Operations, kek: Kek, kind: KeyKind, usage: KeyUsage) -> bool:
    value = bytes(range(templates.SECRET_BYTES[kind]))
    with _known(operations, kind, usage, value) as handle:
        for name in HMACS:
            if operations.mac(handle, [_DIGEST], mac_method(kind, name)) != [hmac.digest(value, _DIGEST, name)]:
                return False
    with _live(operations, kek, kind, usage) as (handle, _):
        (mac,) = operations.mac(handle, [_DIGEST], mac_method(kind, "sha512"))
    return len(mac) == hashlib.sha512().digest_size


def _prove_ec(operations: Operations, kek: Kek, kind: KeyKind, usage: KeyUsage) -> bool:
    with _live(operations, kek, kind, usage) as (handle, public_key):
        _prove_scheme(operations, handle, kind, SignatureScheme.ECDSA, public_key)
    return True


def _prove_rsa_decryption(operations: Operations, kek: Kek, wrapped: bytes) -> dict[str, OaepMethod]:
    """How the token decrypts by OAEP, by hash: with its own where it can, and else by raw RSA."""
    methods: dict[str, OaepMethod] = {}
    with _test_key(operations, kek, wrapped, KeyUsage.ENCRYPT) as handle:
        if _decrypts(operations, handle, rsa_decryption.RAW["sha256"]):  # all hashes alike: they are applied here
            methods |= rsa_decryption.RAW
        methods |= {name: how for name, how in rsa_decryption.NATIVE.items() if _decrypts(operations, handle, how)}
    return methods


def _proves_rsa(operations: Operations, kek: Kek, wrapped: bytes, usage: KeyUsage) -> bool:
    """Whether it signs; with SIGN_DECRYPT also whether it decrypts, how is proven elsewhere."""
    public = _TEST_NUMBERS.public_numbers.public_key()
    public_key = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    with suppress(CryptokiError, MimirError), _test_key(operations, kek, wrapped, usage) as handle:
        for scheme in _RSA_SCHEMES[usage]:
            _prove_scheme(operations, handle, KeyKind.RSA_2048, scheme, public_key)
        return usage is KeyUsage.SIGN or _decrypts(operations, handle, rsa_decryption.RAW["sha256"])
    return False


def _prove_scheme(
    operations: Operations, handle: int, kind: KeyKind, scheme: SignatureScheme, public_key: bytes
) -> None:
    (signature,) = operations.sign(handle, [_DIGEST], signing_method(kind, scheme, "sha256", None))
    public_keys.verify_signature(public_key, signature, _DIGEST, scheme=scheme)


def _wrapped_test_key(operations: Operations, kek: Kek) -> bytes:
    session = operations.session
    numbers = newcomers.rsa_attributes(_TEST_NUMBERS)
    newcomer = session.create(templates.newcomer_private(KeyKind.RSA_2048, numbers))
    try:
        return session.wrap(Mechanism.AES_KEY_WRAP_PAD, kek.handle, newcomer)
    finally:
        session.destroy(newcomer)


@contextmanager
def _test_key(operations: Operations, kek: Kek, wrapped: bytes, usage: KeyUsage) -> Iterator[int]:
    template = templates.working(KeyKind.RSA_2048, usage)
    handle = operations.session.unwrap(Mechanism.AES_KEY_WRAP_PAD, kek.handle, wrapped, template)
    try:
        yield handle
    finally:
        operations.session.destroy(handle)


def _decrypts(operations: Operations, handle: int, how: OaepMethod) -> bool:
    digest = public_keys.HASHES[how.hash_name]
    public = _TEST_NUMBERS.public_numbers
    sealed = public.public_key().encrypt(b"probe", padding.OAEP(padding.MGF1(digest), digest, None))
    try:
        return operations.decrypt_oaep(handle, [sealed], how, public.n) == [b"probe"]
    except CryptokiError:
        return False


_TESTS: dict[Pair, Test] = {
    **{(kind, KeyUsage.ENCRYPT): _prove_cipher for kind in (KeyKind.AES_128, KeyKind.AES_256)},
    **{(kind, KeyUsage.MAC): _prove_cmac for kind in (KeyKind.AES_128, KeyKind.AES_256)},
    **{(kind, KeyUsage.DERIVE): _prove_derivation for kind in (KeyKind.AES_128, KeyKind.AES_256)},
    (KeyKind.HMAC, KeyUsage.MAC): _prove_hmac,
    **{(kind, KeyUsage.SIGN): _prove_ec for kind in templates.EC_PARAMETERS},
}
_RSA_SCHEMES = {
    KeyUsage.SIGN: (SignatureScheme.RSA_PKCS1V15, SignatureScheme.RSA_PSS),
    KeyUsage.SIGN_DECRYPT: (SignatureScheme.RSA_PKCS1V15,),
}
