"""Small inline calls, collected over one turn of the event loop and made one after another at its end.

The HSM library and the interpreter each fill the processor's caches. Taking turns request by request, a call that
costs 20 us on its own costs 50 us and leaves the interpreter slower, too; one after another they cost what they should
(bench/request_path.py). A lone call waits for the end of its turn, a few microseconds.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar, cast

from pkcs11_glue.cryptoki import CryptokiError
from pkcs11_glue.errors import gone
from pkcs11_glue.handles import HandleCache, LiveKey
from pkcs11_glue.link import HsmLink

T = TypeVar("T")

MOST_ITEMS = 8  # of one call; larger batches are warm by themselves
_WEIGHT_A_TURN = 128  # about 3 ms on SoftHSM; what is left waits, so that other work of the loop gets in between


class HsmTurn:
    """Collects the calls of one event loop. A key is held until its call is made."""

    def __init__(self, handles: HandleCache, link: HsmLink) -> None:
        self._handles = handles
        self._link = link
        # Any: the call's type, its arguments and its result's type are known to whoever asked for it
        self._waiting: deque[tuple[asyncio.Future[Any], LiveKey, int, Callable[..., Any], tuple[Any, ...]]] = deque()

    def call(self, live: LiveKey, weight: int, method: Callable[..., T], *arguments: object) -> "asyncio.Future[T]":
        """A method of Operations with the key and `arguments`, at the end of this turn.

        `weight` is how long it takes, in small encryptions.
        """
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._run)
        future = loop.create_future()
        live.users += 1  # HandleCache.hold, without the call
        self._waiting.append((future, live, weight, method, arguments))
        return cast("asyncio.Future[T]", future)

    def flush(self) -> None:
        """Make every call that waits, now."""
        while self._waiting:
            self._run()

    def _run(self) -> None:
        left = _WEIGHT_A_TURN
        waiting = self._waiting
        while waiting and left > 0:
            future, live, weight, method, arguments = waiting.popleft()
            left -= weight
            if not future.done():  # its caller may be gone
                self._call(future, live, method, arguments)
            self._handles.release(live)
        if waiting:
            asyncio.get_running_loop().call_soon(self._run)

    def _call(
        self, future: "asyncio.Future[Any]", live: LiveKey, method: Callable[..., Any], arguments: tuple[Any, ...]
    ) -> None:
        connection = self._link.opened
        if connection is None or live.epoch != self._handles.epoch:
            future.set_exception(gone("re-opened meanwhile"))
            return
        operations = connection.operations
        try:
            future.set_result(connection.call(operations, method, live.handle, *arguments))
        except CryptokiError as exc:
            future.set_exception(self._link.failure(operations, exc))
        except Exception as exc:  # noqa: BLE001 - whoever waits must learn of it, and the others must get their turn
            future.set_exception(exc)
