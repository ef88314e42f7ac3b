"""MySQL and MariaDB, by aiomysql.

Account statements commit by themselves there, so what a creation that failed has made is removed again.
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import pymysql

from core.durations import parse_duration
from core.errors import InvalidRequestError, OperatorError
from dynamic.target import (
    ConnectionDetails,
    NewAccount,
    PasswordChange,
    Plugin,
    Removal,
    Renewal,
    StatementKind,
    Statements,
    Target,
    TargetAwayError,
    TargetLoginError,
    TargetRefusedError,
)
from dynamic.targets import mysql_accounts
from dynamic.targets.mysql_errors import MySqlRefusedError, of_statements
from dynamic.targets.mysql_pool import Connector, Pool
from dynamic.targets.mysql_session import Session, wait_closed
from dynamic.targets.mysql_statements import Scripts, check_statements, values_of
from dynamic.targets.mysql_url import address_of

T = TypeVar("T")

_MAX_OPEN = 4  # connections; Vault's default


class MySqlTarget(Target):
    """One server, or the one of several hosts that takes writes."""

    def __init__(self, details: ConnectionDetails) -> None:
        self._name = details.name
        self._address = address_of(details)
        self._connector = Connector(details.name, self._address)
        most_open = _count(details.options, "max_open_connections", _MAX_OPEN)
        self._pool = Pool(
            self._connect,
            most_open=most_open,
            most_idle=min(_count(details.options, "max_idle_connections", most_open), most_open),
            lifetime=_lifetime(details.options),
            moves=len(self._address.hosts) > 1,
        )
        self._scripts = Scripts()

    # --- the four -------------------------------------------------------------------------------------------------

    async def create(self, account: NewAccount) -> None:
        """Run the creation statements; what they made is removed when one of them is refused."""
        if account.username.endswith(" "):
            raise TargetRefusedError("a user name cannot end with a space: the database would cut it off")
        values = values_of(account.username, account.password, account.expires_at)
        steps = self._scripts.steps(StatementKind.CREATION, account.statements, values)
        try:
            await self._run(steps.run, what=steps, hidden=(account.password,))
        except TargetRefusedError as exc:
            number = exc.number if isinstance(exc, MySqlRefusedError) else 0
            if steps.attempts and not steps.met_existing(number):
                await self._undo(account, values, exc)
            raise
        except TargetLoginError as exc:
            if steps.attempts:  # the first session died over the statements, and there was no second one
                raise TargetAwayError(exc.sentence) from None
            raise

    async def renew(self, renewal: Renewal) -> None:
        """Accounts have no end of their own, so without statements there is nothing to do."""
        if renewal.statements:
            values = values_of(renewal.username, expires_at=renewal.expires_at)
            steps = self._scripts.steps(StatementKind.RENEWAL, renewal.statements, values)
            await self._run(steps.run, what=steps)

    async def set_password(self, change: PasswordChange) -> None:
        """Change the password, by default for every host of the user name."""
        hidden = (change.password,)
        if change.statements:
            values = values_of(change.username, change.password)
            steps = self._scripts.steps(StatementKind.ROTATION, change.statements, values)
            await self._run(steps.run, what=steps, hidden=hidden)
            return
        is_there = await self._run(
            lambda session: mysql_accounts.set_password(session, change.username, change.password),
            what="the change of the password",
            hidden=hidden,
        )
        if not is_there:
            raise TargetRefusedError(f"the database {self._name} has no account {change.username}")

    async def drop(self, removal: Removal) -> None:
        """Remove the account for every host, and end its sessions."""
        if not removal.statements:
            await self._remove(removal.username)
            return
        steps = self._scripts.steps(StatementKind.REVOCATION, removal.statements, values_of(removal.username))
        try:
            await self._run(steps.run, what=steps)
        except TargetRefusedError:
            if await self._hosts(removal.username):
                raise  # else it is gone already
        await self._run(
            lambda session: mysql_accounts.end_sessions(session, removal.username), what="the end of the sessions"
        )

    # --- the others -----------------------------------------------------------------------------------------------

    async def check(self) -> None:
        """Reach the server."""
        await self._run(lambda session: session.rows("SELECT 1"), what="SELECT 1")

    async def login(self, username: str, password: str) -> None:
        """Log in and out, without a database: the account may have no right to that of the connection."""
        async with self._session(username, password, ""):
            pass

    async def run_as(self, username: str, password: str, statements: Statements) -> None:
        """In a transaction that is rolled back; statements that commit by themselves (DDL) are not undone."""
        steps = self._scripts.steps(StatementKind.VERIFICATION, statements, values_of(username))
        async with self._session(username, password, self._address.database) as session:
            with self._errors(steps, (password,)):
                await session.run("START TRANSACTION")
                try:
                    await steps.run(session)
                finally:
                    if not session.closed:
                        await session.run("ROLLBACK")

    async def accounts(self, prefix: str) -> list[str]:
        """User names, each once."""
        return await self._run(
            lambda session: mysql_accounts.names_with(session, prefix), what="the list of accounts (mysql.user)"
        )

    async def grants(self, username: str) -> list[str]:
        """SHOW GRANTS, without hashes of passwords."""
        found = await self._run(lambda session: mysql_accounts.grants_of(session, username), what="the list of grants")
        if not found:
            raise TargetRefusedError(f"the database {self._name} has no account {username}")
        return found

    async def close(self) -> None:
        """End the sessions; calls under way fail."""
        await self._pool.close()

    # --- inside ---------------------------------------------------------------------------------------------------

    async def _undo(self, account: NewAccount, values: Mapping[str, str], cause: TargetRefusedError) -> None:
        """Raises when something may be left, so that the engine comes back to it."""
        if account.rollback:
            steps = self._scripts.steps(StatementKind.ROLLBACK, account.rollback, values)
            with contextlib.suppress(TargetRefusedError):
                await self._run(steps.run, what=steps, hidden=(account.password,))
        try:
            await self._remove(account.username)
        except (TargetRefusedError, TargetLoginError) as exc:
            raise OperatorError(
                f"{cause.sentence}; what was made of the account could not be removed yet: {exc.sentence}"
            ) from None

    async def _remove(self, username: str) -> None:
        await self._run(lambda session: mysql_accounts.remove(session, username), what="the removal of the account")

    async def _hosts(self, username: str) -> list[str]:
        return await self._run(
            lambda session: mysql_accounts.hosts_of(session, username), what="the list of accounts (mysql.user)"
        )

    async def _connect(self) -> Session:
        address = self._address
        return await self._connector.open(user=address.user, password=address.password, database=address.database)

    async def _run(self, work: Callable[[Session], Awaitable[T]], *, what: object, hidden: tuple[str, ...] = ()) -> T:
        with self._errors(what, hidden):
            return await self._pool.run(work)

    @contextlib.asynccontextmanager
    async def _session(self, username: str, password: str, database: str) -> AsyncIterator[Session]:
        """A session of its own, as somebody else."""
        session = await self._connector.open(user=username, password=password, database=database)
        try:
            yield session
        finally:
            await wait_closed([session.leave()])

    @contextlib.contextmanager
    def _errors(self, what: object, hidden: tuple[str, ...]) -> Iterator[None]:
        try:
            yield
        except (pymysql.Error, OSError) as exc:
            secrets = (*hidden, self._address.password)
            raise of_statements(exc, self._name, what=what, hidden=secrets) from None


def _count(options: Mapping[str, Any], name: str, default: int) -> int:
    """0 is the default, as in Vault."""
    try:
        found = int(options.get(name) or default)
    except (TypeError, ValueError, OverflowError):
        raise InvalidRequestError(f"{name} must be a whole number") from None
    if not 1 <= found <= 100:
        raise InvalidRequestError(f"{name} must be between 1 and 100")
    return found


def _lifetime(options: Mapping[str, Any]) -> int:
    found = parse_duration(options.get("max_connection_lifetime"), field="max_connection_lifetime")
    if found < 0:
        raise InvalidRequestError("max_connection_lifetime cannot be negative")
    return found


PLUGIN = Plugin(
    type="mysql",
    open=MySqlTarget,
    check_statements=check_statements,
    max_username=32,
    username_template=(
        '{{ printf "v-%s-%s-%s-%s" (.DisplayName | truncate 10) (.RoleName | truncate 10) (random 20) (unix_time)'
        " | truncate 32 }}"
    ),
    default_statements={
        StatementKind.REVOCATION: (
            "REVOKE ALL PRIVILEGES, GRANT OPTION FROM '{{name}}'@'%'",
            "DROP USER IF EXISTS '{{name}}'@'%'",
        ),
        StatementKind.ROTATION: ("ALTER USER '{{name}}'@'%' IDENTIFIED BY '{{password}}'",),
        StatementKind.ROOT_ROTATION: ("ALTER USER '{{name}}'@'%' IDENTIFIED BY '{{password}}'",),
    },
)
LEGACY_PLUGIN = replace(  # before MySQL 5.7.8, names were shorter
    PLUGIN,
    max_username=16,
    username_template='{{ printf "v-%s-%s" (.RoleName | truncate 4) (random 20) | truncate 16 }}',
)
