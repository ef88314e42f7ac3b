"""The HSM as the appliance sees it: keys by their records, operations on batches, ceremonies, status."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from pkcs11.constants import Attribute

from core.errors import CiphertextError, HsmConfigError, HsmError, KeyPolicyError, SealedError
from core.protocols import AeadInput, Custody, KeyKind, KeyUsage, SignatureScheme, WrappedKey
from core.secret import Secret
from pkcs11_glue import escrow, keys, sealed, status, turn
from pkcs11_glue.connection import Connection, connect
from pkcs11_glue.cryptoki import CryptokiError
from pkcs11_glue.errors import gone
from pkcs11_glue.handles import HandleCache, LiveKey
from pkcs11_glue.link import HsmLink
from pkcs11_glue.login import node_lock
from pkcs11_glue.module import Module
from pkcs11_glue.operations import MAX_PAYLOAD_BYTES, NONCE_BYTES, TAG_BYTES, Operations
from pkcs11_glue.session import HsmSession
from pkcs11_glue.settings import HsmSettings
from pkcs11_glue.status import HsmStatus

T = TypeVar("T")

THREAD_FROM_BYTES = 1 << 16  # a batch of so many bytes takes longer than a thread hop
THREAD_FROM_ITEMS = 256  # and so does one of so many items
SLOW_KINDS = frozenset({KeyKind.RSA_2048, KeyKind.RSA_3072, KeyKind.RSA_4096, KeyKind.EC_P384, KeyKind.EC_P521})


class Hsm:
    """Implements core.protocols.KeyCustodian over one token. Belongs to one event loop and one process."""

    def __init__(self, settings: HsmSettings, module: Module, connection: Connection) -> None:
        """Use `open`."""
        self._handles = HandleCache(settings.handle_cache, self._destroy)
        self._always_inline = settings.mode == "inline"
        self._drops = 0  # how often drop_keys was called
        self._sealing: dict[str, WrappedKey] = {}
        self._active_sealing: WrappedKey | None = None
        self._expected_escrow: str | None = None  # None: no cluster is open, so nothing is known
        self._destroying: set[asyncio.Future[None]] = set()
        self._link = HsmLink(settings, module, connection, on_epoch=self._handles.start_epoch)
        self._turn = turn.HsmTurn(self._handles, self._link)

    @classmethod
    async def open(cls, settings: HsmSettings) -> "Hsm":
        """Load the module, log in, find the KEK and prove it hardened. Raises HsmConfigError saying what to mend."""
        module = Module(settings.module, settings.locking)
        connection = await asyncio.to_thread(connect, module, settings)
        return cls(settings, module, connection)

    async def close(self) -> None:
        """End every call, then the module; the interpreter can exit afterwards."""
        self._active_sealing = None
        self._sealing.clear()
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
        found = self._escrow()
        return found.escrow_id if found else ""

    def require_kek(self, kek_id: str) -> None:
        """Raises HsmConfigError, naming the wanted KEK and those present, if the token lacks it."""
        self._link.connection.kek(kek_id)

    def custody_of(self, kind: KeyKind) -> Custody:
        """Where a new key of this kind would live on this token."""
        return self._link.connection.custody_of(kind)

    # --- ceremonies -----------------------------------------------------------------------------------------------

    async def release_escrow_key(self) -> Secret:
        """The escrow key's value, during cluster initialisation; keys are wrapped under it from now on."""
        return await self._ceremony(escrow.claim)

    async def discard_escrow_key(self) -> None:
        """This cluster declines escrow: keys are not wrapped under one."""
        await self._ceremony(escrow.discard)

    async def settle_escrow(self) -> None:
        """The initialisation is committed: the value can never be released again."""
        found = await self._run(lambda operations: escrow.find_unclaimed(operations.session))
        if found is not None:
            await self._ceremony(escrow.settle)

    async def escrow_challenge(self) -> tuple[bytes, bytes]:
        """A random value and its RFC 3394 wrapping under the escrow key. Raises KeyPolicyError if there is none."""
        found = self._escrow()
        if found is None:
            raise KeyPolicyError("this cluster declined escrow: there is no escrow key to prove shares against")
        return await self._run(lambda operations: escrow.challenge(operations.session, found))

    def _escrow(self) -> escrow.EscrowKey | None:
        return self._link.run_inline(lambda _: self._link.connection.refresh_escrow())

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

    # --- KeyCustodian ---------------------------------------------------------------------------------------------

    def set_sealing_key(self, key: WrappedKey) -> None:
        """The AES key (the barrier root key) that seals keys the token cannot hold; earlier ones still open theirs."""
        if key.usage is not KeyUsage.ENCRYPT or key.custody is not Custody.HSM:
            raise RuntimeError("the sealing key must be an AES key of hsm custody")
        self._sealing[key.key_id] = key
        self._active_sealing = key

    def expect_escrow(self, escrow_id: str) -> None:
        """Make no more keys unless they can be wrapped under this escrow key; "": the cluster declined escrow.

        A key that is silently born without its escrow blob could not follow the others out of a lost HSM.
        """
        self._expected_escrow = escrow_id

    def _escrow_at_birth(self) -> escrow.EscrowKey | None:
        """What a new key is wrapped under beside the KEK. Raises HsmConfigError when the cluster's is not there."""
        expected = self._expected_escrow
        if expected == "":
            return None
        found = self._escrow()
        if expected is not None and (found is None or found.escrow_id != expected):
            present = found.escrow_id if found else "none"
            raise HsmConfigError(
                f"this cluster's keys are escrowed under {expected}, and the HSM token holds the escrow key {present}:"
                " no key is made that could not be recovered; restore the token. Existing keys work"
            )
        return found

    def drop_keys(self) -> None:
        """Destroy every live key and forget the sealing keys: the appliance is being sealed."""
        self._drops += 1
        self._handles.drop_all()
        self._sealing.clear()
        self._active_sealing = None
        self._expected_escrow = None

    async def generate_key(self, kind: KeyKind, *, usage: KeyUsage) -> WrappedKey:
        """Generate inside the HSM and wrap at birth, under the KEK and the escrow key."""
        connection = self._link.connection
        custody = connection.custody_of(kind)
        keys.check_usage(kind, usage)
        if custody is Custody.SEALED:
            return await self._generate_sealed(usage)
        under = keys.WrappingKeys(kek=connection.active_kek, escrow=self._escrow_at_birth())
        return await self._run(
            lambda operations: keys.generate(operations, kind, usage=usage, under=under), slow=kind in SLOW_KINDS
        )

    async def encrypt(self, key: WrappedKey, items: Sequence[AeadInput]) -> list[bytes]:
        """AES-GCM under a fresh random nonce each: nonce (12 bytes), ciphertext, tag (16 bytes)."""
        weight = _weigh(items, MAX_PAYLOAD_BYTES)
        live = self._handles.get(key.key_id) or await self._load(key)
        _check(live, KeyUsage.ENCRYPT)
        if self._link.inline and (
            (weight < THREAD_FROM_BYTES and len(items) < THREAD_FROM_ITEMS) or self._always_inline
        ):
            operations = self._link.connection.operations
            if len(items) <= turn.MOST_ITEMS:
                return await self._turn.encrypt(live, items)
            try:
                return operations.encrypt(live.handle, items)
            except CryptokiError as exc:
                raise self._link.failure(operations, exc) from exc
        return await self._on_thread(live, lambda operations: operations.encrypt(live.handle, items))

    async def decrypt(self, key: WrappedKey, items: Sequence[AeadInput]) -> list[bytes | CiphertextError]:
        """Undo `encrypt`; an item that does not authenticate is answered by an error in its place."""
        weight = _weigh(items, MAX_PAYLOAD_BYTES + NONCE_BYTES + TAG_BYTES)
        live = self._handles.get(key.key_id) or await self._load(key)
        _check(live, KeyUsage.ENCRYPT)
        if self._link.inline and (
            (weight < THREAD_FROM_BYTES and len(items) < THREAD_FROM_ITEMS) or self._always_inline
        ):
            operations = self._link.connection.operations
            if len(items) <= turn.MOST_ITEMS:
                return await self._turn.decrypt(live, items)
            try:
                return operations.decrypt(live.handle, items)
            except CryptokiError as exc:
                raise self._link.failure(operations, exc) from exc
        return await self._on_thread(live, lambda operations: operations.decrypt(live.handle, items))

    async def mac(self, key: WrappedKey, messages: Sequence[bytes], *, hash_name: str) -> list[bytes]:
        """HMAC (FIPS 198-1) with `sha1`, `sha224`, `sha256`, `sha384` or `sha512`."""
        live = self._handles.get(key.key_id) or await self._load(key)
        _check(live, KeyUsage.MAC)
        heavy = sum(map(len, messages)) >= THREAD_FROM_BYTES or len(messages) >= THREAD_FROM_ITEMS
        return await self._use(live, lambda o: o.mac(live.handle, messages, hash_name=hash_name), slow=heavy)

    async def sign(
        self, key: WrappedKey, digests: Sequence[bytes], *, scheme: SignatureScheme, hash_name: str = "sha256"
    ) -> list[bytes]:
        """Sign digests made with `hash_name` (messages, for Ed25519)."""
        live = self._handles.get(key.key_id) or await self._load(key)
        _check(live, KeyUsage.SIGN)
        if live.software is not None:
            return sealed.sign(live.software, digests, scheme)
        slow = live.kind in SLOW_KINDS or len(digests) >= THREAD_FROM_ITEMS // 4
        return await self._use(
            live, lambda o: o.sign(live.handle, digests, scheme=scheme, hash_name=hash_name), slow=slow
        )

    async def random(self, length: int) -> bytes:
        """`length` bytes of the HSM's generator."""
        return await self._run(lambda operations: operations.session.random(length), slow=length >= THREAD_FROM_BYTES)

    # --- live keys ------------------------------------------------------------------------------------------------

    async def _load(self, key: WrappedKey) -> LiveKey:
        """Unwrap a key that is not live."""
        connection = self._link.connection
        epoch, drops = self._handles.epoch, self._drops
        if key.custody is Custody.SEALED:
            return await self._load_sealed(key)
        kek = connection.kek(key.kek_id)
        handle = await self._run(lambda operations: keys.unwrap(operations, key, kek))
        return self._keep(
            LiveKey(key_id=key.key_id, kind=key.kind, usage=key.usage, epoch=epoch, handle=handle), drops=drops
        )

    async def _load_sealed(self, key: WrappedKey) -> LiveKey:
        sealing, drops = self._sealing_key(key.kek_id), self._drops
        live = self._handles.get(sealing.key_id) or await self._load(sealing)
        software = await self._use(live, lambda operations: sealed.open_key(operations, key, live.handle))
        return self._keep(
            LiveKey(key_id=key.key_id, kind=key.kind, usage=key.usage, epoch=live.epoch, software=software), drops=drops
        )

    def _keep(self, live: LiveKey, *, drops: int) -> LiveKey:
        """Cache a fresh key; one whose epoch ended, or that was to be dropped while it was made, is an error."""
        if drops != self._drops:
            self._handles.discard(live)
            raise SealedError("the appliance was sealed while this key was opened")
        kept = self._handles.put(live)
        if kept.epoch != self._handles.epoch:
            raise gone("re-opened meanwhile")
        return kept

    async def _generate_sealed(self, usage: KeyUsage) -> WrappedKey:
        sealing = self._active_sealing
        if sealing is None:
            raise SealedError("keys of sealed custody can be made only while the appliance is unsealed")
        live = self._handles.get(sealing.key_id) or await self._load(sealing)
        under = self._escrow_at_birth()  # after the await: a handle of the present epoch
        return await self._use(
            live,
            lambda operations: sealed.generate(
                operations, usage=usage, sealing_key_id=sealing.key_id, sealing_handle=live.handle, under=under
            ),
        )

    def _sealing_key(self, key_id: str) -> WrappedKey:
        if self._active_sealing is None:
            raise SealedError("keys of sealed custody open only while the appliance is unsealed")
        try:
            return self._sealing[key_id]
        except KeyError:
            raise CiphertextError(f"this key is sealed by the key {key_id}, which this cluster does not have") from None

    async def _use(self, live: LiveKey, call: Callable[[Operations], T], *, slow: bool = False) -> T:
        """Run a call that uses a live key: inline, or on a thread while the key is held."""
        if self._link.inline and (not slow or self._always_inline):
            return self._link.run_inline(call)
        return await self._on_thread(live, call)

    async def _on_thread(self, live: LiveKey, call: Callable[[Operations], T]) -> T:
        self._handles.hold(live)
        return await self._link.run_pooled(call, ended=lambda: self._handles.release(live))

    async def _run(self, call: Callable[[Operations], T], *, slow: bool = False) -> T:
        """Run a call that uses no live key."""
        if self._link.inline and (not slow or self._always_inline):
            return self._link.run_inline(call)
        return await self._link.run_pooled(call, ended=_nothing)

    def _destroy(self, live: LiveKey) -> None:
        """Destroy an evicted key's object; on a slow module without waiting for it."""
        connection = self._link.opened
        if connection is None:
            return
        if self._link.inline:
            connection.operations.session.destroy(live.handle)
            return
        task = asyncio.create_task(self._destroy_on_thread(live.handle))
        self._destroying.add(task)
        task.add_done_callback(self._destroying.discard)

    async def _destroy_on_thread(self, handle: int) -> None:
        with suppress(HsmError):  # a token that is gone has destroyed its session objects itself
            await self._link.run_pooled(lambda operations: operations.session.destroy(handle), ended=_nothing)


def _nothing() -> None:
    pass


def _check(live: LiveKey, usage: KeyUsage) -> None:
    if live.usage is not usage:
        raise KeyPolicyError(f"a key of type {live.kind.value} for {live.usage.value} cannot be used to {usage.value}")


def _weigh(items: Sequence[AeadInput], limit: int) -> int:
    """The bytes of a batch. Raises KeyPolicyError for a payload over the limit."""
    weight = 0
    for item in items:
        size = len(item.payload)
        if size > limit:
            raise KeyPolicyError(f"a payload may have at most {limit} bytes inside the HSM; use a data key for more")
        weight += size + len(item.associated_data)
    return weight
