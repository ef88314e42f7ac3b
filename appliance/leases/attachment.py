"""What hangs on a token goes with it: its leases are marked in the transaction that deletes the token."""

from collections.abc import Awaitable, Callable

from appliance.leases.entries import KIND, decode_lease, marked
from core.clock import Clock
from core.protocols import CoreTransaction

_PAGE = 200  # leases of one transaction


def lease_attachment(clock: Clock) -> Callable[[CoreTransaction, str], Awaitable[bool]]:
    """For the token store: refuses the leases of a token from now on and leaves their revocation to the housekeeper.

    A marked lease hangs on no token any more, so each call finds those that are left. False: there may be more.
    """

    async def mark_leases(txn: CoreTransaction, token_record_id: str) -> bool:
        due = int(clock.now())
        page = await txn.child_records(KIND, token_record_id, limit=_PAGE)
        for record in page:
            await txn.put_record(KIND, marked(decode_lease(record), due=due).record(), cas=record.revision)
        return len(page) < _PAGE

    return mark_leases
