"""The link to the token: a breaker that opens when the token is gone, and the re-opening behind it.

    ready  --a call or the watch finds the token gone-->  reopening  --opened again-->  ready
                                                          reopening  --PIN refused-->   failed (for good)

While it is not ready every operation is refused at once, except that a planned re-opening is waited for. Re-opening
ends the pool's threads first, since C_Finalize during a call crashes the process, and takes a new epoch, since object
handles start again from one.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Literal, TypeVar

import structlog

from core.errors import HsmConfigError, HsmError, HsmGoneError
from pkcs11_glue.connection import Connection, connect, translate
from pkcs11_glue.cryptoki import CryptokiError
from pkcs11_glue.errors import PinRefusedError, closed, code_name, gone, hsm_error
from pkcs11_glue.login import without_logins
from pkcs11_glue.module import Module
from pkcs11_glue.operations import Operations
from pkcs11_glue.pool import SessionPool
from pkcs11_glue.probe import measure_thread_hop
from pkcs11_glue.settings import HsmSettings

T = TypeVar("T")

INLINE_BELOW_US = 50.0  # a thread hop costs about as much on an idle machine
INLINE_BELOW_HOPS = 2.0  # on a busy one both take longer: a local token must not be taken for a slow one then
POOL_ABOVE_US = 200.0  # hysteresis: a busy machine is not a slow HSM
WATCH_SECONDS = 1.0
WATCH_TIMEOUT = 5.0  # a network HSM that does not answer a question about its token for so long is gone
FIRST_BACKOFF, LAST_BACKOFF = 0.05, 2.0  # seconds
CLOSE_TIMEOUT = 5.0
RENEWAL_PATIENCE = 5.0  # seconds that a call waits for a planned re-opening, which takes about 0.1
MAX_CREATED = 500_000  # session objects; SoftHSM forgets 247 bytes of each until C_Finalize: 120 MB

log = structlog.get_logger("pkcs11_glue")


class HsmLink:
    """Owns the module, the connection and the pool; used from one event loop."""

    def __init__(
        self,
        settings: HsmSettings,
        module: Module,
        connection: Connection,
        *,
        on_epoch: Callable[[], None],
        flush: Callable[[], None],
    ) -> None:
        """`on_epoch`: handles from before are void; `flush` makes the calls that wait for the end of the turn."""
        self.settings = settings
        self.state: Literal["ready", "reopening", "failed"] = "ready"
        self.reason = ""
        self.inline = False
        self._module = module
        self._on_epoch = on_epoch
        self._flush = flush
        self._renewed: asyncio.Event | None = None  # while a planned re-opening is under way
        self._refusal: HsmError = closed()
        self._connection: Connection | None = None
        self._pool: SessionPool | None = None
        self._sentry: SessionPool | None = None  # one seat for the watch, which must not queue behind work
        self._old_pools: list[SessionPool] = []
        self._latencies: deque[float] = deque(maxlen=5)
        self._reopening: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()
        self._install(connection)
        self._watching = asyncio.create_task(self._watch(), name="hsm-watch")

    def _install(self, connection: Connection) -> None:
        self._on_epoch()
        self._latencies.clear()
        self._connection = connection
        self._made_by_self_tests = connection.operations.session.created
        slot = connection.login.token.slot
        self._pool = SessionPool(self._module, slot, size=self.settings.pool_size, prepare=connection.prepare)
        self._sentry = SessionPool(self._module, slot, size=1, prepare=connection.prepare)
        mode = self.settings.mode
        self.inline = mode == "inline" or (mode == "auto" and _is_quick(connection))
        self.state, self.reason = "ready", ""

    @property
    def connection(self) -> Connection:
        """The opened token. Raises HsmGoneError at once while there is none."""
        if self._connection is None:
            raise self._refusal
        return self._connection

    @property
    def opened(self) -> Connection | None:
        """The opened token, or None."""
        return self._connection

    @property
    def is_renewing(self) -> bool:
        """Whether a planned re-opening is under way: `renewed` waits for its end."""
        return self._renewed is not None

    async def renewed(self) -> None:
        """Wait until a planned re-opening has ended, or long enough; then `connection` says how things stand."""
        if self._renewed is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._renewed.wait(), RENEWAL_PATIENCE)

    # --- calls ----------------------------------------------------------------------------------------------------

    def run_inline(self, call: Callable[[Operations], T]) -> T:
        """Call on the event loop's own session."""
        connection = self.connection
        operations = connection.operations
        try:
            return connection.call(operations, call)
        except CryptokiError as exc:
            raise self.failure(operations, exc) from exc

    async def run_pooled(self, call: Callable[[Operations], T], *, ended: Callable[[], None]) -> T:
        """Call on a thread of the pool. `ended` is called when the call has ended, whatever became of the caller."""
        connection = self._connection
        if connection is None or self._pool is None:
            ended()
            raise self._refusal

        def translated(operations: Operations) -> T:
            try:
                return connection.call(operations, call)
            except CryptokiError as exc:
                raise translate(operations, exc) from exc

        try:
            return await self._pool.run(translated, ended=ended)
        except HsmGoneError as exc:
            if connection is self._connection:
                self.trip(exc)
            raise
        except CryptokiError as exc:  # from opening the session, before there was one to test with
            failure = hsm_error(exc)
            if isinstance(failure, HsmGoneError) and connection is self._connection:
                self.trip(failure)
            raise failure from exc

    async def run_aside(self, call: Callable[[Operations], T]) -> T:
        """Call on the watch's thread, which waits for no work: for questions about the token. Raises CryptokiError."""
        if self._sentry is None:
            raise self._refusal
        return await self._sentry.run(call)

    def failure(self, operations: Operations, error: CryptokiError) -> HsmError:
        """The error for the caller of a failed inline call; opens the breaker if the token is gone."""
        translated = translate(operations, error)
        if isinstance(translated, HsmGoneError):
            self.trip(translated)
        return translated

    # --- breaker --------------------------------------------------------------------------------------------------

    def trip(self, error: HsmError) -> None:
        """Open the breaker and re-open the token in the background."""
        if self._connection is None or self._stop.is_set():
            return
        log.warning("hsm gone", code=error.code, reason=error.sentence)
        self._start_reopening(error)

    def _renew(self) -> None:
        """Re-open the token as planned: calls under way are finished, and those that come wait for the new epoch."""
        log.info("hsm is re-opened as planned", reason="many keys were created")
        self._flush()
        if self._connection is None:
            return  # one of those calls found the token gone
        self._renewed = asyncio.Event()
        self._start_reopening(gone("planned re-opening: many keys were created"))
        if self._reopening is not None:
            self._reopening.add_done_callback(self._end_renewal)

    def _end_renewal(self, _: "asyncio.Task[None]") -> None:
        if self._renewed is not None:
            self._renewed.set()
            self._renewed = None

    def _start_reopening(self, error: HsmError) -> None:
        self.state, self.reason = "reopening", error.sentence
        self._refusal = error
        self._connection = None
        self._on_epoch()
        self._retire_pools(error)
        self._reopening = asyncio.create_task(self._reopen(), name="hsm-reopen")

    def _retire_pools(self, error: HsmError) -> None:
        for pool in (self._pool, self._sentry):
            if pool is not None:
                pool.refuse(error)
                self._old_pools.append(pool)
        self._pool = self._sentry = None

    async def _reopen(self) -> None:
        if not await self._drain():
            return
        await asyncio.to_thread(self._module.finalize)
        backoff = FIRST_BACKOFF
        while not self._stop.is_set():
            try:
                connection = await asyncio.to_thread(connect, self._module, self.settings, attempts=1)
            except PinRefusedError as exc:
                self.state, self.reason = "failed", exc.sentence
                self._refusal = HsmGoneError(exc.sentence, code=exc.code)
                log.error("hsm refuses the PIN; not tried again", code=exc.code)  # noqa: TRY400 - the traceback adds nothing
                return
            except (HsmError, HsmConfigError) as exc:
                self.reason = exc.sentence
            else:
                self._install(connection)
                log.info("hsm is back", token=connection.login.token.label)
                return
            await self._pause(backoff)
            backoff = min(backoff * 2, LAST_BACKOFF)

    async def _drain(self) -> bool:
        """Wait until no thread is inside the module, however long; when closing, False after a while."""
        while self._old_pools:
            pool = self._old_pools[0]
            if await asyncio.to_thread(pool.join, CLOSE_TIMEOUT):
                self._old_pools.pop(0)
            elif self._stop.is_set():
                return False
            else:
                self.reason = "a call into the HSM's module has not returned; it cannot be re-opened before"
        return True

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return

    # --- watch ----------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        while not self._stop.is_set():
            await self._pause(WATCH_SECONDS)
            if self._connection is not None and not self._stop.is_set():
                await self._look(self._connection)

    async def _look(self, connection: Connection) -> None:
        try:
            async with asyncio.timeout(WATCH_TIMEOUT):
                latency = await self._examine_twice(connection)
        except TimeoutError:
            self._trip_if(connection, gone("no answer"))
        except CryptokiError as exc:
            self._trip_if(connection, gone(code_name(exc.code)))
        except HsmError as exc:
            self._trip_if(connection, exc)
        else:
            self._adapt(connection, latency)

    async def _examine_twice(self, connection: Connection) -> float:
        """What fails in the moment of another process's C_Login does not fail when there is none."""
        try:
            return await self._examine(connection)
        except (CryptokiError, HsmError):
            with without_logins(connection.login_lock):
                return await self._examine(connection)

    async def _examine(self, connection: Connection) -> float:
        """Ask for the token, and time a small operation (microseconds)."""

        def look(operations: Operations) -> float:
            connection.check_alive()
            start = time.perf_counter()
            if not operations.is_healthy():
                raise gone("known-answer test failed")
            return (time.perf_counter() - start) * 1e6

        if self.inline or self._sentry is None:
            return look(connection.operations)
        connection.thread_hop_us = await self._sentry.run(lambda _: measure_thread_hop())
        return await self._sentry.run(look)

    def _trip_if(self, connection: Connection, error: HsmError) -> None:
        if connection is self._connection:
            self.trip(error)

    def _adapt(self, connection: Connection, latency: float) -> None:
        if connection is not self._connection:
            return
        self._latencies.append(latency)
        if self._is_worn():
            self._renew()
            return
        if self.settings.mode != "auto" or len(self._latencies) < (self._latencies.maxlen or 0):
            return
        connection.latency_us = min(self._latencies)
        if self.inline and connection.latency_us > POOL_ABOVE_US:
            self.inline = False
        elif not self.inline and _is_quick(connection):
            self.inline = True

    def _is_worn(self) -> bool:
        """Whether it is time for a planned re-opening, and no thread is inside the module; later it is not asked."""
        if self._connection is None or self._pool is None:
            return False
        created = self._connection.operations.session.created - self._made_by_self_tests + self._pool.created
        return created > 2 * MAX_CREATED or (created > MAX_CREATED and not self._pool.busy)

    # --- end ------------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Stop intake, end the threads, C_Finalize last; without C_Finalize if a call never returns."""
        self._stop.set()
        self._refusal = closed()
        self._connection = None
        self._on_epoch()
        self._retire_pools(self._refusal)
        await self._watching
        if self._reopening is not None:
            await self._reopening
        if not await self._drain():
            log.error("a call into the hsm has not returned; the module is left as it is")
            return
        await asyncio.to_thread(self._module.finalize)


def _is_quick(connection: Connection) -> bool:
    return connection.latency_us < max(INLINE_BELOW_US, INLINE_BELOW_HOPS * connection.thread_hop_us)
