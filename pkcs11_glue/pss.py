"""EMSA-PSS-ENCODE (RFC 8017, 9.1.1), for the hashes that the token's own PSS lacks: SHA-3 on every token so far.

What comes out is signed by raw RSA inside the HSM. Nothing here is secret: salt and digest can be read from any
signature with the public key.
"""

from core.public_keys import longest_pss_salt
from pkcs11_glue.mgf import HASHES, mask, mgf1

_TRAILER = b"\xbc"


def longest_salt(modulus_bytes: int, hash_name: str) -> int:
    """In bytes, for a modulus whose bits fill its bytes."""
    return longest_pss_salt(8 * modulus_bytes, hash_name)


def encode(digest: bytes, salt: bytes, *, modulus_bytes: int, hash_name: str) -> bytes:
    """The encoded message, as long as the modulus and less than it. `hash_name` made the digest, and is MGF1's too."""
    final = HASHES[hash_name](bytes(8) + digest + salt).digest()
    padding = bytes(longest_salt(modulus_bytes, hash_name) - len(salt))
    block = padding + b"\x01" + salt
    masked = mask(block, mgf1(final, len(block), hash_name))
    return bytes((masked[0] & 0x7F,)) + masked[1:] + final + _TRAILER  # emBits is one less than the modulus has
