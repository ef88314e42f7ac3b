"""MGF1 (RFC 8017, B.2.1) and the hashes of PSS and OAEP, where the encoding is done here and the HSM does raw RSA."""

from pkcs11.mechanisms import MGF, Mechanism

from core import public_keys

HASHES = public_keys.DIGESTS
DIGEST_BYTES = {name: algorithm.digest_size for name, algorithm in public_keys.HASHES.items()}
MECHANISMS = {  # what PKCS#11 calls a hash in the parameters of PSS and OAEP; it has no such names for SHA-3 before 3.0
    "sha1": (Mechanism.SHA_1, MGF.SHA1),
    "sha224": (Mechanism.SHA224, MGF.SHA224),
    "sha256": (Mechanism.SHA256, MGF.SHA256),
    "sha384": (Mechanism.SHA384, MGF.SHA384),
    "sha512": (Mechanism.SHA512, MGF.SHA512),
}


def mgf1(seed: bytes, length: int, hash_name: str) -> bytes:
    """A mask of `length` bytes."""
    make, blocks = HASHES[hash_name], -(-length // DIGEST_BYTES[hash_name])
    return b"".join(make(seed + counter.to_bytes(4, "big")).digest() for counter in range(blocks))[:length]


def mask(data: bytes, mask_of_equal_length: bytes) -> bytes:
    """Exclusive or."""
    number = int.from_bytes(data, "big") ^ int.from_bytes(mask_of_equal_length, "big")
    return number.to_bytes(len(data), "big")
