"""Keys that a key with usage DERIVE makes inside the HSM, one for each context, and the convergent nonce.

    key = first bytes of AES-ECB(base key, SHA-256(label || context))    (CKM_AES_ECB_ENCRYPT_DATA)

SHA-256 makes two blocks of any context, and under the base key, which does nothing else, AES is a pseudorandom function
of them. The label ends in a zero byte and names what the result is for, so the cipher key of a context says nothing
about its nonce key. The templates are fixed here: SoftHSM would derive a readable key from a sensitive one.
"""

import hashlib
from collections.abc import Sequence
from enum import Enum

from pkcs11.constants import Attribute

from core.protocols import AeadInput, KeyKind, KeyUsage
from pkcs11_glue import templates
from pkcs11_glue.session import HsmSession


class Purpose(Enum):
    """What a derived key is for; the value is its label."""

    CIPHER = b"mimir derived cipher key v1\0"
    NONCE = b"mimir derived nonce key v1\0"

    __hash__ = object.__hash__


_NONCE_KEY_BYTES = 32  # HMAC-SHA-256 wants no less


def result(base: KeyKind, purpose: Purpose) -> tuple[KeyKind, KeyUsage]:
    """What is derived from a base key of that kind: a cipher key of the same kind, or an HMAC key."""
    if purpose is Purpose.NONCE:
        return KeyKind.HMAC, KeyUsage.MAC
    return base, KeyUsage.ENCRYPT


def cache_name(key_id: str, context: bytes, purpose: Purpose) -> str:
    """The name of the derived key among live keys; no key_id (a UUID) is like it."""
    return f"{key_id}:{_digest(context, purpose).hex()}"


def derive(session: HsmSession, base: int, base_kind: KeyKind, context: bytes, purpose: Purpose) -> int:
    """Make the session object that `result` describes; answers its handle."""
    kind, usage = result(base_kind, purpose)
    size = _NONCE_KEY_BYTES if kind is KeyKind.HMAC else templates.SECRET_BYTES[kind]
    template = templates.working(kind, usage) | {Attribute.VALUE_LEN: size}
    return session.derive_by_aes_ecb(base, _digest(context, purpose), template)


def nonce_inputs(items: Sequence[AeadInput]) -> list[bytes]:
    """What the convergent nonce is a MAC of: associated data with its length (8 bytes), then the plaintext.

    Both, since one nonce under two associated data would give away GCM's authentication key.
    """
    return [len(item.associated_data).to_bytes(8, "big") + item.associated_data + item.payload for item in items]


def _digest(context: bytes, purpose: Purpose) -> bytes:
    return hashlib.sha256(purpose.value + context).digest()
