"""Transactions that run again when somebody else wrote the same row between our read and our write."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from core.errors import CasMismatchError
from core.protocols import CoreStorage, CoreTransaction

T = TypeVar("T")

ATTEMPTS = 10


async def transact_again(
    storage: CoreStorage, body: Callable[[CoreTransaction], Awaitable[T]], *, attempts: int = ATTEMPTS
) -> T:
    """Commit `body`, again from the start after a CasMismatchError. Raises the one of the last attempt."""
    for _ in range(attempts - 1):
        try:
            return await storage.transact(body)
        except CasMismatchError:
            continue
    return await storage.transact(body)
