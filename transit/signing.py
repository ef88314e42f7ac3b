"""Signatures, on plain values: messages in, signatures out, and whether one is valid."""

import asyncio
from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from core import public_keys
from core.digests import SMALL, digest, digest_all
from core.errors import CallerError, InvalidRequestError, InvalidSignatureError, KeyPolicyError
from core.protocols import Custody, KeyCustodian, WrappedKey
from transit.engine import MAX_PAYLOAD, complete, passes
from transit.errors import KeyVersionError
from transit.keyring import KeyVersion
from transit.signing_methods import SigningMethod
from transit.store import KeyStore, OpenKey

# version, signature, and the public key (SubjectPublicKeyInfo) where it was derived
Signed = tuple[int, bytes, bytes | None]
Message = tuple[bytes, bytes]  # input and context
Claim = tuple[int, bytes, bytes, bytes]  # version and signature, input and context

_VERIFIED_A_TURN = 50  # of a batch, about 5 ms; other requests get their turn in between


class Signer:
    """What the signing keys of one mount do, as one worker sees them."""

    def __init__(self, store: KeyStore, keys: KeyCustodian) -> None:
        self._store = store
        self._keys = keys

    async def sign_one(
        self, key: OpenKey, method: SigningMethod, requested: int, message: bytes, context: bytes
    ) -> Signed:
        """Sign under the version asked for (0: the latest). Raises CallerErrors."""
        keyring = key.keyring
        if keyring.soft_deleted or bool(context) is not keyring.derived:
            keyring.check_usable()
            keyring.check_context(given=bool(context))
        version = keyring.version_to_encrypt(requested, purpose="signing")
        row = key.peek_version(version) or await self._store.version(key, version)
        wrapped = _private(row)
        [signature] = await self._sign(wrapped, method, (await _prepare_one(method, wrapped, message),), context)
        public_key = await self._keys.derived_public_key(wrapped, context) if keyring.derived else None
        return version, signature, public_key

    async def sign(
        self, key: OpenKey, method: SigningMethod, requested: int, items: Sequence[Message]
    ) -> list[Signed | CallerError]:
        """Sign each item; one that cannot be signed is answered by an error in its place.

        Items of one context go through the HSM together. Raises KeyPolicyError for a key that cannot sign at all.
        """
        key.keyring.check_usable()
        try:
            version = key.keyring.version_to_encrypt(requested, purpose="signing")
        except KeyVersionError as exc:
            return [exc for _ in items]
        row = await self._store.version(key, version)
        wrapped = _private(row)
        results: list[Any] = [None] * len(items)
        for context, places in _by_context(key, method, wrapped, items, results).items():
            public_key = await self._keys.derived_public_key(wrapped, context) if key.keyring.derived else None
            for part in passes(places):
                inputs: Sequence[bytes] = [items[i][0] for i in part]
                if method.hashes:
                    inputs = await digest_all(method.hash_name, inputs)
                signatures = await self._sign(wrapped, method, inputs, context)
                for i, signature in zip(part, signatures, strict=True):
                    results[i] = version, signature, public_key
                await asyncio.sleep(0)
        return complete(results)

    async def _sign(
        self, wrapped: WrappedKey, method: SigningMethod, inputs: Sequence[bytes], context: bytes
    ) -> list[bytes]:
        """Signatures over what is ready to be signed, marshalled as asked."""
        signatures = await self._keys.sign(
            wrapped,
            inputs,
            scheme=method.scheme,
            hash_name=method.hash_name,
            salt_length=method.salt_length,
            context=context,
        )
        if method.jws and method.is_ecdsa:
            return [public_keys.ecdsa_to_jws(method.kind, signature) for signature in signatures]
        return signatures

    async def verify_one(self, key: OpenKey, method: SigningMethod, claim: Claim) -> bool:
        """Whether it is the signature of the input by that version.

        Raises KeyVersionError for a version that is unknown or retired, InvalidRequestError for what is no signature.
        """
        version, signature, message, context = claim
        keyring = key.keyring
        if keyring.soft_deleted or bool(context) is not keyring.derived:
            keyring.check_usable()
            keyring.check_context(given=bool(context))
        keyring.version_to_decrypt(version, what="signature")
        row = key.peek_version(version) or await self._store.version(key, version)
        if keyring.derived:
            public_key: bytes | None = await self._keys.derived_public_key(_private(row), context)
        else:
            public_key = row.public_key
        if public_key is None:
            raise RuntimeError("a version of a signing key has no public key")
        if method.hashes:
            message = await digest(method.hash_name, message)
        else:
            method.check(message)
        if len(message) > SMALL:
            return await asyncio.to_thread(_is_valid, public_key, method, signature, message)
        return _is_valid(public_key, method, signature, message)

    async def verify(self, key: OpenKey, method: SigningMethod, claims: Sequence[Claim]) -> list[bool | CallerError]:
        """`verify_one` of each; errors stand in the places of their items."""
        key.keyring.check_usable()
        results: list[bool | CallerError] = []
        for claim in claims:
            if len(results) % _VERIFIED_A_TURN == _VERIFIED_A_TURN - 1:
                await asyncio.sleep(0)
            try:
                results.append(await self.verify_one(key, method, claim))
            except CallerError as exc:
                results.append(exc)
        return results


async def _prepare_one(method: SigningMethod, wrapped: WrappedKey, message: bytes) -> bytes:
    """What is given to the key. Raises InvalidRequestError."""
    if method.hashes:
        return await digest(method.hash_name, message)
    _check_input(method, wrapped, message)
    return message


def _check_input(method: SigningMethod, wrapped: WrappedKey, message: bytes) -> None:
    """Whether an input that is signed as it is can be. Raises InvalidRequestError."""
    method.check(message)
    if wrapped.custody is Custody.HSM and len(message) > MAX_PAYLOAD:
        raise InvalidRequestError("input is over 1 MiB, the most that goes through the HSM: sign a hash of it")


def _by_context(
    key: OpenKey, method: SigningMethod, wrapped: WrappedKey, items: Sequence[Message], results: list[Any]
) -> dict[bytes, list[int]]:
    """The places of the items of each context; an item that cannot be signed is answered at once."""
    groups: dict[bytes, list[int]] = {}
    for i, (message, context) in enumerate(items):
        try:
            key.keyring.check_context(given=bool(context))
            if not method.hashes:
                _check_input(method, wrapped, message)
        except InvalidRequestError as exc:
            results[i] = exc
        else:
            groups.setdefault(context, []).append(i)
    return groups


def _is_valid(public_key: bytes, method: SigningMethod, signature: bytes, message: bytes) -> bool:
    """Raises InvalidRequestError for what is not an ECDSA signature in DER, as Vault does."""
    try:
        der = public_keys.ecdsa_from_jws(method.kind, signature) if method.jws and method.is_ecdsa else signature
        public_keys.verify_signature(
            public_key,
            der,
            message,
            scheme=method.scheme,
            hash_name=method.hash_name,
            salt_length=method.salt_verified,
        )
    except InvalidSignatureError:
        if method.is_ecdsa and not method.jws:
            _check_der(signature)
        return False
    return True


def _check_der(signature: bytes) -> None:
    try:
        decode_dss_signature(signature)
    except ValueError:
        raise InvalidRequestError("supplied signature is invalid: it is not an ECDSA signature in DER") from None


def _private(row: KeyVersion) -> WrappedKey:
    """The version's own key. Raises KeyPolicyError where only a public key was imported."""
    if row.key is None:
        raise KeyPolicyError("requested version for signing does not contain a private part")
    return row.key
