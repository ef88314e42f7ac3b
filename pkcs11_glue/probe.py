"""What a token can do: its mechanism list, and for what Mimir uses, a proof by doing it at start.

Each kind of key is taken through its life: made, wrapped under the KEK, unwrapped, used, and the result checked in
software. That takes some milliseconds in SoftHSM. RSA keys take too long to generate, so a test key is imported.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import msgspec
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pkcs11.constants import Attribute
from pkcs11.mechanisms import Mechanism

from core import public_keys
from core.errors import CiphertextError, MimirError
from core.protocols import AeadInput, KeyKind, KeyUsage, SignatureScheme
from pkcs11_glue import keys, templates
from pkcs11_glue.cryptoki import CryptokiError
from pkcs11_glue.kek import Kek
from pkcs11_glue.operations import HMACS, NONCE_BYTES, Operations

_PROBE_VALUE = bytes(range(32))
_LATENCY_SAMPLES = 21
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

_EC = {KeyKind.EC_P256, KeyKind.EC_P384, KeyKind.EC_P521}
_RSA = set(templates.RSA_BITS)
_PROVES = {  # mechanisms that a kind's test has exercised when it passed
    KeyKind.AES_256: (Mechanism.AES_KEY_GEN, Mechanism.AES_GCM, Mechanism.AES_KEY_WRAP),
    KeyKind.HMAC: (Mechanism.GENERIC_SECRET_KEY_GEN, *HMACS.values()),
    KeyKind.EC_P256: (Mechanism.EC_KEY_PAIR_GEN, Mechanism.ECDSA, Mechanism.AES_KEY_WRAP_PAD),
    KeyKind.RSA_2048: (Mechanism.RSA_PKCS, Mechanism.RSA_PKCS_PSS),
}


class MechanismStatus(msgspec.Struct, frozen=True):
    """A mechanism of the token, and whether the self-test used it with the right result."""

    name: str
    proven: bool


def set_up_probe(operations: Operations) -> tuple[int, bytes]:
    """A session key and the known answer of its health check; also a first proof of AES-GCM, against software."""
    try:
        template = templates.imported_secret(KeyKind.AES_256, _PROBE_VALUE, KeyUsage.ENCRYPT)
        key = operations.session.create(template)
        expected = AESGCM(_PROBE_VALUE).encrypt(bytes(NONCE_BYTES), b"", b"")
    except CryptokiError:  # some HSMs import nothing: then the first answer is the known one
        template = templates.working(KeyKind.AES_256, KeyUsage.ENCRYPT) | {Attribute.VALUE_LEN: 32}
        key = operations.session.generate_secret(Mechanism.AES_KEY_GEN, template)
        expected = operations.encrypt_with_nonce(key, bytes(NONCE_BYTES), b"", b"")
    return key, expected


def prove_kinds(operations: Operations, kek: Kek) -> frozenset[KeyKind]:
    """The kinds of key whose whole life was seen to work on this token."""
    tests: dict[KeyKind, Callable[[Operations, Kek, KeyKind], bool]] = {
        KeyKind.AES_128: _prove_aes,
        KeyKind.AES_256: _prove_aes,
        KeyKind.HMAC: _prove_hmac,
        **dict.fromkeys(_EC, _prove_ec),
        KeyKind.RSA_2048: _prove_rsa,
    }
    proven = {kind for kind, test in tests.items() if _passes(test, operations, kek, kind)}
    if KeyKind.RSA_2048 in proven:
        proven |= _RSA
    return frozenset(proven)


def mechanism_statuses(listed: list[int], proven: frozenset[KeyKind]) -> list[MechanismStatus]:
    """The token's list, by name."""
    used = {int(m) for kind in proven for m in _PROVES.get(kind, ())}
    return [MechanismStatus(_name(number), number in used) for number in listed]


def measure_latency(operations: Operations) -> float:
    """Microseconds of a small encryption: the fastest of some, so that a busy machine does not look like a slow HSM."""
    samples = []
    for _ in range(_LATENCY_SAMPLES):
        start = time.perf_counter()
        operations.is_healthy()
        samples.append(time.perf_counter() - start)
    return min(samples) * 1e6


def measure_thread_hop() -> float:
    """Microseconds to have nothing done on a thread: what a call costs more that does not run inline."""
    samples = []
    with ThreadPoolExecutor(1) as thread:
        for _ in range(_LATENCY_SAMPLES):
            start = time.perf_counter()
            thread.submit(bool).result()
            samples.append(time.perf_counter() - start)
    return min(samples) * 1e6


def _passes(test: Callable[[Operations, Kek, KeyKind], bool], operations: Operations, kek: Kek, kind: KeyKind) -> bool:
    try:
        return test(operations, kek, kind)
    except (CryptokiError, MimirError):
        return False


def _live(operations: Operations, kek: Kek, kind: KeyKind, usage: KeyUsage) -> tuple[int, bytes]:
    """A key that was generated, wrapped and unwrapped; its handle and public key."""
    key = keys.generate(operations, kind, usage=usage, under=keys.WrappingKeys(kek=kek, escrow=None))
    return keys.unwrap(operations, key, kek), key.public_key or b""


def _prove_aes(operations: Operations, kek: Kek, kind: KeyKind) -> bool:
    handle, _ = _live(operations, kek, kind, KeyUsage.ENCRYPT)
    try:
        (sealed,) = operations.encrypt(handle, [AeadInput(_DIGEST, b"probe")])
        opened, refused = operations.decrypt(handle, [AeadInput(sealed, b"probe"), AeadInput(sealed, b"other")])
        return opened == _DIGEST and isinstance(refused, CiphertextError)
    finally:
        operations.session.destroy(handle)


def _prove_hmac(operations: Operations, kek: Kek, kind: KeyKind) -> bool:
    value = bytes(range(64))
    imported = operations.session.create(templates.imported_secret(kind, value, KeyUsage.MAC))
    handle, _ = _live(operations, kek, kind, KeyUsage.MAC)
    try:
        for name in HMACS:
            software = hmac.HMAC(value, public_keys.HASHES[name])
            software.update(_DIGEST)
            if operations.mac(imported, [_DIGEST], hash_name=name) != [software.finalize()]:
                return False
        return len(operations.mac(handle, [_DIGEST], hash_name="sha512")[0]) == hashes.SHA512.digest_size
    finally:
        operations.session.destroy(imported)
        operations.session.destroy(handle)


def _prove_ec(operations: Operations, kek: Kek, kind: KeyKind) -> bool:
    handle, public_key = _live(operations, kek, kind, KeyUsage.SIGN)
    try:
        (signature,) = operations.sign(handle, [_DIGEST], scheme=SignatureScheme.ECDSA, hash_name="sha256")
        public_keys.verify_signature(public_key, signature, _DIGEST, scheme=SignatureScheme.ECDSA)
    finally:
        operations.session.destroy(handle)
    return True


def _prove_rsa(operations: Operations, kek: Kek, kind: KeyKind) -> bool:
    newborn = operations.session.create(_test_key_template())
    try:
        wrapped = operations.session.wrap(Mechanism.AES_KEY_WRAP_PAD, kek.handle, newborn)
    finally:
        operations.session.destroy(newborn)
    template = templates.working(kind, KeyUsage.SIGN)
    handle = operations.session.unwrap(Mechanism.AES_KEY_WRAP_PAD, kek.handle, wrapped, template)
    public_key = rsa.RSAPublicNumbers(_TEST_E, _TEST_P * _TEST_Q).public_key()
    der = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    try:
        for scheme in (SignatureScheme.RSA_PKCS1V15, SignatureScheme.RSA_PSS):
            (signature,) = operations.sign(handle, [_DIGEST], scheme=scheme, hash_name="sha256")
            public_keys.verify_signature(der, signature, _DIGEST, scheme=scheme)
    finally:
        operations.session.destroy(handle)
    return True


def _test_key_template() -> dict[Attribute, templates.Value]:
    p, q, e = _TEST_P, _TEST_Q, _TEST_E
    d = pow(e, -1, (p - 1) * (q - 1))
    numbers = {
        Attribute.MODULUS: p * q,
        Attribute.PUBLIC_EXPONENT: e,
        Attribute.PRIVATE_EXPONENT: d,
        Attribute.PRIME_1: p,
        Attribute.PRIME_2: q,
        Attribute.EXPONENT_1: d % (p - 1),
        Attribute.EXPONENT_2: d % (q - 1),
        Attribute.COEFFICIENT: pow(q, -1, p),
    }
    shape = templates.working(KeyKind.RSA_2048, KeyUsage.SIGN) | {Attribute.EXTRACTABLE: True}
    return shape | {name: value.to_bytes((value.bit_length() + 7) // 8, "big") for name, value in numbers.items()}


def _name(number: int) -> str:
    try:
        return Mechanism(number).name
    except ValueError:
        return f"0x{number:08x}"
