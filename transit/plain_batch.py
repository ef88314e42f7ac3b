"""Batches in which nothing is out of the ordinary, which is nearly all of them: read, run and written in one go.

A batch with an item that asks for a version, a context or a reference, or that is refused, goes the general way
(transit.batch), which answers item by item. So nothing here says what is wrong.
"""

from collections.abc import Sequence
from typing import Any

from core.errors import CallerError, CiphertextError
from core.protocols import AeadInput
from transit.bodies import BatchItem
from transit.engine import MAX_PAYLOAD, TransitEngine
from transit.errors import UsageExhaustedError
from transit.format import canonical_base64, encode_base64, parse_ciphertext, prefix_of
from transit.store import OpenKey


async def encrypt_plain(engine: TransitEngine, key: OpenKey, items: Sequence[BatchItem]) -> list[dict[str, Any]] | None:
    """The results of the batch under the latest version, or None: nothing was done."""
    if not key.is_direct:
        return None
    try:
        inputs = [
            AeadInput(canonical_base64(item.plaintext))
            for item in items
            if item.plaintext is not None and _is_plain(item) and len(item.plaintext) <= MAX_PAYLOAD
        ]
        if len(inputs) != len(items):
            return None
        version = key.keyring.latest_version
        sealed = await engine.encrypt_all(key, version, inputs)
    except (ValueError, UsageExhaustedError):
        return None
    prefix = prefix_of(version)
    return [
        {"ciphertext": prefix + encode_base64(octets), "key_version": version, "reference": ""} for octets in sealed
    ]


async def decrypt_plain(engine: TransitEngine, key: OpenKey, items: Sequence[BatchItem]) -> list[dict[str, Any]] | None:
    """The results of a batch whose items name one version, or None: then the general way finds out why."""
    if not key.is_direct:
        return None
    imported = key.keyring.imported
    try:
        parsed = [
            parse_ciphertext(item.ciphertext, imported=imported)
            for item in items
            if item.ciphertext and _is_plain(item) and len(item.ciphertext) <= MAX_PAYLOAD
        ]
        version = parsed[0][0] if parsed else 0
        inputs = [AeadInput(octets) for named, octets in parsed if named == version]
        if not version or len(inputs) != len(items):
            return None
        opened = await engine.decrypt_all(key, key.keyring.version_to_decrypt(version), inputs)
    except CallerError:
        return None
    results = [
        {"plaintext": encode_base64(octets), "reference": ""}
        for octets in opened
        if not isinstance(octets, CiphertextError)
    ]
    return results if len(results) == len(items) else None


def _is_plain(item: BatchItem) -> bool:
    return (
        not item.associated_data and not item.context and not item.nonce and not item.key_version and not item.reference
    )
