"""Batches in which nothing is out of the ordinary, which is nearly all of them: read, run and written in one go.

A batch with an item that asks for a version, a context or a reference, or that is refused, goes the general way
(transit.batch), which answers item by item. So nothing here says what is wrong.
"""

from collections.abc import Sequence
from typing import Any

from core.encoding import base64_texts, canonical_base64_all
from core.errors import CallerError, CiphertextError
from core.protocols import AeadInput
from transit.bodies import BatchItem
from transit.engine import MAX_PAYLOAD, TransitEngine
from transit.errors import UsageExhaustedError
from transit.format import parse_ciphertext, prefix_of
from transit.store import OpenKey


async def encrypt_plain(engine: TransitEngine, key: OpenKey, items: Sequence[BatchItem]) -> list[dict[str, Any]] | None:
    """The results of the batch under the latest version, or None: nothing was done."""
    if not key.is_direct:
        return None
    texts = [item.plaintext for item in items if item.plaintext is not None and _is_plain(item)]
    if len(texts) != len(items) or max(map(len, texts)) > MAX_PAYLOAD:
        return None
    try:
        inputs = list(map(AeadInput, canonical_base64_all(texts)))
        version = key.keyring.latest_version
        sealed = await engine.encrypt_all(key, version, inputs)
    except (ValueError, UsageExhaustedError):
        return None
    prefix = prefix_of(version)
    return [
        {"ciphertext": prefix + encoded, "key_version": version, "reference": ""} for encoded in base64_texts(sealed)
    ]


async def decrypt_plain(engine: TransitEngine, key: OpenKey, items: Sequence[BatchItem]) -> list[dict[str, Any]] | None:
    """The results of a batch whose items name one version, or None: then the general way finds out why."""
    if not key.is_direct:
        return None
    texts = [item.ciphertext for item in items if item.ciphertext and _is_plain(item)]
    if len(texts) != len(items) or max(map(len, texts)) > MAX_PAYLOAD:
        return None
    try:
        version, _ = parse_ciphertext(texts[0], imported=key.keyring.imported)
        prefix = texts[0][: texts[0].rindex(":") + 1]
        encoded = [text[len(prefix) :] for text in texts if text.startswith(prefix)]
        if len(encoded) != len(items):
            return None
        inputs = list(map(AeadInput, canonical_base64_all(encoded)))
        opened = await engine.decrypt_all(key, key.keyring.version_to_decrypt(version), inputs)
    except (ValueError, CallerError):
        return None
    plaintexts = [octets for octets in opened if not isinstance(octets, CiphertextError)]
    if len(plaintexts) != len(items):
        return None
    return [{"plaintext": encoded, "reference": ""} for encoded in base64_texts(plaintexts)]


def _is_plain(item: BatchItem) -> bool:
    return not (item.associated_data or item.context or item.nonce or item.key_version or item.reference)
