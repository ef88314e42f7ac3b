"""The mount's wrapping key: an RSA-4096 pair under whose public half others send us keys (BYOK).

A wrapped key is RSAES-OAEP (RFC 8017, 7.1) of an ephemeral AES-256 key, 512 bytes, and behind it the key itself under
AES-KWP (RFC 5649) with that ephemeral key: what PKCS#11 calls CKM_RSA_AES_KEY_WRAP. The pair is made when it is first
asked for, in the HSM where the token can, and stays.
"""

import asyncio

import msgspec
from cryptography.hazmat.primitives.keywrap import (
    InvalidUnwrap,
    aes_key_unwrap_with_padding,
    aes_key_wrap_with_padding,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from core import public_keys
from core.errors import CasMismatchError, CiphertextError, InvalidRequestError
from core.protocols import DecodedCache, Entry, KeyCustodian, KeyKind, KeyUsage, StorageView, WrappedKey
from core.secret import Secret

PATH = "wrapping-key"
OAEP_BYTES = 512
EPHEMERAL_BYTES = 32
MAX_BYTES = 16 * 1024  # of a wrapped key: RSA-4096 takes 3 KiB
HASH_FUNCTIONS = ("sha1", "sha224", "sha256", "sha384", "sha512")

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(WrappedKey).decode


class WrappingKey:
    """The wrapping key of one mount, as one worker sees it."""

    def __init__(self, storage: StorageView, keys: KeyCustodian) -> None:
        self._storage = storage
        self._keys = keys
        self._cache: DecodedCache[WrappedKey] = storage.decoded_cache(_load, capacity=1)
        self._making = asyncio.Lock()

    async def public_key(self) -> str:
        """PEM of its public half."""
        key = await self._key()
        if key.public_key is None:
            raise RuntimeError("an RSA key was made without its public half")
        return pem_public_key(key.public_key)

    async def unwrap(self, wrapped: bytes, *, hash_name: str) -> Secret:
        """The key inside; `hash_name` is OAEP's. Raises CiphertextError with one sentence, whatever is wrong.

        A failure of OAEP goes through AES-KWP as well, under a key that nobody has, so that time does not tell the two
        apart (RFC 8017, 7.1.2, note).
        """
        if not OAEP_BYTES < len(wrapped) <= MAX_BYTES:
            raise _does_not_open()
        key = await self._key()
        [opened] = await self._keys.decrypt_oaep(key, (wrapped[:OAEP_BYTES],), hash_name=hash_name)
        ephemeral = await self._keys.random(EPHEMERAL_BYTES)
        if not isinstance(opened, CiphertextError) and len(opened) == EPHEMERAL_BYTES:
            ephemeral = opened
        try:
            return Secret(aes_key_unwrap_with_padding(ephemeral, wrapped[OAEP_BYTES:]))
        except (InvalidUnwrap, ValueError):  # ValueError: not whole blocks
            raise _does_not_open() from None

    async def _key(self) -> WrappedKey:
        return self._cache.peek(PATH) or await self._cache.get(PATH) or await self._make()

    async def _make(self) -> WrappedKey:
        """One request of this worker makes it; of several workers the first to write wins, and all take its key."""
        async with self._making:
            key = await self._cache.get(PATH)
            if key is None:
                key = await self._keys.generate_key(KeyKind.RSA_4096, usage=KeyUsage.ENCRYPT)
                try:
                    await self._storage.put(PATH, _encode(key), cas=0)
                except CasMismatchError:
                    key = await self._cache.get(PATH)
            if key is None:
                raise RuntimeError("the wrapping key was written and is not there")
            return key


async def wrap_for_import(keys: KeyCustodian, material: Secret, public_key: bytes, *, hash_name: str) -> bytes:
    """`material` as another mount's `import` takes it; `public_key` is the SubjectPublicKeyInfo of its wrapping key."""
    ephemeral = await keys.random(EPHEMERAL_BYTES)
    sealed_key = public_keys.encrypt_oaep(public_key, ephemeral, hash_name=hash_name)
    return sealed_key + aes_key_wrap_with_padding(ephemeral, material.expose())


def parse_hash_function(text: str) -> str:
    """OAEP's hash as Vault names it ("SHA256"). Raises InvalidRequestError."""
    name = text.lower().replace("-", "")
    if name not in HASH_FUNCTIONS:
        raise InvalidRequestError("unknown hash function: use SHA1, SHA224, SHA256, SHA384 or SHA512")
    return name


def pem_public_key(public_key: bytes) -> str:
    """PEM of a SubjectPublicKeyInfo."""
    return load_der_public_key(public_key).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


async def _load(_view: StorageView, _path: str, entry: Entry) -> WrappedKey:
    return _decode(entry.value)


def _does_not_open() -> CiphertextError:
    return CiphertextError(
        "the ciphertext does not open: it must be an AES-256 key under the wrapping key (RSA-OAEP with hash_function,"
        " 512 bytes), and behind it the key to import under that AES key (AES-KWP, RFC 5649)"
    )
