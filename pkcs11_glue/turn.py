"""Small inline calls, collected over one turn of the event loop and made one after another at its end.

The HSM library and the interpreter each fill the processor's caches. Taking turns request by request, a call that
costs 20 us on its own costs 50 us and leaves the interpreter slower, too; one after another they cost what they should
(bench/request_path.py). A lone call waits for the end of its turn, a few microseconds.
"""

import asyncio
from collections import deque
from collections.abc import Sequence

from core.errors import CiphertextError
from core.protocols import AeadInput
from pkcs11_glue.cryptoki import CryptokiError
from pkcs11_glue.errors import gone
from pkcs11_glue.handles import HandleCache, LiveKey
from pkcs11_glue.link import HsmLink

MOST_ITEMS = 8  # of one call; larger batches are warm by themselves
_ITEMS_A_TURN = 128  # about 3 ms on SoftHSM; what is left waits, so that other work of the loop gets in between

Sealed = list[bytes]
Opened = list[bytes | CiphertextError]


class HsmTurn:
    """Collects AES-GCM calls of one event loop. A key is held until its call is made."""

    def __init__(self, handles: HandleCache, link: HsmLink) -> None:
        self._handles = handles
        self._link = link
        self._waiting: deque[tuple[asyncio.Future[Sealed | Opened], LiveKey, bool, Sequence[AeadInput]]] = deque()

    async def encrypt(self, live: LiveKey, items: Sequence[AeadInput]) -> Sealed:
        """As Operations.encrypt, at the end of this turn."""
        return await self._enqueue(live, False, items)  # type: ignore[return-value]  # which of the two, the flag says

    async def decrypt(self, live: LiveKey, items: Sequence[AeadInput]) -> Opened:
        """As Operations.decrypt, at the end of this turn."""
        return await self._enqueue(live, True, items)  # type: ignore[return-value]  # as above

    def _enqueue(
        self, live: LiveKey, is_decrypt: bool, items: Sequence[AeadInput]
    ) -> "asyncio.Future[Sealed | Opened]":
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._run)
        future: asyncio.Future[Sealed | Opened] = loop.create_future()
        self._handles.hold(live)
        self._waiting.append((future, live, is_decrypt, items))
        return future

    def _run(self) -> None:
        left = _ITEMS_A_TURN
        waiting = self._waiting
        while waiting and left > 0:
            future, live, is_decrypt, items = waiting.popleft()
            left -= len(items)
            if not future.done():  # its caller may be gone
                self._call(future, live, is_decrypt, items)
            self._handles.release(live)
        if waiting:
            asyncio.get_running_loop().call_soon(self._run)

    def _call(
        self,
        future: "asyncio.Future[Sealed | Opened]",
        live: LiveKey,
        is_decrypt: bool,
        items: Sequence[AeadInput],
    ) -> None:
        connection = self._link.opened
        if connection is None or live.epoch != self._handles.epoch:
            future.set_exception(gone("re-opened meanwhile"))
            return
        operations = connection.operations
        try:
            future.set_result(
                operations.decrypt(live.handle, items) if is_decrypt else operations.encrypt(live.handle, items)
            )
        except CryptokiError as exc:
            future.set_exception(self._link.failure(operations, exc))
        except Exception as exc:  # noqa: BLE001 - whoever waits must learn of it, and the others must get their turn
            future.set_exception(exc)
