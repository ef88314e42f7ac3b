"""Private keys from anybody: read without the work that a forged one could make without end.

OpenSSL tests the primes of an RSA key and the group of a DH key before it says anything, for minutes when they are long
ones, and nothing else runs in the process meanwhile. So nothing is tested before its size is known.
"""

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_der_private_key

from pki.der import content_of

LABELS = ("PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY")  # of PEM: PKCS #8, PKCS #1, SEC 1
_LONGEST = 16 * 1024  # octets; an RSA key of 4096 bits has 2,400
_MODULUS_BITS = 4096
_SEQUENCE = 0x30
# by the content of their OID: RSA, RSASSA-PSS, EC, Ed25519, ML-DSA-44, -65 and -87
_TAKEN = frozenset(
    bytes.fromhex(oid)
    for oid in (
        "2a864886f70d010101",
        "2a864886f70d01010a",
        "2a8648ce3d0201",
        "2b6570",
        "608648016503040311",
        "608648016503040312",
        "608648016503040313",
    )
)


def load_private_key(der: bytes) -> PrivateKeyTypes:
    """A key without a password, whose halves belong together: who has it can sign for its public half.

    The primes of an RSA key are not tested, only that they are factors. Raises ValueError.
    """
    if len(der) > _LONGEST or not _is_of_taken_kind(der):
        raise ValueError("not a private key of a kind that is taken")
    try:
        key = load_der_private_key(der, None, unsafe_skip_rsa_key_validation=True)
    except (TypeError, UnsupportedAlgorithm) as exc:
        raise ValueError("not a private key that can be read") from exc
    if isinstance(key, rsa.RSAPrivateKey):
        _check_factors(key)
    return key


def _is_of_taken_kind(der: bytes) -> bool:
    """In PKCS #8 the algorithm stands behind the version (RFC 5208, 5); older forms have none there."""
    try:
        start, _ = content_of(der, 0)
        _, algorithm = content_of(der, start)
        if der[algorithm] != _SEQUENCE:
            return True
        oid, _ = content_of(der, algorithm)
        start, end = content_of(der, oid)
    except IndexError:
        return False
    return der[start:end] in _TAKEN


def _check_factors(key: rsa.RSAPrivateKey) -> None:
    """Whoever knows the factors of a modulus has its private key, whatever else he wrote into it."""
    numbers = key.private_numbers()
    p, q, n = numbers.p, numbers.q, numbers.public_numbers.n
    if n.bit_length() > _MODULUS_BITS or not (1 < p < n and 1 < q < n and p * q == n and numbers.d < n):
        raise ValueError("not an RSA key of 4096 bits at most whose primes make its modulus")
