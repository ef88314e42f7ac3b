"""Accounts for leases: made, renewed, removed.

intent, durable → account on the database → lease and end of the intent in one transaction → answer
"""

import asyncio
from typing import Any

import structlog

from core.clock import Clock
from core.engine import Lease, MountInfo, Passwords
from core.errors import InvalidRequestError
from core.protocols import Transaction
from core.requests import Caller, LeaseGrant
from dynamic.connection import Connection, unknown_connection
from dynamic.intents import Intent, Intents
from dynamic.open_targets import OpenTargets
from dynamic.plugins import plugin_of
from dynamic.role import Role
from dynamic.store import DynamicStore
from dynamic.target import (
    NewAccount,
    Removal,
    Renewal,
    TargetLoginError,
    TargetRefusedError,
)
from dynamic.usernames import Usernames

_log = structlog.get_logger("mimir.dynamic")

_SLACK = 5  # seconds that an account outlives its lease, so that the database never ends it first


class Made:
    """An account with its password and the lease that is to be stored for it."""

    __slots__ = ("grant", "password", "username")

    def __init__(self, username: str, password: str, grant: LeaseGrant) -> None:
        self.username = username
        self.password = password
        self.grant = grant


class Credentials:
    """Those of one mount."""

    def __init__(
        self,
        store: DynamicStore,
        targets: OpenTargets,
        intents: Intents,
        usernames: Usernames,
        *,
        passwords: Passwords,
        clock: Clock,
        mount: MountInfo,
    ) -> None:
        self._store = store
        self._targets = targets
        self._intents = intents
        self._usernames = usernames
        self._passwords = passwords
        self._clock = clock
        self._mount = mount

    async def make(self, role: Role, caller: Caller | None, *, reference: str) -> Made:
        """An account on the role's database. Raises TargetAwayError, TargetRefusedError; then nothing is left of it.

        `reference` (the request's id) stands beside the database's own text in the log.
        """
        connection = await self.connection_of(role)
        await self._targets.admit(connection.name)  # before anything is written
        username = await self._usernames.make(
            plugin_of(connection.plugin_name),
            role=role.name,
            display_name=caller.display_name if caller else "",
            template=connection.username_template,
        )
        password = await self._passwords.generate(role.password_policy or connection.password_policy)
        now = int(self._clock.now())
        ttl = min(role.ttl, self._mount.max_lease_ttl)
        account = NewAccount(
            username=username,
            password=password,
            expires_at=now + ttl + _SLACK,
            statements=role.creation_statements,
            rollback=role.rollback_statements,
        )
        intent = Intent(
            username=username,
            db_name=connection.name,
            role=role.name,
            begun_at=now,
            revocation_statements=role.revocation_statements,
        )
        await self._intents.begin(intent)
        await self._create(connection, account, reference)

        async def stored(txn: Transaction) -> None:
            await Intents.fulfil(txn, username)

        internal: dict[str, Any] = {"username": username, "db_name": connection.name, "role": role.name}
        if role.revocation_statements:
            internal["revocation_statements"] = list(role.revocation_statements)
        grant = LeaseGrant(
            ttl=ttl, max_ttl=role.longest, renewable=True, internal=internal, target=connection.name, stored=stored
        )
        return Made(username, password, grant)

    async def _create(self, connection: Connection, account: NewAccount, reference: str) -> None:
        try:
            await self._targets.run(connection.name, lambda target: target.create(account))
        except (TargetRefusedError, TargetLoginError) as exc:
            await self._intents.end(account.username)
            if isinstance(exc, TargetRefusedError):
                _log.error(
                    "a database refused the statements of a role",
                    connection=connection.name,
                    username=account.username,
                    reason=exc.detail or exc.sentence,
                    request_id=reference,
                )
                raise TargetRefusedError(
                    f"{exc.sentence}; the log has the database's text under request id {reference}"
                ) from None
            raise
        except BaseException:  # also when the request was cut off: it may have come to an account or not
            await asyncio.shield(self._intents.abandon(account.username))
            raise

    async def connection_of(self, role: Role) -> Connection:
        """The role's connection, which must allow the role."""
        connection = await self._store.connection(role.db_name)
        if connection is None:
            raise unknown_connection(role.db_name)
        connection.check_allows(role.name)
        return connection

    async def remove(self, role: Role, username: str) -> None:
        """Remove an account that was made for no lease."""
        removal = Removal(username=username, statements=role.revocation_statements)
        await self._targets.run(role.db_name, lambda target: target.drop(removal))
        await self._intents.end(username)

    async def renew(self, lease: Lease, *, increment: int) -> LeaseGrant:
        """Let the account live as long as the lease will. Raises InvalidRequestError when its role is gone."""
        role = await self._store.role(str(lease.internal.get("role", "")))
        if role is None:
            raise InvalidRequestError("the role of this lease is gone: it ends when it ends")
        now = int(self._clock.now())
        end = lease.issued_at + min(role.longest, lease.max_ttl or role.longest, self._mount.max_lease_ttl)
        ttl = min(increment or role.ttl, end - now)
        if ttl <= 0:
            raise InvalidRequestError("past the max TTL, cannot renew")
        name = str(lease.internal["db_name"])
        renewal = Renewal(
            username=str(lease.internal["username"]),
            expires_at=now + ttl + _SLACK,
            statements=role.renew_statements if role.db_name == name else (),  # else they are for another database
        )
        await self._targets.run(name, lambda target: target.renew(renewal))
        return LeaseGrant(ttl=ttl, max_ttl=min(role.longest, lease.max_ttl or role.longest), renewable=True)

    async def revoke(self, lease: Lease) -> None:
        """Remove the account, by the statements of the role as it is now, or was when the role is gone."""
        username, name = str(lease.internal["username"]), str(lease.internal["db_name"])
        role = await self._store.role(str(lease.internal.get("role", "")))
        kept = tuple(lease.internal.get("revocation_statements", ()))
        statements = role.revocation_statements if role is not None and role.db_name == name else kept
        removal = Removal(username=username, statements=statements)
        try:
            await self._targets.run(name, lambda target: target.drop(removal))
        except TargetRefusedError as exc:
            _log.error("a database refused to remove an account", connection=name, username=username, reason=exc.detail)
            raise
        if not lease.lease_id:  # taken back before it was stored
            await self._intents.end(username)
