"""Ends tokens with all that hangs on them: the tokens below them, cubbyholes, leases.

The first write refuses the whole tree (`Lives`); what follows only clears away. The tree is cut from its leaves up, a
transaction for each node and some of its children, and the top goes last: it is marked as revoked, with an expiry in
the past, so that an interrupted deletion is found and resumed like any expiry, by whichever process comes first.
Memory is bounded by the depth of the tree, whatever its size.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import msgspec

from appliance.access.token_entry import KIND, TokenEntry, decode, rewritten
from appliance.access.token_lives import Lives
from core.clock import Clock
from core.errors import CasMismatchError
from core.protocols import CoreStorage, CoreTransaction, Record

T = TypeVar("T")

# Takes away, in the transaction that deletes the token with that record id, some hundred rows of what hangs on it;
# False when there is more: then the token stays, refused, and the deletion runs again.
Attachment = Callable[[CoreTransaction, str], Awaitable[bool]]

_ROOT_TOKENS = "root/auth/token/root/"  # record paths of the tokens of init and generate-root
_BATCH = 200  # records deleted by one transaction
_INLINE = 1000  # records that a caller waits for; more are left to the housekeeper
_ROUND = 10_000  # records that the housekeeper deletes before it looks at other work
_ATTEMPTS = 10  # at a record that others write too


class _Budget:
    """How many more records may be deleted now."""

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self, count: int) -> None:
        self.left -= max(count, 1)  # a step that only detached something counts too


class TokenTrees:
    """Revocation and expiry of stored tokens."""

    def __init__(self, storage: CoreStorage, clock: Clock, lives: Lives, attachments: Sequence[Attachment]) -> None:
        self._storage = storage
        self._clock = clock
        self._lives = lives
        self._attachments = tuple(attachments)

    async def revoke(self, record_id: str) -> bool:
        """Refuse the token and all below it from now on, and delete them; whether there was such a token."""

        async def body(txn: CoreTransaction) -> bool | None:
            record = await txn.get_record(KIND, record_id)
            return None if record is None else await self.remove(txn, record)

        gone = await transact_again(self._storage, body)
        if gone is False:
            await self._fell(record_id, _Budget(_INLINE))
        return gone is not None

    async def revoke_orphan(self, record_id: str) -> bool:
        """Revoke the token alone; its children become orphans. Whether it was live; another one is left as it is.

        Otherwise children would come back to life whose tree is being revoked.
        """

        async def body(txn: CoreTransaction) -> bool | None:
            record = await txn.get_record(KIND, record_id)
            if record is None or not await self._lives.is_live_in(txn, decode(record)):
                return None
            await self.mark(txn, record, spares=True)
            return True

        if await transact_again(self._storage, body) is None:
            return False
        await self._fell(record_id, _Budget(_INLINE))
        return True

    async def revoke_expired(self, limit: int) -> int:
        """Delete up to `limit` tokens whose time is over or whose revocation was interrupted, with their trees.

        Answers how many were looked at, and `limit` when a tree is so large that more is left of it.
        """
        now = int(self._clock.now())
        expired = await self._storage.expired_records(KIND, before=now, limit=limit)
        done = await self._cut_all(expired, lambda entry: entry.expires_at is not None and entry.expires_at <= now)
        return len(expired) if done else limit

    async def revoke_below(self, prefix: str, limit: int) -> int:
        """Revoke up to `limit` tokens whose record path starts with `prefix`, with their trees; 0: none is left.

        To be called until then; what an interrupted call leaves is found by the next one. The root tokens of init and
        generate-root are spared, as Vault does, unless the prefix names them: who clears a wide prefix is not to lock
        everybody out.
        """
        found = await self._storage.records_below(KIND, prefix, limit=limit)
        while found and not (due := [record for record in found if _is_meant(record, prefix)]):
            found = await self._storage.records_below(KIND, prefix, after=found[-1].path, limit=limit)
        if not found:
            return 0
        await self._cut_all(due, lambda _entry: True)
        return len(due)

    async def remove(self, txn: CoreTransaction, record: Record) -> bool:
        """Delete the record if nothing more than little hangs on it, otherwise mark it; whether it is gone."""
        if not await self._has_children(txn, record.record_id) and await self._detach(txn, record.record_id):
            return await txn.delete_record(KIND, record.record_id)
        await self.mark(txn, record)
        return False

    async def mark(self, txn: CoreTransaction, record: Record, *, spares: bool = False) -> None:
        """Refuse it from now on, with all below it (unless it `spares` them); the housekeeper does the rest."""
        entry = decode(record)
        if not entry.revoked:
            now = int(self._clock.now())
            marked = msgspec.structs.replace(entry, revoked=True, spares=spares, expires_at=now)
            await txn.put_record(KIND, rewritten(record, marked), cas=record.revision)

    async def detach_missing(self, record_id: str) -> None:
        """Clear away what hangs on a token that is not there: tokens below it, cubbyhole, leases."""
        await self._fell(record_id, _Budget(_ROUND))

    # --- inside ---------------------------------------------------------------------------------------------------

    async def _cut_all(self, records: list[Record], is_due: Callable[[TokenEntry], bool]) -> bool:
        """Delete what has nothing below it, in one transaction; mark the others, and fell them. Whether all is done."""
        ids = [record.record_id for record in sorted(records, key=lambda record: -decode(record).depth)]
        budget, done = _Budget(_ROUND), True
        for start in range(0, len(ids), _BATCH):
            for top in await transact_again(self._storage, self._cutting(ids[start : start + _BATCH], is_due)):
                done = await self._fell(top, budget) and done
        return done

    def _cutting(
        self, ids: list[str], is_due: Callable[[TokenEntry], bool]
    ) -> Callable[[CoreTransaction], Awaitable[list[str]]]:
        """Children come before their parents. A token that was renewed since it was found stays."""

        async def body(txn: CoreTransaction) -> list[str]:
            standing = []
            for record_id in ids:
                record = await txn.get_record(KIND, record_id)
                if record is None or not is_due(decode(record)):
                    continue
                if not await self.remove(txn, record):
                    standing.append(record_id)
            return standing

        return body

    async def _fell(self, top: str, budget: _Budget) -> bool:
        """Delete a refused token and all below it, as far as the budget goes; whether it is gone."""
        stack = [top]
        while stack and budget.left > 0:
            node = stack[-1]
            gone, deeper, count = await transact_again(self._storage, self._cutting_at(node))
            budget.take(count)
            if gone:
                stack.pop()
            stack += deeper
        return not stack

    def _cutting_at(self, node: str) -> Callable[[CoreTransaction], Awaitable[tuple[bool, list[str], int]]]:
        """One step: some children of the node, and the node when nothing is left on it.

        Answers whether it is gone, which children must be gone into first, and how many records were written.
        """

        async def body(txn: CoreTransaction) -> tuple[bool, list[str], int]:
            children = await txn.child_records(KIND, node, limit=_BATCH)
            record = await txn.get_record(KIND, node)
            entry = None if record is None else decode(record)
            if entry is not None and await self._lives.is_live_in(txn, entry):
                return True, [], 0  # somebody else finished, and it was made anew under the same chosen id
            if entry is not None and entry.spares:
                for child in children:
                    orphan = msgspec.structs.replace(decode(child), parent="")
                    await txn.put_record(KIND, rewritten(child, orphan), cas=child.revision)
                deeper: list[str] = []
                count = len(children)
            else:
                deeper, count = await self._cut_leaves(txn, children)
            gone = not deeper and count == len(children) < _BATCH and await self._detach(txn, node)
            if gone and record is not None:
                await txn.delete_record(KIND, node)
            return gone, deeper, count

        return body

    async def _cut_leaves(self, txn: CoreTransaction, children: list[Record]) -> tuple[list[str], int]:
        """Delete those with nothing below them; which of the others came first, and how many were deleted."""
        leaves: list[str] = []
        deeper: list[str] = []
        for child in children:
            if await self._has_children(txn, child.record_id):
                deeper.append(child.record_id)
            elif await self._detach(txn, child.record_id):
                leaves.append(child.record_id)
            else:  # this transaction has written enough
                deeper.append(child.record_id)
                break
        if leaves:
            await txn.delete_records(KIND, leaves)
        return deeper, len(leaves)

    async def _detach(self, txn: CoreTransaction, record_id: str) -> bool:
        done = True
        for attachment in self._attachments:
            done = await attachment(txn, record_id) and done
        return done

    @staticmethod
    async def _has_children(txn: CoreTransaction, record_id: str) -> bool:
        return bool(await txn.child_records(KIND, record_id, limit=1))


def _is_meant(record: Record, prefix: str) -> bool:
    """Whether a revocation below `prefix` takes this token: root tokens only when they are named."""
    return not record.path.startswith(_ROOT_TOKENS) or prefix.startswith(_ROOT_TOKENS)


async def transact_again(storage: CoreStorage, body: Callable[[CoreTransaction], Awaitable[T]]) -> T:
    """A transaction, again when somebody else wrote the record between our read and our write."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return await storage.transact(body)
        except CasMismatchError:
            continue
    return await storage.transact(body)
