"""`auth/token/tidy`: looks for what no revocation should leave behind, and clears it away.

 - tokens whose parent is not there: refused already, now deleted with what is below them
 - records whose accessor, parent or path differ from what is sealed in them: written anew
 - cubbyholes and leases of tokens that are not there: taken away as if the token were revoked now

It may run at any time, in several processes and again from the start after a crash. Expired tokens are left to the
housekeeper.
"""

import asyncio
from collections.abc import Iterable

import msgspec
import structlog

from appliance.access.token_entry import KIND, TokenEntry, as_record, decode
from appliance.access.tokens import TokenStore
from appliance.logging import log_internal_error
from core.errors import MimirError
from core.protocols import CoreStorage, CoreTransaction, Record

log = structlog.get_logger("mimir.tidy")

_PAGE = 500
_CUBBYHOLES = "core/cubbyhole/"
_LEASE = "lease"


class Tidied(msgspec.Struct, kw_only=True):
    """What one run found."""

    tokens: int = 0  # looked at
    lost: int = 0  # parents that are not there
    mended: int = 0  # records written anew
    detached: int = 0  # missing tokens on which something hung


class TokenTidy:
    """At most one run in this process."""

    def __init__(self, storage: CoreStorage, tokens: TokenStore) -> None:
        self._storage = storage
        self._tokens = tokens
        self._running: asyncio.Task[None] | None = None

    def start(self) -> bool:
        """Run in the background; False when a run is under way."""
        if self._running is not None and not self._running.done():
            return False
        self._running = asyncio.create_task(self._logged())
        return True

    async def close(self) -> None:
        """End a run; what it has not done, the next one does."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
            self._running = None

    async def run(self) -> Tidied:
        """Look at everything once."""
        found = Tidied()
        for kind, tidy in ((KIND, self._tidy_tokens), (_LEASE, self._tidy_leases)):
            after = ""
            while page := await self._storage.list_records(kind, after=after, limit=_PAGE):
                await tidy(page, found)
                after = page[-1].record_id
        await self._tidy_cubbyholes(found)
        return found

    async def _logged(self) -> None:
        try:
            found = await self.run()
        except MimirError as exc:
            log.warning("tidying tokens ended early", reason=exc.sentence)
        except Exception as exc:  # noqa: BLE001 - the outermost frame of a task
            log_internal_error(log, exc)
        else:
            log.info("tokens tidied", **msgspec.structs.asdict(found))

    async def _tidy_tokens(self, page: list[Record], found: Tidied) -> None:
        found.tokens += len(page)
        for record in page:
            entry = decode(record)
            if not self._is_right(record, entry):
                found.mended += await self._mend(record.record_id)
        found.lost += await self._clear({decode(record).parent for record in page})

    async def _tidy_leases(self, page: list[Record], found: Tidied) -> None:
        found.detached += await self._clear({record.parent for record in page})

    async def _tidy_cubbyholes(self, found: Tidied) -> None:
        after = ""
        while names := await self._storage.list(_CUBBYHOLES, after=after, limit=_PAGE):
            found.detached += await self._clear(name.removesuffix("/") for name in names)
            after = names[-1]

    async def _clear(self, record_ids: Iterable[str]) -> int:
        """Take away what hangs on those that are not there; how many they were."""
        missing = [
            record_id
            for record_id in sorted(set(record_ids) - {""})
            if await self._storage.get_record(KIND, record_id) is None
        ]
        for record_id in missing:
            await self._tokens.trees.detach_missing(record_id)
        return len(missing)

    def _is_right(self, record: Record, entry: TokenEntry) -> bool:
        right = as_record(entry, self._tokens.hashes)
        return (record.alias, record.parent, record.path) == (right.alias, right.parent, right.path)

    async def _mend(self, record_id: str) -> bool:
        async def body(txn: CoreTransaction) -> bool:
            record = await txn.get_record(KIND, record_id)
            if record is None or self._is_right(record, entry := decode(record)):
                return False
            await txn.put_record(KIND, as_record(entry, self._tokens.hashes), cas=record.revision)
            return True

        return await self._storage.transact(body)
