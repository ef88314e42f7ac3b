"""Encryption and decryption, on plain values: bytes in, bytes out."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, MutableSequence, Sequence
from typing import Any, TypeVar

from core import public_keys
from core.errors import CallerError, CiphertextError, InvalidRequestError, KeyPolicyError
from core.protocols import AeadInput, KeyCustodian, WrappedKey
from transit.counters import UsageCounters
from transit.errors import KeyVersionError, SupersededError, UsageExhaustedError, forged
from transit.keyring import KeyVersion
from transit.store import KeyStore, OpenKey

T = TypeVar("T")

MAX_PAYLOAD = 2**20  # an HSM takes about four times the payload of memory
_INLINE_RSA_ITEMS = 16  # of about 50 us each
ITEMS_A_PASS = 1000  # about 10 ms in a local token; other requests get their turn in between

_ROUNDS = 64  # versions that a request may see used up under it before it is refused: more than run at once

# the version asked for (0: the latest) or named by the ciphertext, and the bytes
Versioned = tuple[int, AeadInput]


class TransitEngine:
    """What the named keys of one mount do to data, as one worker sees them."""

    def __init__(self, store: KeyStore, keys: KeyCustodian, counters: UsageCounters) -> None:
        self.store = store
        self.keys = keys
        self._counters = counters

    # --- one item: what nearly every request is -----------------------------------------------------------------------

    async def encrypt_one(self, key: OpenKey, item: Versioned) -> tuple[int, bytes]:
        """As `encrypt`, for one item, whose error is raised."""
        version = key.keyring.version_to_encrypt(item[0])
        row = key.peek_version(version) or await self.store.version(key, version)
        try:
            if not key.is_direct or item[1].context:
                return version, _or_raise((await self._encrypt_pass(key, version, row, [item[1]]))[0])
            wrapped = await self._reserve(key, version, row, 1)
        except SupersededError:
            if item[0]:
                raise
            return _or_raise((await self.encrypt(key.name, [item]))[0])
        [octets] = await self.keys.encrypt(wrapped, (item[1],))
        return version, octets

    async def decrypt_one(self, key: OpenKey, item: Versioned) -> bytes:
        """As `decrypt`, for one item, whose error is raised."""
        version = key.keyring.version_to_decrypt(item[0])
        row = key.peek_version(version) or await self.store.version(key, version)
        if not key.is_direct or item[1].context:
            return _or_raise((await self._decrypt_pass(key, row, [item[1]]))[0])
        [octets] = await self.keys.decrypt(private_key(row), (item[1],))
        if isinstance(octets, CiphertextError):
            raise forged()
        return octets

    # --- batches ------------------------------------------------------------------------------------------------------

    async def encrypt_all(self, key: OpenKey, version: int, items: Sequence[AeadInput]) -> list[bytes]:
        """Encrypt under one version of a key that `is_direct`. Raises UsageExhaustedError for all of them."""
        row = key.peek_version(version) or await self.store.version(key, version)
        wrapped = await self._reserve(key, version, row, len(items))
        if len(items) <= ITEMS_A_PASS:
            return await self.keys.encrypt(wrapped, items)
        sealed: list[bytes] = []
        for start in range(0, len(items), ITEMS_A_PASS):
            sealed += await self.keys.encrypt(wrapped, items[start : start + ITEMS_A_PASS])
            await asyncio.sleep(0)
        return sealed

    async def decrypt_all(
        self, key: OpenKey, version: int, items: Sequence[AeadInput]
    ) -> list[bytes | CiphertextError]:
        """Decrypt under one version of a key that `is_direct`."""
        row = key.peek_version(version) or await self.store.version(key, version)
        wrapped = private_key(row)
        opened: list[bytes | CiphertextError] = []
        for start in range(0, len(items), ITEMS_A_PASS):
            if start:
                await asyncio.sleep(0)
            opened += await self.keys.decrypt(wrapped, items[start : start + ITEMS_A_PASS])
        return opened

    async def encrypt(self, name: str, items: Sequence[Versioned]) -> list[tuple[int, bytes] | CallerError]:
        """Encrypt each item; with each, the version that did it.

        An item that cannot be encrypted is answered by the error in its place. Items of one version go through the HSM
        together. Raises UnknownKeyError, KeyPolicyError for a key that cannot encrypt, and OperatorErrors for all.
        """
        results = await self._encrypt_once(name, items)
        for _ in range(_ROUNDS):
            again = [i for i, answer in enumerate(results) if type(answer) is SupersededError and not items[i][0]]
            if not again:
                break
            answers = await self._encrypt_once(name, [items[i] for i in again])
            for i, answer in zip(again, answers, strict=True):
                results[i] = answer
        return results

    async def _encrypt_once(self, name: str, items: Sequence[Versioned]) -> list[tuple[int, bytes] | CallerError]:
        """Under the versions that encrypt now; what one had not enough left for is answered by SupersededError."""
        key = await self.store.usable(name)
        most = key.keyring.encryption_limit or ITEMS_A_PASS

        async def run(version: int, row: KeyVersion, payloads: list[AeadInput]) -> list[Any]:
            sealed: list[bytes | CallerError] = []
            for start in range(0, len(payloads), most):
                sealed += await self._encrypt_pass(key, version, row, payloads[start : start + most])
            return [octets if isinstance(octets, CallerError) else (version, octets) for octets in sealed]

        return await self._by_version(key, key.keyring.version_to_encrypt, items, run)

    async def decrypt(self, name: str, items: Sequence[Versioned]) -> list[bytes | CallerError]:
        """Decrypt each item under the version it names; errors stand in the places of their items, as in `encrypt`."""
        key = await self.store.usable(name)

        async def run(_version: int, row: KeyVersion, payloads: list[AeadInput]) -> list[Any]:
            return list(await self._decrypt_pass(key, row, payloads))

        return await self._by_version(key, key.keyring.version_to_decrypt, items, run)

    async def rewrap(
        self, name: str, items: Sequence[Versioned], *, key_versions: Sequence[int]
    ) -> list[tuple[int, bytes] | CallerError]:
        """Decrypt and encrypt again under `key_versions` (0: the latest), with the same associated data and context."""
        opened = await self.decrypt(name, items)
        results: list[tuple[int, bytes] | CallerError] = []
        again: list[Versioned] = []
        for item, version, plaintext in zip(items, key_versions, opened, strict=True):
            if not isinstance(plaintext, CallerError):
                again.append((version, AeadInput(plaintext, item[1].associated_data, item[1].context)))
        sealed = iter(await self.encrypt(name, again))
        results.extend(plaintext if isinstance(plaintext, CallerError) else next(sealed) for plaintext in opened)
        return results

    # --- one version --------------------------------------------------------------------------------------------------

    async def _encrypt_pass(
        self, key: OpenKey, version: int, row: KeyVersion, items: list[AeadInput]
    ) -> list[bytes | CallerError]:
        keyring = key.keyring
        keyring.check_usable()
        if keyring.key_type.is_rsa:
            return await _encrypt_rsa(row, items)
        if not keyring.key_type.is_cipher:
            raise KeyPolicyError(f"message encryption not supported for key type {keyring.type}")
        checked, places, results = _checked(key, items)
        try:
            wrapped = await self._reserve(key, version, row, len(checked))
        except UsageExhaustedError as exc:
            return [exc for _ in items]
        sealed = await self.keys.encrypt(wrapped, checked, convergent=keyring.convergent) if checked else []
        for place, octets in zip(places, sealed, strict=True):
            results[place] = octets
        return results

    async def _decrypt_pass(self, key: OpenKey, row: KeyVersion, items: list[AeadInput]) -> list[bytes | CallerError]:
        keyring = key.keyring
        keyring.check_usable()
        if not keyring.key_type.supports_decryption:
            raise KeyPolicyError(f"message decryption not supported for key type {keyring.type}")
        checked, places, results = _checked(key, items)
        if row.key is None:
            refusal = _lacks_private_key()
            return [result or refusal for result in results]
        opened: Sequence[bytes | CiphertextError] = []
        if checked and keyring.key_type.is_rsa:
            opened = await self.keys.decrypt_oaep(row.key, [item.payload for item in checked])
        elif checked:
            opened = await self.keys.decrypt(row.key, checked)
        for place, octets in zip(places, opened, strict=True):
            results[place] = forged() if isinstance(octets, CiphertextError) else octets
        return results

    async def _reserve(self, key: OpenKey, version: int, row: KeyVersion, count: int) -> WrappedKey:
        """The version's key, with `count` encryptions counted."""
        wrapped = private_key(row)
        if not self._counters.take_now(wrapped.key_id, count):
            await self._counters.take(key.name, version, wrapped.key_id, count, keyring=key.keyring)
        return wrapped

    async def _by_version(
        self,
        key: OpenKey,
        choose: Callable[[int], int],
        items: Sequence[Versioned],
        run: Callable[[int, KeyVersion, list[AeadInput]], Awaitable[list[Any]]],
    ) -> list[Any]:
        """Run the items of each version together, and put every answer in the place of its item."""
        results: list[Any] = [None] * len(items)
        for version, indexes in group_by_version(choose, [item[0] for item in items], results):
            row = key.peek_version(version) or await self.store.version(key, version)
            for part in passes(indexes):
                answers = await run(version, row, [items[i][1] for i in part])
                for i, answer in zip(part, answers, strict=True):
                    results[i] = answer
                if len(part) == ITEMS_A_PASS:
                    await asyncio.sleep(0)
        return complete(results)


def check_payload(octets: bytes, *, field: str, overhead: int = 0) -> None:
    """Raises InvalidRequestError for what is too large to go through an HSM."""
    if len(octets) > MAX_PAYLOAD + overhead:
        raise InvalidRequestError(
            f"{field} is over 1 MiB, the most that goes through the HSM; encrypt it under a data key of your own, and "
            "send that data key here (envelope encryption; `mimir transit encrypt KEY --file` does it)"
        )


def private_key(row: KeyVersion) -> WrappedKey:
    """The version's own key. Raises KeyPolicyError where only a public key was imported."""
    if row.key is None:
        raise _lacks_private_key()
    return row.key


def _lacks_private_key() -> KeyPolicyError:
    return KeyPolicyError(
        "requested operation needs the private key, and only the public key of this version was imported"
    )


async def _encrypt_rsa(row: KeyVersion, items: list[AeadInput]) -> list[bytes | CallerError]:
    public_key = row.public_key
    if public_key is None:
        raise RuntimeError("an RSA key's version has no public key")

    def run() -> list[bytes | CallerError]:
        return [_oaep_or_error(public_key, item) for item in items]

    return run() if len(items) <= _INLINE_RSA_ITEMS else await asyncio.to_thread(run)


def _oaep_or_error(public_key: bytes, item: AeadInput) -> bytes | CallerError:
    try:
        _check_plain(item)
        return public_keys.encrypt_oaep(public_key, item.payload, hash_name="sha256")
    except CallerError as exc:
        return exc


def _check_plain(item: AeadInput) -> None:
    if item.associated_data or item.context:
        raise InvalidRequestError("an RSA key takes neither associated_data nor context")


def _checked(key: OpenKey, items: list[AeadInput]) -> tuple[list[AeadInput], Sequence[int], list[bytes | CallerError]]:
    """The items that bring what the key needs and nothing else, where they stand, and room for all answers."""
    derived, is_rsa = key.keyring.derived, key.keyring.key_type.is_rsa
    results: list[Any] = [None] * len(items)
    if not is_rsa and all(bool(item.context) is derived for item in items):
        return items, range(len(items)), results
    checked: list[AeadInput] = []
    places: list[int] = []
    for i, item in enumerate(items):
        try:
            if is_rsa:
                _check_plain(item)
            key.keyring.check_context(given=bool(item.context))
        except InvalidRequestError as exc:
            results[i] = exc
        else:
            checked.append(item)
            places.append(i)
    return checked, places, results


def group_by_version(
    choose: Callable[[int], int], versions: Sequence[int], results: MutableSequence[Any]
) -> list[tuple[int, list[int]]]:
    """The places of the items of each version; an item whose version is refused is answered at once."""
    groups: dict[int, list[int]] = {}
    for i, requested in enumerate(versions):
        try:
            groups.setdefault(choose(requested), []).append(i)
        except KeyVersionError as exc:
            results[i] = exc
    return list(groups.items())


def passes(indexes: list[int]) -> Iterator[list[int]]:
    """Parts of a long list of places."""
    for start in range(0, len(indexes), ITEMS_A_PASS):
        yield indexes[start : start + ITEMS_A_PASS]


def complete(results: list[Any]) -> list[Any]:
    """Every item was answered, or this is our mistake."""
    if None in results:
        raise RuntimeError("an item of a batch was left without an answer")
    return results


def _or_raise(answer: T | CallerError) -> T:
    if isinstance(answer, CallerError):
        raise answer
    return answer
