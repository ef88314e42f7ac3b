"""KeyCustodian by the `cryptography` package: for unit tests of engines without an HSM.

The keys are those of `sealed` custody, executed by the product's own code; what it calls `hsm` custody behaves as on
SoftHSM where an engine can tell the difference.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.errors import CiphertextError, KeyPolicyError
from core.ids import new_uuid
from core.protocols import AeadInput, Custody, KeyKind, KeyUsage, SignatureScheme, WrappedKey
from core.public_keys import CURVES, RSA_BITS
from core.secret import Secret
from pkcs11_glue.sealed import binding
from pkcs11_glue.software import SoftwareKey, check_software_usage, checked_material, new_material, open_software

_IN_THE_HSM = {KeyKind.AES_128, KeyKind.AES_256, KeyKind.HMAC, *CURVES, *RSA_BITS}


class SoftwareKeys:
    """Keys wrapped under a key that lives as long as the test; `custody` is what it claims to be."""

    def __init__(self) -> None:
        self._kek = AESGCM(os.urandom(32))
        self._live: dict[str, SoftwareKey] = {}
        self.calls: list[tuple[str, int]] = []  # operation and batch size, one row a pass

    def custody_of(self, kind: KeyKind, usage: KeyUsage) -> Custody:
        check_software_usage(kind, usage)
        return Custody.HSM if kind in _IN_THE_HSM else Custody.SEALED

    async def generate_key(
        self, kind: KeyKind, *, usage: KeyUsage, custody: Custody | None = None, size: int = 0
    ) -> WrappedKey:
        custody = self._custody(kind, usage, custody)
        return self._wrap(kind, usage, custody, new_material(kind, os.urandom, size=size))

    async def import_key(
        self, kind: KeyKind, material: Secret, *, usage: KeyUsage, custody: Custody | None = None
    ) -> WrappedKey:
        if kind is KeyKind.HMAC and custody is None and len(material) % 8:
            custody = Custody.SEALED
        return self._wrap(kind, usage, self._custody(kind, usage, custody), material)

    async def export_key(self, key: WrappedKey) -> Secret:
        if key.custody is Custody.HSM:
            raise KeyPolicyError("this key is in the HSM and cannot leave it")
        return self._material(key)

    def _custody(self, kind: KeyKind, usage: KeyUsage, asked: Custody | None) -> Custody:
        possible = self.custody_of(kind, usage)
        if asked is Custody.HSM and possible is not Custody.HSM:
            raise KeyPolicyError(f"the HSM token cannot hold keys of type {kind.value} to {usage.value}")
        return asked or possible

    def _wrap(self, kind: KeyKind, usage: KeyUsage, custody: Custody, material: Secret) -> WrappedKey:
        checked = checked_material(kind, material)
        key_id, nonce = new_uuid(), os.urandom(12)
        in_hsm = custody is Custody.HSM
        return WrappedKey(
            key_id=key_id,
            kind=kind,
            usage=usage,
            custody=custody,
            mechanism="AES_KEY_WRAP" if in_hsm else "AES_GCM",
            kek_id="software",
            wrapped=nonce + self._kek.encrypt(nonce, checked.secret.expose(), binding(key_id, kind, usage)),
            public_key=None if usage is KeyUsage.DERIVE else checked.public_key,
        )

    def _material(self, key: WrappedKey) -> Secret:
        associated_data = binding(key.key_id, key.kind, key.usage)
        try:
            return Secret(self._kek.decrypt(key.wrapped[:12], key.wrapped[12:], associated_data))
        except InvalidTag as exc:
            raise CiphertextError(f"the wrapped key {key.key_id} does not open") from exc

    def _open(self, key: WrappedKey) -> SoftwareKey:
        if key.key_id not in self._live:
            self._live[key.key_id] = open_software(key.kind, key.usage, self._material(key))
        return self._live[key.key_id]

    async def encrypt(self, key: WrappedKey, items: Sequence[AeadInput], *, convergent: bool = False) -> list[bytes]:
        self.calls.append(("encrypt", len(items)))
        _check_contexts(key, items)
        return self._open(key).encrypt(items, convergent=convergent)

    async def decrypt(self, key: WrappedKey, items: Sequence[AeadInput]) -> list[bytes | CiphertextError]:
        self.calls.append(("decrypt", len(items)))
        _check_contexts(key, items)
        return self._open(key).decrypt(items)

    async def decrypt_oaep(
        self, key: WrappedKey, ciphertexts: Sequence[bytes], *, hash_name: str = "sha256"
    ) -> list[bytes | CiphertextError]:
        self.calls.append(("decrypt_oaep", len(ciphertexts)))
        return self._open(key).decrypt_oaep(ciphertexts, hash_name=hash_name)

    async def mac(self, key: WrappedKey, messages: Sequence[bytes], *, hash_name: str = "") -> list[bytes]:
        self.calls.append(("mac", len(messages)))
        if key.custody is Custody.HSM and hash_name.startswith("sha3-"):
            raise KeyPolicyError("the HSM has no HMAC with SHA-3; a key of sealed custody can do it")
        return self._open(key).mac(messages, hash_name=hash_name)

    async def sign(
        self,
        key: WrappedKey,
        digests: Sequence[bytes],
        *,
        scheme: SignatureScheme,
        hash_name: str = "sha256",
        salt_length: int | None = None,
        context: bytes = b"",
    ) -> list[bytes]:
        self.calls.append(("sign", len(digests)))
        return self._open(key).sign(
            digests, scheme=scheme, hash_name=hash_name, salt_length=salt_length, context=context
        )

    async def derived_public_key(self, key: WrappedKey, context: bytes) -> bytes:
        return self._open(key).derived_public_key(context)

    async def random(self, length: int) -> bytes:
        return os.urandom(length)


def _check_contexts(key: WrappedKey, items: Sequence[AeadInput]) -> None:
    """An engine that sends contexts to a key that derives nothing has forgotten to refuse them itself."""
    if key.usage is not KeyUsage.DERIVE and any(item.context for item in items):
        raise KeyPolicyError("this key is not a derived one: leave the context out")
