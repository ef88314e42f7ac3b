"""KeyCustodian by the `cryptography` package: for unit tests of engines without an HSM.

Only what the engines' unit tests use: AES-GCM and HMAC. Whatever needs signatures runs on SoftHSM.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.errors import CiphertextError, HsmConfigError
from core.ids import new_uuid
from core.protocols import AeadInput, Custody, KeyKind, KeyUsage, SignatureScheme, WrappedKey

_SIZES = {KeyKind.AES_128: 16, KeyKind.AES_256: 32, KeyKind.HMAC: 64}


class SoftwareKeys:
    """Keys wrapped under a key that lives as long as the test; `custody` is what it claims to be."""

    def __init__(self) -> None:
        self._kek = AESGCM(os.urandom(32))
        self.calls: list[tuple[str, int]] = []  # operation and batch size, one row a pass

    def custody_of(self, kind: KeyKind) -> Custody:
        return Custody.HSM if kind in _SIZES else Custody.SEALED

    async def generate_key(self, kind: KeyKind, *, usage: KeyUsage) -> WrappedKey:
        if kind not in _SIZES:
            raise HsmConfigError(f"the software keys of the tests make no {kind.value}")
        key_id = new_uuid()
        nonce = os.urandom(12)
        wrapped = nonce + self._kek.encrypt(nonce, os.urandom(_SIZES[kind]), key_id.encode())
        return WrappedKey(
            key_id=key_id,
            kind=kind,
            usage=usage,
            custody=Custody.HSM,
            mechanism="AES_KEY_WRAP",
            kek_id="software",
            wrapped=wrapped,
        )

    def _open(self, key: WrappedKey) -> bytes:
        return self._kek.decrypt(key.wrapped[:12], key.wrapped[12:], key.key_id.encode())

    async def encrypt(self, key: WrappedKey, items: Sequence[AeadInput]) -> list[bytes]:
        self.calls.append(("encrypt", len(items)))
        aead = AESGCM(self._open(key))
        nonces = [os.urandom(12) for _ in items]
        return [
            nonce + aead.encrypt(nonce, item.payload, item.associated_data)
            for nonce, item in zip(nonces, items, strict=True)
        ]

    async def decrypt(self, key: WrappedKey, items: Sequence[AeadInput]) -> list[bytes | CiphertextError]:
        self.calls.append(("decrypt", len(items)))
        aead = AESGCM(self._open(key))
        return [_decrypt_one(aead, item) for item in items]

    async def mac(self, key: WrappedKey, messages: Sequence[bytes], *, hash_name: str) -> list[bytes]:
        self.calls.append(("mac", len(messages)))
        return [hmac.digest(self._open(key), message, hash_name) for message in messages]

    async def sign(
        self, key: WrappedKey, digests: Sequence[bytes], *, scheme: SignatureScheme, hash_name: str = "sha256"
    ) -> list[bytes]:
        raise HsmConfigError("the software keys of the tests do not sign")

    async def random(self, length: int) -> bytes:
        return os.urandom(length)


def _decrypt_one(aead: AESGCM, item: AeadInput) -> bytes | CiphertextError:
    try:
        return aead.decrypt(item.payload[:12], item.payload[12:], item.associated_data)
    except (InvalidTag, ValueError):
        return CiphertextError("the ciphertext does not authenticate")
