"""HMACs and CMACs, on plain values. A MAC is compared here, in constant time."""

import asyncio
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.digests import ALGORITHMS
from core.errors import CallerError, InvalidRequestError, KeyPolicyError
from core.protocols import Custody, KeyCustodian, KeyKind, KeyUsage, WrappedKey
from transit.engine import MAX_PAYLOAD, complete, group_by_version, passes
from transit.keyring import KeyVersion
from transit.store import KeyStore, OpenKey

CMAC_BYTES = 16

Mac = tuple[int, bytes]  # version and MAC
MacClaim = tuple[int, bytes, bytes, int]  # version and MAC, input, and how long the MAC must be (0: in full)


@dataclass(frozen=True, slots=True)
class MacMethod:
    """HMAC with a hash of core.public_keys.HASHES; with none, CMAC."""

    hash_name: str

    @property
    def what(self) -> str:
        """What it makes, in a sentence."""
        return "HMAC" if self.hash_name else "CMAC"

    def key(self, key: OpenKey, row: KeyVersion) -> WrappedKey:
        """The key that makes MACs. Raises KeyPolicyError where there is none that can."""
        if not self.hash_name:
            return _cmac_key(key, row)
        wrapped = row.mac or row.key
        if wrapped is None or wrapped.kind is not KeyKind.HMAC:
            raise KeyPolicyError("no HMAC key exists for that key version")
        if wrapped.custody is Custody.HSM and self.hash_name.startswith("sha3-"):
            raise KeyPolicyError(
                f"the HSM makes no HMAC with {self.hash_name}: use sha2, or create the key with custody=sealed"
            )
        return wrapped


CMAC = MacMethod("")
_HMACS = {algorithm: MacMethod(name) for algorithm, name in ALGORITHMS.items()}


def hmac_method(algorithm: str) -> MacMethod:
    """HMAC with the hash that the API calls so. Raises InvalidRequestError."""
    method = _HMACS.get(algorithm)
    if method is None:
        raise InvalidRequestError(f"unsupported algorithm; it is one of {', '.join(_HMACS)}")
    return method


def _cmac_key(key: OpenKey, row: KeyVersion) -> WrappedKey:
    wrapped = row.key
    if wrapped is None or wrapped.usage is not KeyUsage.MAC or wrapped.kind is KeyKind.HMAC:
        raise KeyPolicyError(f"key type {key.keyring.type} does not support CMAC operations")
    return wrapped


class MacMaker:
    """What the keys of one mount do to authenticate messages, as one worker sees them."""

    def __init__(self, store: KeyStore, keys: KeyCustodian) -> None:
        self._store = store
        self._keys = keys

    async def make_one(self, key: OpenKey, method: MacMethod, requested: int, message: bytes) -> Mac:
        """The MAC under the version asked for (0: the latest). Raises CallerErrors."""
        keyring = key.keyring
        if keyring.soft_deleted:
            keyring.check_usable()
        version = keyring.version_to_encrypt(requested, purpose=method.what)
        row = key.peek_version(version) or await self._store.version(key, version)
        [mac] = await self._keys.mac(method.key(key, row), (message,), hash_name=method.hash_name)
        return version, mac

    async def make(self, key: OpenKey, method: MacMethod, requested: int, messages: Sequence[bytes]) -> list[Mac]:
        """The MAC of each message. Raises KeyVersionError and KeyPolicyError for all."""
        key.keyring.check_usable()
        version = key.keyring.version_to_encrypt(requested, purpose=method.what)
        wrapped = method.key(key, await self._store.version(key, version))
        made: list[Mac] = []
        for part in passes(list(range(len(messages)))):
            macs = await self._keys.mac(wrapped, [messages[i] for i in part], hash_name=method.hash_name)
            made.extend((version, mac) for mac in macs)
            await asyncio.sleep(0)
        return made

    async def verify_one(self, key: OpenKey, method: MacMethod, claim: MacClaim) -> bool:
        """Whether it is the MAC of the message by that version. Raises KeyVersionError for one unknown or retired."""
        version, given, message, length = claim
        keyring = key.keyring
        if keyring.soft_deleted:
            keyring.check_usable()
        keyring.version_to_decrypt(version, what=method.what)
        row = key.peek_version(version) or await self._store.version(key, version)
        [mac] = await self._keys.mac(method.key(key, row), (message,), hash_name=method.hash_name)
        return hmac.compare_digest(mac[: length or None], given)

    async def verify(self, key: OpenKey, method: MacMethod, claims: Sequence[MacClaim]) -> list[bool | CallerError]:
        """`verify_one` of each, with those of one version through the HSM together; errors stand in their places."""
        key.keyring.check_usable()
        results: list[Any] = [None] * len(claims)

        def choose(version: int) -> int:
            return key.keyring.version_to_decrypt(version, what=method.what)

        for version, places in group_by_version(choose, [claim[0] for claim in claims], results):
            wrapped = method.key(key, await self._store.version(key, version))
            for part in passes(places):
                macs = await self._keys.mac(wrapped, [claims[i][2] for i in part], hash_name=method.hash_name)
                for i, mac in zip(part, macs, strict=True):
                    _, given, _, length = claims[i]
                    results[i] = hmac.compare_digest(mac[: length or None], given)
                await asyncio.sleep(0)
        return complete(results)


def check_mac_input(message: bytes) -> None:
    """Raises InvalidRequestError for what is too large to go through an HSM."""
    if len(message) > MAX_PAYLOAD:
        raise InvalidRequestError(
            "input is over 1 MiB, the most that goes through the HSM: send a hash of it (transit/hash makes one)"
        )
