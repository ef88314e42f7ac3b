"""Accounts on a database beside the leases of this mount: what is on one side only is an orphan.

An account is durable as an intent before it is made, and its lease goes only after it was dropped. So: accounts first,
then intents, then leases, and what seems to be an orphan then is looked for once more among the accounts. Nothing that
is being made or removed meanwhile is taken for one.
"""

import re
from typing import Any

import msgspec
import structlog

from core.clock import Clock
from core.engine import LeaseBook, Measure
from core.errors import InvalidRequestError, MimirError
from dynamic.connection import Connection, unknown_connection
from dynamic.open_targets import OpenTargets
from dynamic.store import CONNECTIONS, INTENTS, STATIC_ROLES, DynamicStore
from dynamic.target import Removal
from dynamic.usernames import PREFIX, Usernames

_log = structlog.get_logger("mimir.dynamic")

RESULTS = "reconcile/"
_SHOWN = 1_000  # names of each kind in an answer
_LITERAL = re.compile(r"[^{]*")
_PAGE = 500


class Findings(msgspec.Struct, kw_only=True):
    """What a comparison found. Lists hold at most a thousand names; `…_count` says how many there were."""

    connection: str
    at: int  # epoch seconds
    checked_accounts: int = 0
    checked_leases: int = 0
    orphan_accounts: list[str] = msgspec.field(default_factory=list)
    orphan_account_count: int = 0
    foreign_accounts: list[str] = msgspec.field(default_factory=list)
    foreign_account_count: int = 0
    orphan_leases: list[str] = msgspec.field(default_factory=list)
    orphan_lease_count: int = 0
    removed_accounts: int = 0
    revoked_leases: int = 0
    failures: list[dict[str, str]] = msgspec.field(default_factory=list)
    unsupported: str = ""  # why the plugin cannot do it

    def data(self) -> dict[str, Any]:
        """As it is answered."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        if not self.unsupported:
            del found["unsupported"]
        return found


class Reconciler:
    """That of one mount."""

    def __init__(
        self, store: DynamicStore, targets: OpenTargets, usernames: Usernames, *, leases: LeaseBook, clock: Clock
    ) -> None:
        self._store = store
        self._targets = targets
        self._usernames = usernames
        self._leases = leases
        self._clock = clock

    async def reconcile(self, name: str, *, apply: bool = False, include_foreign: bool = False) -> Findings:
        """Compare; with `apply` remove what is an orphan. The findings are kept."""
        connection = await self._store.connection(name)
        if connection is None:
            raise unknown_connection(name)
        orphans, foreign, leases, found = await self._compare(connection)
        if apply:
            accounts = [*orphans, *foreign] if include_foreign else orphans
            await self._apply(connection, accounts, leases, found)
        await self._store.storage.put(RESULTS + name, msgspec.json.encode(found))
        return found

    async def last(self, name: str) -> Findings | None:
        """What the last comparison found."""
        entry = await self._store.storage.get(RESULTS + name)
        return None if entry is None else msgspec.json.decode(entry.value, type=Findings)

    async def housekeep(self) -> None:
        """Compare the connections whose turn it is; nothing is removed."""
        now = int(self._clock.now())
        for name in await self._store.names(CONNECTIONS):
            connection = await self._store.connection(name)
            if connection is None or not connection.reconcile_interval:
                continue
            last = await self.last(name)
            if last is not None and last.at <= now < last.at + connection.reconcile_interval:
                continue
            await self._compare_in_turn(name, now)

    async def _compare_in_turn(self, name: str, now: int) -> None:
        try:
            found = await self.reconcile(name)
        except InvalidRequestError as exc:  # its plugin cannot list accounts
            found = Findings(connection=name, at=now, unsupported=exc.sentence)
            await self._store.storage.put(RESULTS + name, msgspec.json.encode(found))
        except MimirError as exc:
            _log.warning("accounts were not compared with leases", connection=name, reason=exc.sentence)
        except Exception as exc:  # noqa: BLE001 - a plugin may be anybody's; the other connections must go on
            _log.error("accounts were not compared with leases", connection=name, error=type(exc).__name__)
        else:
            if found.orphan_account_count or found.orphan_lease_count:
                _log.warning(
                    "orphans on a database",
                    connection=name,
                    accounts=found.orphan_account_count,
                    leases=found.orphan_lease_count,
                    hint=f"mimir dynamic reconcile {name}",
                )

    async def measures(self) -> list[Measure]:
        """How many orphans the last comparisons found."""
        measures = []
        for name in await self._store.names(RESULTS):
            found = await self.last(name)
            if found is None or found.unsupported:
                continue
            for side, value in (("accounts", found.orphan_account_count), ("leases", found.orphan_lease_count)):
                text = "Accounts without a lease and leases without an account, at the last comparison."
                labels = {"connection": name, "side": side}
                measures.append(Measure(name="database_orphans", text=text, value=value, labels=labels))
        return measures

    # --- comparing ------------------------------------------------------------------------------------------------

    async def _compare(self, connection: Connection) -> tuple[list[str], list[str], list[str], Findings]:
        """Orphan accounts, foreign accounts, orphan leases, and all that as findings."""
        prefix = prefix_of(connection)
        accounts = set(await self._accounts(connection, prefix))
        found = Findings(connection=connection.name, at=int(self._clock.now()), checked_accounts=len(accounts))
        rest = accounts - await self._kept()
        without_account: dict[str, str] = {}  # lease id by user name
        after = ""
        while True:
            page, after = await self._leases.page(after=after, limit=_PAGE)
            for lease in page:
                username = str(lease.internal.get("username", ""))
                rest.discard(username)  # whatever its connection: several may lead to one server
                if lease.internal.get("db_name") != connection.name:
                    continue
                found.checked_leases += 1
                if username not in accounts and username.startswith(prefix):
                    without_account[username] = lease.lease_id
            if not after:
                break
        if rest or without_account:
            present = set(await self._accounts(connection, prefix))
            rest &= present
            without_account = {name: lease for name, lease in without_account.items() if name not in present}
        orphans = sorted([name for name in rest if await self._usernames.is_own(name)])
        foreign = sorted(rest.difference(orphans))
        leases = sorted(without_account.values())
        found.orphan_accounts, found.orphan_account_count = orphans[:_SHOWN], len(orphans)
        found.foreign_accounts, found.foreign_account_count = foreign[:_SHOWN], len(foreign)
        found.orphan_leases, found.orphan_lease_count = leases[:_SHOWN], len(leases)
        return orphans, foreign, leases, found

    async def _accounts(self, connection: Connection, prefix: str) -> list[str]:
        return await self._targets.run(connection.name, lambda target: target.accounts(prefix))

    async def _kept(self) -> set[str]:
        """Accounts that have no lease and are no orphans: being made, of static roles, of connections themselves."""
        kept: set[str] = set()
        for name in await self._store.names(CONNECTIONS):
            connection = await self._store.connection(name)
            kept |= set() if connection is None else {connection.username}
        for name in await self._store.names(STATIC_ROLES):
            role = await self._store.static_role(name)
            kept |= set() if role is None else {role.username, role.alternate_username}
        return kept | set(await self._store.names(INTENTS))

    # --- removing -------------------------------------------------------------------------------------------------

    async def _apply(self, connection: Connection, accounts: list[str], leases: list[str], found: Findings) -> None:
        for username in accounts:
            removal = Removal(username=username)
            try:
                await self._targets.run(connection.name, lambda target, removal=removal: target.drop(removal))  # type: ignore[misc]  # mypy sees no default argument here
                found.removed_accounts += 1
                _log.warning("an account without a lease was removed", connection=connection.name, username=username)
            except MimirError as exc:
                _note(found, username, exc)
        for lease_id in leases:
            try:
                found.revoked_leases += await self._leases.revoke(lease_id)
            except MimirError as exc:
                _note(found, lease_id, exc)


def _note(found: Findings, what: str, exc: MimirError) -> None:
    if len(found.failures) < _SHOWN:
        found.failures.append({"what": what, "reason": exc.sentence})


def prefix_of(connection: Connection) -> str:
    """How the names of a connection's accounts begin."""
    if not connection.username_template:
        return PREFIX
    found = _LITERAL.match(connection.username_template)
    literal = found.group().strip() if found else ""
    if not literal and (quoted := re.match(r'\{\{-?\s*printf\s+"([^"%\\]+)', connection.username_template)):
        literal = quoted.group(1)
    if not literal:
        raise InvalidRequestError(
            "the username_template of this connection begins with nothing that all its accounts share,"
            " so they cannot be told from others"
        )
    return literal
