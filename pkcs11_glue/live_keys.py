"""Keys on their way to work: unwrapped, opened or derived when first asked for, then kept in the HandleCache.

Whatever awaits here may find another epoch, or a sealed appliance, when it goes on; `_keep` is where that is noticed.
A LiveKey that a method answers is of the present epoch until the caller awaits something else.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from core.errors import CiphertextError, HsmError, SealedError
from core.protocols import Custody, KeyUsage, WrappedKey
from pkcs11_glue import derivation, keys, sealed
from pkcs11_glue.connection import Connection
from pkcs11_glue.cryptoki import CryptokiError
from pkcs11_glue.derivation import Purpose
from pkcs11_glue.errors import gone
from pkcs11_glue.handles import HandleCache, LiveKey
from pkcs11_glue.link import HsmLink
from pkcs11_glue.module import Module
from pkcs11_glue.operations import Operations
from pkcs11_glue.settings import HsmSettings
from pkcs11_glue.turn import MOST_ITEMS, HsmTurn

T = TypeVar("T")

THREAD_FROM_BYTES = 1 << 16  # a batch of so many bytes takes longer than a thread hop
LONG = 256  # and so does one of that weight


class LiveKeys:
    """The live keys over one link, and how calls that use them are run."""

    def __init__(self, settings: HsmSettings, module: Module, connection: Connection) -> None:
        self.handles = HandleCache(settings.handle_cache, self._destroy)
        self.always_inline = settings.mode == "inline"
        self.active_sealing: WrappedKey | None = None
        self._sealing: dict[str, WrappedKey] = {}
        self._drops = 0  # how often `drop` was called
        self._destroying: set[asyncio.Future[None]] = set()
        self.link = HsmLink(settings, module, connection, on_epoch=self.handles.start_epoch, flush=self._flush)
        self._turn = HsmTurn(self.handles, self.link)

    def _flush(self) -> None:
        self._turn.flush()

    # --- the sealing key ------------------------------------------------------------------------------------------

    def set_sealing_key(self, key: WrappedKey) -> None:
        """The AES key (the barrier root key) that seals keys the token cannot hold; earlier ones still open theirs."""
        if key.usage is not KeyUsage.ENCRYPT or key.custody is not Custody.HSM:
            raise RuntimeError("the sealing key must be an AES key of hsm custody")
        self._sealing[key.key_id] = key
        self.active_sealing = key

    def drop(self) -> None:
        """Destroy every live key and forget the sealing keys: the appliance is being sealed."""
        self._drops += 1
        self.handles.drop_all()
        self.forget_sealing_keys()

    def forget_sealing_keys(self) -> None:
        """Nothing of sealed custody is made or opened any more."""
        self._sealing.clear()
        self.active_sealing = None

    def sealing_key(self, key_id: str) -> WrappedKey:
        """What opens a sealed key. Raises SealedError, or CiphertextError for a key of another cluster."""
        if self.active_sealing is None:
            raise SealedError("keys of sealed custody open only while the appliance is unsealed")
        try:
            return self._sealing[key_id]
        except KeyError:
            raise CiphertextError(f"this key is sealed by the key {key_id}, which this cluster does not have") from None

    # --- opening --------------------------------------------------------------------------------------------------

    async def get(self, key: WrappedKey) -> LiveKey:
        """The live key of a record; unwrapped or opened if it is not live yet."""
        return self.handles.get(key.key_id) or await self.load(key)

    async def load(self, key: WrappedKey) -> LiveKey:
        """Unwrap a key that is not live."""
        if self.link.is_renewing:
            await self.link.renewed()
        connection = self.link.connection
        epoch, drops = self.handles.epoch, self._drops
        if key.custody is Custody.SEALED:
            return await self._load_sealed(key)
        kek = connection.kek(key.kek_id)
        handle, modulus = await self.run(lambda operations: keys.open_key(operations, key, kek))
        opened = LiveKey(key_id=key.key_id, kind=key.kind, usage=key.usage, epoch=epoch, handle=handle, modulus=modulus)
        return self._keep(opened, drops=drops)

    async def _load_sealed(self, key: WrappedKey) -> LiveKey:
        drops = self._drops
        sealing = await self.get(self.sealing_key(key.kek_id))
        software = await self.use(sealing, lambda operations: sealed.open_key(operations, key, sealing.handle))
        opened = LiveKey(key_id=key.key_id, kind=key.kind, usage=key.usage, epoch=sealing.epoch, software=software)
        return self._keep(opened, drops=drops)

    async def derived(self, key: WrappedKey, context: bytes, purpose: Purpose) -> LiveKey:
        """The key that a key with usage DERIVE makes for a context: a session object, cached as others are."""
        name = derivation.cache_name(key.key_id, context, purpose)
        live = self.handles.get(name)
        if live is not None:
            return live
        drops = self._drops
        base = await self.get(key)
        kind, usage = derivation.result(key.kind, purpose)
        handle = await self.use(base, lambda o: derivation.derive(o.session, base.handle, key.kind, context, purpose))
        return self._keep(LiveKey(key_id=name, kind=kind, usage=usage, epoch=base.epoch, handle=handle), drops=drops)

    def _keep(self, live: LiveKey, *, drops: int) -> LiveKey:
        """Cache a fresh key; one whose epoch ended, or that was to be dropped while it was made, is an error."""
        if drops != self._drops:
            self.handles.discard(live)
            raise SealedError("the appliance was sealed while this key was opened")
        kept = self.handles.put(live)
        if kept.epoch != self.handles.epoch:
            raise gone("re-opened meanwhile")
        return kept

    # --- running --------------------------------------------------------------------------------------------------

    def perform(
        self,
        live: LiveKey,
        weight: int,
        size: int,
        items: Sequence[object],
        method: Callable[..., T],
        *arguments: object,
    ) -> Awaitable[T]:
        """A method of Operations with the key, `items` and `arguments`; await it at once.

        Small ones wait for the end of the loop's turn, larger ones run at once, long ones on a thread. `weight` is how
        long it takes, in small encryptions; `size` is in bytes.
        """
        if self.link.inline and ((size < THREAD_FROM_BYTES and weight < LONG) or self.always_inline):
            if len(items) <= MOST_ITEMS:
                return self._turn.call(live, weight, method, items, *arguments)
            return self._at_once(live, method, items, arguments)
        return self.use_on_thread(live, lambda operations: method(operations, live.handle, items, *arguments))

    async def _at_once(
        self, live: LiveKey, method: Callable[..., T], items: Sequence[object], arguments: tuple[object, ...]
    ) -> T:
        operations = self.link.connection.operations
        try:
            return method(operations, live.handle, items, *arguments)
        except CryptokiError as exc:
            raise self.link.failure(operations, exc) from exc

    async def use(
        self, live: LiveKey, call: Callable[[Operations], T], *, slow: bool = False, also: LiveKey | None = None
    ) -> T:
        """Run a call that uses a live key, or two: inline, or on a thread while they are held."""
        if self.link.inline and (not slow or self.always_inline):
            return self.link.run_inline(call)
        return await self.use_on_thread(live, call, also=also)

    async def use_on_thread(self, live: LiveKey, call: Callable[[Operations], T], *, also: LiveKey | None = None) -> T:
        """As `use`, on a thread."""
        held = (live,) if also is None else (live, also)
        for key in held:
            self.handles.hold(key)

        def release() -> None:
            for key in held:
                self.handles.release(key)

        return await self.link.run_pooled(call, ended=release)

    async def run(self, call: Callable[[Operations], T], *, slow: bool = False) -> T:
        """Run a call that uses no live key."""
        if self.link.is_renewing:
            await self.link.renewed()
        if self.link.inline and (not slow or self.always_inline):
            return self.link.run_inline(call)
        return await self.link.run_pooled(call, ended=_nothing)

    # --- destroying -----------------------------------------------------------------------------------------------

    def _destroy(self, live: LiveKey) -> None:
        """Destroy an evicted key's object; on a slow module without waiting for it."""
        connection = self.link.opened
        if connection is None:
            return
        if self.link.inline:
            connection.operations.session.destroy(live.handle)
            return
        task = asyncio.create_task(self._destroy_on_thread(live.handle))
        self._destroying.add(task)
        task.add_done_callback(self._destroying.discard)

    async def _destroy_on_thread(self, handle: int) -> None:
        with suppress(HsmError):  # a token that is gone has destroyed its session objects itself
            await self.link.run_pooled(lambda operations: operations.session.destroy(handle), ended=_nothing)


def _nothing() -> None:
    pass
