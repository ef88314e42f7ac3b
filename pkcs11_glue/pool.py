"""Sessions on threads, for calls that are too long for the event loop.

A PKCS#11 call cannot be interrupted, so a seat (a session and the memory of its operations) comes back when the call
ends, and not when the caller that waited for it is cancelled or was told that the HSM is gone.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar, cast

from core.errors import HsmError
from pkcs11_glue.module import Module
from pkcs11_glue.operations import Operations
from pkcs11_glue.session import HsmSession

T = TypeVar("T")


def _nothing() -> None:
    pass


class Seat:
    """A place for one call: its session is opened by the first call that sits there."""

    __slots__ = ("operations",)

    def __init__(self) -> None:
        self.operations: Operations | None = None


class SessionPool:
    """At most `size` calls at once. Belongs to one event loop and to one epoch of the module."""

    def __init__(self, module: Module, slot: int, *, size: int, prepare: Callable[[Operations], None]) -> None:
        self._module = module
        self._slot = slot
        self._prepare = prepare
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._seats = tuple(Seat() for _ in range(size))
        self._idle = list(self._seats)  # used as a stack: under little load few sessions are opened
        self._waiting: deque[asyncio.Future[Seat]] = deque()
        self._answers: set[asyncio.Future[Any]] = set()
        self._refusal: HsmError | None = None
        self.busy = 0  # calls that have not returned from C yet

    @property
    def created(self) -> int:
        """How many session objects its sessions have made."""
        return sum(seat.operations.session.created for seat in self._seats if seat.operations is not None)

    async def run(self, call: Callable[[Operations], T], *, ended: Callable[[], None] = _nothing) -> T:
        """Run one blocking call on a session of its own. `ended` is called, on the loop, when the call has ended."""
        try:
            seat = await self._take_seat()
        except BaseException:
            ended()
            raise
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        self._answers.add(answer)
        self.busy += 1

        def job() -> None:
            try:
                outcome, failure = call(self._operations(seat)), None
            except Exception as exc:  # noqa: BLE001 - handed on, whatever it is, to the one who waits
                outcome, failure = None, exc
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, outcome, failure)

        def settle(outcome: T | None, failure: Exception | None) -> None:
            self.busy -= 1
            self._answers.discard(answer)
            ended()
            self._give_back(seat)
            if answer.done():
                return  # cancelled, or refused
            if failure is None:
                answer.set_result(cast("T", outcome))
            else:
                answer.set_exception(failure)

        self._submit(job)
        return await answer

    def refuse(self, error: HsmError) -> None:
        """Take no more calls, and answer everybody who waits with `error`. Calls in C go on until they return."""
        self._refusal = error
        for future in (*self._answers, *self._waiting):
            if not future.done():
                future.set_exception(error)
        self._waiting.clear()
        for _ in self._threads:
            self._jobs.put(None)

    def join(self, timeout: float) -> bool:
        """After `refuse`: wait (blocking) for the threads. While False, C_Finalize would crash the process."""
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0))
        return not any(thread.is_alive() for thread in self._threads)

    def _check_open(self) -> None:
        if self._refusal is not None:
            raise self._refusal

    async def _take_seat(self) -> Seat:
        self._check_open()
        if self._idle:
            return self._idle.pop()
        turn: asyncio.Future[Seat] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            seat = await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._give_back(turn.result())
            raise
        self._check_open()  # since the seat was given the threads may have been told to end
        return seat

    def _give_back(self, seat: Seat) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(seat)
                return
        self._idle.append(seat)

    def _submit(self, job: Callable[[], None]) -> None:
        if len(self._threads) < self.busy:
            # daemon: a call that never returns must not keep the interpreter from ending
            thread = threading.Thread(target=self._work, name=f"hsm-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._jobs.put(job)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    def _operations(self, seat: Seat) -> Operations:
        if seat.operations is None:
            handle = self._module.open_session(self._slot)
            operations = Operations(self._module.functions, HsmSession(self._module.functions, handle))
            self._prepare(operations)
            seat.operations = operations
        return seat.operations
