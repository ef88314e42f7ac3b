"""What a client does to send a key: key pairs, and material wrapped for import."""

import os
from functools import lru_cache

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, padding, rsa
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)

from transit.format import encode_base64

SYMMETRIC = {
    "aes128-gcm96": 16,
    "aes256-gcm96": 32,
    "chacha20-poly1305": 32,
    "xchacha20-poly1305": 32,
    "hmac": 48,
    "aes256-cmac": 32,
}
ASYMMETRIC = (
    "ed25519",
    "ecdsa-p256",
    "ecdsa-p384",
    "ecdsa-p521",
    "rsa-2048",
    "ml-dsa-44",
    "ml-dsa-65",
    "ml-dsa-87",
)
TYPES = (*SYMMETRIC, *ASYMMETRIC)


@lru_cache
def key_pair(name: str, number: int = 0):
    """A key pair of that type; another one for another number."""
    if name.startswith("rsa-"):
        return rsa.generate_private_key(65537, int(name[4:]))
    if name.startswith("ecdsa-"):
        return ec.generate_private_key({"256": ec.SECP256R1(), "384": ec.SECP384R1(), "521": ec.SECP521R1()}[name[-3:]])
    return {
        "ed25519": ed25519.Ed25519PrivateKey,
        "ml-dsa-44": mldsa.MLDSA44PrivateKey,
        "ml-dsa-65": mldsa.MLDSA65PrivateKey,
        "ml-dsa-87": mldsa.MLDSA87PrivateKey,
    }[name].generate()


@lru_cache
def material(name: str, number: int = 0) -> bytes:
    """What is wrapped: raw bytes, or PKCS #8."""
    if name in SYMMETRIC:
        return os.urandom(SYMMETRIC[name])
    return key_pair(name, number).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def public_pem(name: str, number: int = 0) -> str:
    """The public half."""
    public = key_pair(name, number).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def wrap(wrapping_key: str, octets: bytes, hash_name: str = "SHA256", *, ephemeral: bytes | None = None) -> str:
    """Base64 of RSA-OAEP of an ephemeral AES key, and AES-KWP of the octets under it."""
    key = load_pem_public_key(wrapping_key.encode())
    assert isinstance(key, rsa.RSAPublicKey)
    ephemeral = ephemeral or os.urandom(32)
    algorithm: hashes.HashAlgorithm = getattr(hashes, hash_name)()
    oaep = padding.OAEP(padding.MGF1(algorithm), algorithm, None)
    return encode_base64(key.encrypt(ephemeral, oaep) + aes_key_wrap_with_padding(ephemeral, octets))
