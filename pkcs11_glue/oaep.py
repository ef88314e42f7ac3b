"""EME-OAEP decoding (RFC 8017, 7.1.2, step 3) of what raw RSA inside the HSM gave, for hashes its own OAEP lacks.

An attacker who could tell "the first byte is not zero" from any other fault would decrypt by asking (Manger, 2001). So
there is one verdict, all checks are made before it, and every input of one length takes the same steps: each byte is
looked at, and the separator is found by arithmetic and not by a search. What Python cannot promise: that its integers,
and the slice of a message of the length found, take the same time to the nanosecond. The raw result is in memory while
this runs, and so is the message, as it is after every decryption.
"""

import hmac

from pkcs11_glue.mgf import DIGEST_BYTES, HASHES, mask, mgf1


def unpad(encoded: bytes, hash_name: str) -> bytes | None:
    """The message in an encoded block as long as the modulus, with an empty label; None if it is not one."""
    size = DIGEST_BYTES[hash_name]
    masked_seed, masked_block = encoded[1 : 1 + size], encoded[1 + size :]
    seed = mask(masked_seed, mgf1(masked_block, size, hash_name))
    block = mask(masked_block, mgf1(seed, len(masked_block), hash_name))
    is_bad = encoded[0] | (not hmac.compare_digest(block[:size], HASHES[hash_name]().digest()))
    length, is_missing = _padding(block[size:])
    message = block[size + length :]
    return (message, None)[bool(is_bad | is_missing)]


def _padding(rest: bytes) -> tuple[int, int]:
    """How many bytes the zeros and the one behind them take, and not zero if they are not that."""
    looking, length, is_bad = 1, 1, 0
    for byte in rest:
        is_zero = (byte - 1) >> 8 & 1  # of -1 every bit is set
        is_one = ((byte ^ 1) - 1) >> 8 & 1
        is_bad |= looking & (is_zero ^ 1) & (is_one ^ 1)
        looking &= is_one ^ 1
        length += looking
    return length, is_bad | looking
