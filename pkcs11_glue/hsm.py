"""The HSM as the appliance sees it: keys by their records, operations on batches, ceremonies, status."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from pkcs11.constants import Attribute

from core.errors import CiphertextError, HsmError, InvalidRequestError, KeyPolicyError
from core.protocols import AeadInput, Custody, KeyKind, KeyUsage, SignatureScheme, WrappedKey
from core.secret import Secret
from pkcs11_glue import derived, escrow, status
from pkcs11_glue.birth import KeyBirth
from pkcs11_glue.connection import Connection, connect
from pkcs11_glue.cryptoki import CryptokiError
from pkcs11_glue.handles import LiveKey
from pkcs11_glue.live_keys import LONG, THREAD_FROM_BYTES, LiveKeys
from pkcs11_glue.login import node_lock
from pkcs11_glue.macs import mac_method
from pkcs11_glue.module import Module
from pkcs11_glue.operations import MAX_CIPHERTEXT_BYTES, MAX_PAYLOAD_BYTES, Operations, weigh
from pkcs11_glue.rsa_decryption import oaep_method
from pkcs11_glue.session import HsmSession
from pkcs11_glue.settings import HsmSettings
from pkcs11_glue.signing import signing_method
from pkcs11_glue.software import IS_SLOW
from pkcs11_glue.status import HsmStatus
from pkcs11_glue.templates import RSA_BITS

T = TypeVar("T")

SLOW_SOFTWARE_BYTES = 1 << 18  # of a call in software: longer than a thread hop
SLOW_SOFTWARE_ITEMS = 64  # and of so many signatures, or XChaCha20 items
SLOW_SOFTWARE_BATCH = 512  # and of so many items of the other ciphers
_P256_WEIGHT = 4  # one signature takes as long as so many small encryptions
_DECRYPTING = (KeyUsage.ENCRYPT, KeyUsage.SIGN_DECRYPT)
_SIGNING = (KeyUsage.SIGN, KeyUsage.SIGN_DECRYPT)


class Hsm:
    """Implements core.protocols.KeyCustodian over one token. Belongs to one event loop and one process."""

    def __init__(self, settings: HsmSettings, module: Module, connection: Connection) -> None:
        """Use `open`."""
        self._keys = LiveKeys(settings, module, connection)
        self._link, self._handles = self._keys.link, self._keys.handles
        self._birth = KeyBirth(self._keys)
        self._perform = self._keys.perform

    @classmethod
    async def open(cls, settings: HsmSettings) -> "Hsm":
        """Load the module, log in, find the KEK and prove it hardened. Raises HsmConfigError saying what to mend."""
        module = Module(settings.module, settings.locking)
        connection = await asyncio.to_thread(connect, module, settings)
        return cls(settings, module, connection)

    async def close(self) -> None:
        """End every call, then the module; the interpreter can exit afterwards."""
        self._keys.forget_sealing_keys()
        await self._link.close()

    @property
    def is_ready(self) -> bool:
        """Whether calls go through: False while the module is being re-opened, or after it failed for good."""
        return self._link.state == "ready"

    # --- what the token is ----------------------------------------------------------------------------------------

    async def status(self) -> HsmStatus:
        """For `mimir hsm status`."""
        objects = await self._count_objects()
        return status.collect(self._link, epoch=self._handles.epoch, live_handles=len(self._handles), objects=objects)

    async def _count_objects(self) -> int:
        """How many objects the token holds that outlive a process; -1 when it cannot be asked.

        Linear in them, so on a thread, and there on a session of its own: an open search blocks every other operation.
        """
        try:
            return await self._link.run_aside(lambda operations: len(operations.session.find({Attribute.TOKEN: True})))
        except (HsmError, CryptokiError):
            return -1

    @property
    def kek_ids(self) -> tuple[str, ...]:
        """Every KEK of the token, the newest last."""
        return tuple(self._link.connection.keks)

    @property
    def active_kek_id(self) -> str:
        """The KEK that new keys are wrapped under."""
        return self._link.connection.active_kek.kek_id

    @property
    def escrow_id(self) -> str:
        """The escrow key that new keys are wrapped under too; "" when there is none."""
        found = self._birth.escrow()
        return found.escrow_id if found else ""

    def require_kek(self, kek_id: str) -> None:
        """Raises HsmConfigError, naming the wanted KEK and those present, if the token lacks it."""
        self._link.connection.kek(kek_id)

    def custody_of(self, kind: KeyKind, usage: KeyUsage) -> Custody:
        """Where a new key of this kind and usage would live on this token."""
        return self._link.connection.custody_of(kind, usage)

    # --- ceremonies -----------------------------------------------------------------------------------------------

    async def release_escrow_key(self) -> Secret:
        """The escrow key's value, during cluster initialisation; keys are wrapped under it from now on."""
        return await self._ceremony(escrow.claim)

    async def discard_escrow_key(self) -> None:
        """This cluster declines escrow: keys are not wrapped under one."""
        await self._ceremony(escrow.discard)

    async def settle_escrow(self) -> None:
        """The initialisation is committed: the value can never be released again."""
        found = await self._keys.run(lambda operations: escrow.find_unclaimed(operations.session))
        if found is not None:
            await self._ceremony(escrow.settle)

    async def escrow_challenge(self) -> tuple[bytes, bytes]:
        """A random value and its RFC 3394 wrapping under the escrow key. Raises KeyPolicyError if there is none."""
        found = self._birth.escrow()
        if found is None:
            raise KeyPolicyError("this cluster declined escrow: there is no escrow key to prove shares against")
        return await self._keys.run(lambda operations: escrow.challenge(operations.session, found))

    async def _ceremony(self, act: Callable[[HsmSession], T]) -> T:
        """Change token objects: on a read-write session of its own, under the node's lock."""
        connection = self._link.connection
        login = connection.login
        lock = self._link.settings.login_lock

        def locked(_: Operations) -> T:
            with node_lock(lock):
                handle = login.module.open_session(login.token.slot, read_write=True)
                session = HsmSession(login.module.functions, handle)
                try:
                    return act(session)
                finally:
                    session.close()

        try:
            return await self._link.run_pooled(locked, ended=_nothing)
        finally:
            connection.escrow = None  # look for it again

    # --- cluster --------------------------------------------------------------------------------------------------

    def set_sealing_key(self, key: WrappedKey) -> None:
        """The AES key (the barrier root key) that seals keys the token cannot hold; earlier ones still open theirs."""
        self._keys.set_sealing_key(key)

    def expect_escrow(self, escrow_id: str) -> None:
        """Make no more keys unless they can be wrapped under this escrow key; "": the cluster declined escrow.

        A key that is silently born without its escrow blob could not follow the others out of a lost HSM.
        """
        self._birth.expected_escrow = escrow_id

    def drop_keys(self) -> None:
        """Destroy every live key and forget the sealing keys: the appliance is being sealed."""
        self._keys.drop()
        self._birth.expected_escrow = None

    # --- KeyCustodian ---------------------------------------------------------------------------------------------

    async def generate_key(
        self, kind: KeyKind, *, usage: KeyUsage, custody: Custody | None = None, size: int = 0
    ) -> WrappedKey:
        """Inside the HSM, wrapped at birth under the KEK and the escrow key; or sealed."""
        return await self._birth.generate(kind, usage=usage, custody=custody, size=size)

    async def import_key(
        self, kind: KeyKind, material: Secret, *, usage: KeyUsage, custody: Custody | None = None
    ) -> WrappedKey:
        """Into the HSM, wrapped at once as generated keys are; or sealed."""
        return await self._birth.take_over(kind, material, usage=usage, custody=custody)

    async def export_key(self, key: WrappedKey) -> Secret:
        """Of sealed keys only."""
        return await self._birth.export(key)

    async def encrypt(self, key: WrappedKey, items: Sequence[AeadInput], *, convergent: bool = False) -> list[bytes]:
        """Nonce, ciphertext, tag of each item."""
        live = self._handles.get(key.key_id) or await self._keys.load(key)
        if not live.is_cipher or convergent:
            return await self._encrypt_otherwise(key, live, items, convergent=convergent)
        size = weigh(items, MAX_PAYLOAD_BYTES)
        return await self._perform(live, len(items), size, items, Operations.encrypt)

    async def decrypt(self, key: WrappedKey, items: Sequence[AeadInput]) -> list[bytes | CiphertextError]:
        """Undo `encrypt`; an item that does not authenticate is answered by an error in its place."""
        live = self._handles.get(key.key_id) or await self._keys.load(key)
        if not live.is_cipher:
            return await self._decrypt_otherwise(key, live, items)
        size = weigh(items, MAX_CIPHERTEXT_BYTES)
        return await self._perform(live, len(items), size, items, Operations.decrypt)

    async def _encrypt_otherwise(
        self, key: WrappedKey, live: LiveKey, items: Sequence[AeadInput], *, convergent: bool
    ) -> list[bytes]:
        """In software, or under derived keys."""
        _check_contexts(live, items)
        if convergent and live.usage is not KeyUsage.DERIVE:
            raise KeyPolicyError("convergent encryption needs a derived key")
        if live.software is not None:
            call = partial(live.software.encrypt, items, convergent=convergent)
            return await self._in_software(call, is_slow=_is_long(live.kind, items))
        return await derived.encrypt(self._keys, key, items, convergent=convergent)

    async def _decrypt_otherwise(
        self, key: WrappedKey, live: LiveKey, items: Sequence[AeadInput]
    ) -> list[bytes | CiphertextError]:
        _check_contexts(live, items)
        if live.software is not None:
            return await self._in_software(partial(live.software.decrypt, items), is_slow=_is_long(live.kind, items))
        return await derived.decrypt(self._keys, key, items)

    async def decrypt_oaep(
        self, key: WrappedKey, ciphertexts: Sequence[bytes], *, hash_name: str = "sha256"
    ) -> list[bytes | CiphertextError]:
        """RSAES-OAEP; a ciphertext that is not one of this key is answered by an error in its place."""
        live = self._handles.get(key.key_id) or await self._keys.load(key)
        if live.kind not in RSA_BITS or live.usage not in _DECRYPTING:
            raise _cannot(live, "decrypt by RSA-OAEP")
        if live.software is not None:
            return await self._in_software(
                partial(live.software.decrypt_oaep, ciphertexts, hash_name=hash_name), is_slow=True
            )
        how = oaep_method(self._link.connection.oaep, hash_name)
        return await self._perform(live, LONG, 0, ciphertexts, Operations.decrypt_oaep, how, live.modulus)

    async def mac(self, key: WrappedKey, messages: Sequence[bytes], *, hash_name: str = "") -> list[bytes]:
        """HMAC with a hash; CMAC without one."""
        live = self._handles.get(key.key_id) or await self._keys.load(key)
        if live.usage is not KeyUsage.MAC:
            raise _cannot(live, "make a MAC")
        size = sum(map(len, messages))
        if live.software is not None:
            call = partial(live.software.mac, messages, hash_name=hash_name)
            return await self._in_software(call, is_slow=size >= SLOW_SOFTWARE_BYTES)
        how = mac_method(live.kind, hash_name)
        return await self._perform(live, len(messages), size, messages, Operations.mac, how)

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
        """Sign digests made with `hash_name` (messages, for Ed25519, ML-DSA and raw PKCS #1 v1.5)."""
        live = self._handles.get(key.key_id) or await self._keys.load(key)
        if live.software is not None:
            call = partial(
                live.software.sign,
                digests,
                scheme=scheme,
                hash_name=hash_name,
                salt_length=salt_length,
                context=context,
            )
            return await self._in_software(call, is_slow=live.kind in IS_SLOW or len(digests) >= SLOW_SOFTWARE_ITEMS)
        if live.usage not in _SIGNING:
            raise _cannot(live, "sign")
        if context:
            raise KeyPolicyError("this key is not a derived one: leave the context out")
        how = signing_method(live.kind, scheme, hash_name, salt_length)
        how.check(digests)
        weight = len(digests) * _P256_WEIGHT if live.kind is KeyKind.EC_P256 else LONG
        return await self._perform(live, weight, 0, digests, Operations.sign, how)

    async def derived_public_key(self, key: WrappedKey, context: bytes) -> bytes:
        """SubjectPublicKeyInfo of a derived Ed25519 key; the HSM derives none, so the key is sealed."""
        live = await self._keys.get(key)
        if live.software is None:
            raise _cannot(live, "derive key pairs")
        return live.software.derived_public_key(context)

    async def random(self, length: int) -> bytes:
        """`length` bytes of the HSM's generator."""
        return await self._keys.run(
            lambda operations: operations.session.random(length), slow=length >= THREAD_FROM_BYTES
        )

    async def _in_software(self, call: Callable[[], T], *, is_slow: bool) -> T:
        return await asyncio.to_thread(call) if is_slow else call()


def _nothing() -> None:
    pass


def _cannot(live: LiveKey, what: str) -> KeyPolicyError:
    return KeyPolicyError(f"a key of type {live.kind.value} with the usage {live.usage.value} cannot {what}")


def _check_contexts(live: LiveKey, items: Sequence[AeadInput]) -> None:
    """Whether the key is a cipher at all, and every item has the context that such a key needs or none."""
    is_derived = live.usage is KeyUsage.DERIVE
    if live.kind in RSA_BITS or not (is_derived or live.usage is KeyUsage.ENCRYPT):
        raise _cannot(live, "encrypt or decrypt by an AEAD")
    for item in items:
        if is_derived and not item.context:
            raise InvalidRequestError("this key derives a key for each context: give a context")
        if item.context and not is_derived:
            raise KeyPolicyError("this key is not a derived one: leave the context out")


def _is_long(kind: KeyKind, items: Sequence[AeadInput]) -> bool:
    """Whether a batch takes longer in software than a thread hop."""
    most = SLOW_SOFTWARE_ITEMS if kind is KeyKind.XCHACHA20_POLY1305 else SLOW_SOFTWARE_BATCH
    return len(items) > most or sum([len(item.payload) for item in items]) >= SLOW_SOFTWARE_BYTES
