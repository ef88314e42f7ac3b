"""MGF1 (RFC 8017, B.2.1) and the hashes of PSS and OAEP, where the encoding is done here and the HSM does raw RSA."""

import hashlib

HASHES = {
    "sha1": hashlib.sha1,
    "sha224": hashlib.sha224,
    "sha256": hashlib.sha256,
    "sha384": hashlib.sha384,
    "sha512": hashlib.sha512,
    "sha3-224": hashlib.sha3_224,
    "sha3-256": hashlib.sha3_256,
    "sha3-384": hashlib.sha3_384,
    "sha3-512": hashlib.sha3_512,
}
DIGEST_BYTES = {name: make().digest_size for name, make in HASHES.items()}


def mgf1(seed: bytes, length: int, hash_name: str) -> bytes:
    """A mask of `length` bytes."""
    make, blocks = HASHES[hash_name], -(-length // DIGEST_BYTES[hash_name])
    return b"".join(make(seed + counter.to_bytes(4, "big")).digest() for counter in range(blocks))[:length]


def mask(data: bytes, mask_of_equal_length: bytes) -> bytes:
    """Exclusive or."""
    number = int.from_bytes(data, "big") ^ int.from_bytes(mask_of_equal_length, "big")
    return number.to_bytes(len(data), "big")
