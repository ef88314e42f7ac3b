"""A SCRAM-SHA-256 verifier as PostgreSQL stores it, so that a password never reaches the server or its log.

RFC 5802, section 3, and RFC 7677; PostgreSQL's form: SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>
(src/common/scram-common.c, scram_build_secret).
"""

import asyncio
import base64
import os

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

ITERATIONS = 4096  # PostgreSQL's default, and the least that RFC 7677 recommends; some clients insist on it
_SALT = 16  # octets
_QUICK = 64  # iterations that take less than the way to another thread


async def verifier(password: str, *, iterations: int = ITERATIONS) -> str:
    """For ALTER ROLE … PASSWORD. A password beyond ASCII would need SASLprep (RFC 4013) and is answered as it is."""
    if not password.isascii() or not password.isprintable():
        return password
    salt = os.urandom(_SALT)
    if iterations <= _QUICK:
        return build(password, salt, iterations)
    return await asyncio.to_thread(build, password, salt, iterations)


def build(password: str, salt: bytes, iterations: int = ITERATIONS) -> str:
    """The verifier; about a millisecond, in which other threads run."""
    salted = PBKDF2HMAC(hashes.SHA256(), 32, salt, iterations).derive(password.encode())
    digest = hashes.Hash(hashes.SHA256())
    digest.update(_mac(salted, b"Client Key"))
    stored, server = digest.finalize(), _mac(salted, b"Server Key")
    return f"SCRAM-SHA-256${iterations}:{_text(salt)}${_text(stored)}:{_text(server)}"


def _mac(key: bytes, message: bytes) -> bytes:
    mac = HMAC(key, hashes.SHA256())
    mac.update(message)
    return mac.finalize()


def _text(octets: bytes) -> str:
    return base64.b64encode(octets).decode()
