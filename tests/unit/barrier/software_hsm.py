"""A software stand-in for the HSM, for tests: same promises, no custody. Keys are in this process's memory.

Wrapping is RFC 3394 under KEKs that the caller gives, so that two processes can be handed the same "token".
"""

import hmac
import os
from collections.abc import Collection, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from core.errors import CiphertextError, HsmConfigError, HsmGoneError
from core.ids import new_uuid
from core.protocols import AeadInput, Custody, KeyKind, KeyUsage, SignatureScheme, WrappedKey
from core.secret import Secret

_SIZES = {KeyKind.AES_128: 16, KeyKind.AES_256: 32, KeyKind.HMAC: 64}


class SoftwareHsm:
    """Implements barrier.ports.SealHsm."""

    def __init__(
        self, *, kek: bytes = b"K" * 32, kek_id: str = "kek-1", escrow: bytes | None = None, escrow_id: str = "escrow-1"
    ) -> None:
        self._keks = {kek_id: kek}
        self._active = kek_id
        self._escrow = escrow or os.urandom(32)
        self._provisioned = escrow_id
        self._escrow_id = ""
        self._settled = False
        self._loaded: dict[str, bytes] = {}
        self.sealing_key: WrappedKey | None = None
        self.gone = False

    # --- the token ------------------------------------------------------------------------------------------------

    @property
    def active_kek_id(self) -> str:
        return self._active

    @property
    def kek_ids(self) -> Collection[str]:
        return self._keks.keys()

    @property
    def escrow_id(self) -> str:
        return self._escrow_id

    def require_kek(self, kek_id: str) -> None:
        if kek_id not in self._keks:
            raise HsmConfigError(f"the token holds no KEK {kek_id}")

    async def release_escrow_key(self) -> Secret:
        if self._settled or not self._provisioned:
            raise HsmConfigError("the escrow key has left the token already, or never was")
        self._escrow_id = self._provisioned
        return Secret(self._escrow)

    async def discard_escrow_key(self) -> None:
        if self._settled and self._escrow_id:
            raise HsmConfigError("the escrow key was claimed already")
        self._escrow_id = ""

    async def settle_escrow(self) -> None:
        self._settled = True

    async def escrow_challenge(self) -> tuple[bytes, bytes]:
        value = os.urandom(32)
        return value, aes_key_wrap(self._escrow, value)

    def set_sealing_key(self, key: WrappedKey) -> None:
        self.sealing_key = key

    def expect_escrow(self, escrow_id: str) -> None:
        self.expected_escrow = escrow_id

    def drop_keys(self) -> None:
        self._loaded.clear()
        self.sealing_key = None

    @property
    def loaded_keys(self) -> int:
        return len(self._loaded)

    # --- keys -----------------------------------------------------------------------------------------------------

    def custody_of(self, kind: KeyKind) -> Custody:
        return Custody.HSM if kind in _SIZES else Custody.SEALED

    async def generate_key(self, kind: KeyKind, *, usage: KeyUsage) -> WrappedKey:
        self._check_present()
        value = os.urandom(_SIZES[kind])
        return WrappedKey(
            key_id=new_uuid(),
            kind=kind,
            usage=usage,
            custody=Custody.HSM,
            mechanism="AES_KEY_WRAP",
            kek_id=self._active,
            wrapped=aes_key_wrap(self._keks[self._active], value),
            escrow=aes_key_wrap(self._escrow, value) if self._escrow_id else None,
            escrow_id=self._escrow_id,
        )

    def _check_present(self) -> None:
        if self.gone:
            raise HsmGoneError("the HSM is gone", code="CKR_DEVICE_REMOVED")

    def _load(self, key: WrappedKey) -> bytes:
        self._check_present()
        self.require_kek(key.kek_id)
        if key.key_id not in self._loaded:
            try:
                self._loaded[key.key_id] = aes_key_unwrap(self._keks[key.kek_id], key.wrapped)
            except InvalidUnwrap as exc:
                raise HsmConfigError(
                    f"KEK {key.kek_id} does not unwrap this key", code="CKR_WRAPPED_KEY_INVALID"
                ) from exc
        return self._loaded[key.key_id]

    async def encrypt(self, key: WrappedKey, items: Sequence[AeadInput]) -> list[bytes]:
        cipher = AESGCM(self._load(key))
        nonces = [os.urandom(12) for _ in items]
        return [
            nonce + cipher.encrypt(nonce, item.payload, item.associated_data)
            for nonce, item in zip(nonces, items, strict=True)
        ]

    async def decrypt(self, key: WrappedKey, items: Sequence[AeadInput]) -> list[bytes | CiphertextError]:
        cipher = AESGCM(self._load(key))
        return [_decrypt_one(cipher, item) for item in items]

    async def mac(self, key: WrappedKey, messages: Sequence[bytes], *, hash_name: str) -> list[bytes]:
        value = self._load(key)
        return [hmac.digest(value, message, hash_name) for message in messages]

    async def sign(
        self, key: WrappedKey, digests: Sequence[bytes], *, scheme: SignatureScheme, hash_name: str = "sha256"
    ) -> list[bytes]:
        raise NotImplementedError("the barrier signs nothing")

    async def random(self, length: int) -> bytes:
        return os.urandom(length)


def _decrypt_one(cipher: AESGCM, item: AeadInput) -> bytes | CiphertextError:
    if len(item.payload) < 28:
        return CiphertextError("the ciphertext does not authenticate")
    try:
        return cipher.decrypt(item.payload[:12], item.payload[12:], item.associated_data)
    except InvalidTag:
        return CiphertextError("the ciphertext does not authenticate")
