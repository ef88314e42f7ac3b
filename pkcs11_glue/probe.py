"""What a token says it can do, what it was seen to do, and how quick it is."""

import time
from concurrent.futures import ThreadPoolExecutor

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pkcs11.constants import Attribute
from pkcs11.mechanisms import Mechanism

from core.protocols import KeyKind, KeyUsage
from pkcs11_glue import templates
from pkcs11_glue.cryptoki import CryptokiError
from pkcs11_glue.macs import HMACS
from pkcs11_glue.operations import NONCE_BYTES, Operations
from pkcs11_glue.self_tests import Pair, Proof

_PROBE_VALUE = bytes(range(32))
_LATENCY_SAMPLES = 21
_PROVES: dict[Pair, tuple[Mechanism, ...]] = {  # mechanisms that a test has exercised when it passed
    (KeyKind.AES_256, KeyUsage.ENCRYPT): (Mechanism.AES_KEY_GEN, Mechanism.AES_GCM, Mechanism.AES_KEY_WRAP),
    (KeyKind.AES_256, KeyUsage.MAC): (Mechanism.AES_CMAC,),
    (KeyKind.AES_256, KeyUsage.DERIVE): (Mechanism.AES_ECB_ENCRYPT_DATA,),
    (KeyKind.HMAC, KeyUsage.MAC): (Mechanism.GENERIC_SECRET_KEY_GEN, *HMACS.values()),
    (KeyKind.EC_P256, KeyUsage.SIGN): (Mechanism.EC_KEY_PAIR_GEN, Mechanism.ECDSA, Mechanism.AES_KEY_WRAP_PAD),
    (KeyKind.RSA_2048, KeyUsage.SIGN): (Mechanism.RSA_PKCS, Mechanism.RSA_PKCS_PSS),
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


def mechanism_statuses(listed: list[int], proof: Proof) -> list[MechanismStatus]:
    """The token's list, by name."""
    used = {int(m) for pair in proof.pairs for m in _PROVES.get(pair, ())}
    used |= {int(Mechanism.RSA_X_509 if how.is_raw else Mechanism.RSA_PKCS_OAEP) for how in proof.oaep.values()}
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


def _name(number: int) -> str:
    try:
        return Mechanism(number).name.removeprefix("_")  # the enumeration writes some names with one
    except ValueError:
        return f"0x{number:08x}"
