"""Encryption under derived keys inside the HSM: the items of a batch by their contexts, one pass for each."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from core.errors import CiphertextError
from core.protocols import AeadInput, WrappedKey
from pkcs11_glue.derivation import Purpose
from pkcs11_glue.errors import gone
from pkcs11_glue.live_keys import LONG, THREAD_FROM_BYTES, LiveKeys
from pkcs11_glue.operations import MAX_CIPHERTEXT_BYTES, MAX_PAYLOAD_BYTES, Operations, weigh

T = TypeVar("T")


async def encrypt(keys: LiveKeys, key: WrappedKey, items: Sequence[AeadInput], *, convergent: bool) -> list[bytes]:
    """As KeyCustodian.encrypt, of a key with usage DERIVE; every item has a context."""
    if not convergent:
        return await _by_context(keys, key, items, MAX_PAYLOAD_BYTES, Operations.encrypt)
    encrypted: dict[int, bytes] = {}
    for context, part in _groups(items).items():
        answers = await _encrypt_convergent(keys, key, context, list(part.values()))
        encrypted |= zip(part, answers, strict=True)
    return [encrypted[place] for place in range(len(items))]


async def decrypt(keys: LiveKeys, key: WrappedKey, items: Sequence[AeadInput]) -> list[bytes | CiphertextError]:
    """As KeyCustodian.decrypt, of a key with usage DERIVE; every item has a context."""
    return await _by_context(keys, key, items, MAX_CIPHERTEXT_BYTES, Operations.decrypt)


async def _by_context(
    keys: LiveKeys, key: WrappedKey, items: Sequence[AeadInput], limit: int, method: Callable[..., list[T]]
) -> list[T]:
    done: dict[int, T] = {}
    for context, part in _groups(items).items():
        own = list(part.values())
        size = weigh(own, limit)
        cipher = await keys.derived(key, context, Purpose.CIPHER)
        done |= zip(part, await keys.perform(cipher, len(own), size, own, method), strict=True)
    return [done[place] for place in range(len(items))]


async def _encrypt_convergent(
    keys: LiveKeys, key: WrappedKey, context: bytes, items: Sequence[AeadInput]
) -> list[bytes]:
    is_slow = weigh(items, MAX_PAYLOAD_BYTES) >= THREAD_FROM_BYTES or len(items) >= LONG
    nonce_key = await keys.derived(key, context, Purpose.NONCE)
    keys.handles.hold(nonce_key)  # making the other may take time, and room
    try:
        cipher = await keys.derived(key, context, Purpose.CIPHER)
        if nonce_key.epoch != cipher.epoch:
            raise gone("re-opened meanwhile")
        return await keys.use(
            cipher,
            lambda operations: operations.encrypt_convergent(cipher.handle, nonce_key.handle, items),
            slow=is_slow,
            also=nonce_key,
        )
    finally:
        keys.handles.release(nonce_key)


def _groups(items: Sequence[AeadInput]) -> dict[bytes, dict[int, AeadInput]]:
    """By context: items without theirs, each under its place in the batch."""
    groups: dict[bytes, dict[int, AeadInput]] = {}
    for place, item in enumerate(items):
        group = groups.setdefault(item.context, {})
        group[place] = AeadInput(item.payload, item.associated_data)
    return groups
