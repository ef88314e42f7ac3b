"""PostgreSQL, by asyncpg.

Statements of one call go to the server as one simple query: they are one transaction and one round trip.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import asyncpg

from core.errors import InvalidRequestError, OperatorError
from dynamic.scrubbing import scrubbed
from dynamic.sql_text import NAMES, Dialect, Script, identifier, literal, mentions, parse_statements
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
from dynamic.targets import scram
from dynamic.targets.postgresql_removal import LOCK, REMOVE, REMOVE_OWNED, elsewhere
from dynamic.targets.postgresql_url import Address, address_of

T = TypeVar("T")
_Connection = Any  # asyncpg's, which are typed in part

_CONNECT_TIMEOUT = 5.0  # seconds
_STATEMENT_TIMEOUT = 12.0  # seconds, also on the server: what was given up must not happen later
_TRIES = 4
_OF_ONE_ROLE = re.compile(r"(?:CREATE|ALTER)\s+(?:ROLE|USER)\s|GRANT\s(?:(?!\sON\s).)*$", re.IGNORECASE | re.DOTALL)
_COMMIT = re.compile(r"\b(?:COMMIT|END|CALL|DO)\b", re.IGNORECASE)  # ends of a transaction, and what may have one
_SETS = re.compile(r"(?:SET|RESET)\s", re.IGNORECASE)
_IDLE = 300.0  # seconds until an idle connection is closed
_LONGEST_NAME = 63  # bytes; the server cuts a longer one, and would change the role of the shorter name
_MAX_OPEN = 4  # connections; Vault's default
_SETTINGS = {
    "application_name": "mimir",
    "standard_conforming_strings": "on",  # sql_text relies on it
    "statement_timeout": str(int(_STATEMENT_TIMEOUT * 1000)),
    "lock_timeout": "8000",
    "client_min_messages": "error",
}
_RENEW = ("ALTER ROLE \"{{name}}\" VALID UNTIL '{{expiration}}'",)
_SET_PASSWORD = ("ALTER ROLE \"{{name}}\" WITH PASSWORD '{{password}}'",)
_NAMED = {StatementKind.CREATION, StatementKind.RENEWAL, StatementKind.REVOCATION, StatementKind.ROTATION}

_AWAY = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InterfaceError,
    asyncpg.exceptions.InternalClientError,
    asyncpg.exceptions.TargetServerAttributeNotMatched,
)
_DEAD = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    ConnectionError,
)
_LOGIN = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidPasswordError)


class PostgresTarget(Target):
    """One database server, through a pool that opens when it is first used."""

    def __init__(self, details: ConnectionDetails) -> None:
        self._name = details.name
        self.address = address_of(details)
        self._own_password = self.address.password
        self._max_open = _count(details.options, "max_open_connections", _MAX_OPEN, most=100)
        self._iterations = _count(details.options, "scram_iterations", scram.ITERATIONS, most=1_000_000)
        self._hashes = _authentication(details.options)
        self._pool: asyncpg.Pool | None = None
        self._opening = asyncio.Lock()
        self._scripts: dict[tuple[StatementKind, Statements], Script] = {}

    # --- the four -------------------------------------------------------------------------------------------------

    async def create(self, account: NewAccount) -> None:
        """Run the creation statements, in one transaction: all or nothing."""
        script = self._script(StatementKind.CREATION, account.statements)
        values = _values(account.username, await self._hashed(account.password), account.expires_at)
        hidden = (account.password, values["password"])
        text = _text(_in_turn(script.render(values)))
        was_lost = False  # a session, with the answer: what it was asked for may be done

        async def make(connection: _Connection) -> None:
            nonlocal was_lost
            try:
                await connection.execute(text)
            except _DEAD:
                was_lost = True
                raise

        try:
            await self._run(make, what="the role's creation statements", hidden=hidden)
        except (TargetRefusedError, TargetLoginError) as exc:
            if isinstance(exc, TargetRefusedError) and account.rollback:
                # of what they did outside the transaction, by dblink or so
                rollback = self._script(StatementKind.ROLLBACK, account.rollback).render(values)
                with contextlib.suppress(TargetRefusedError):
                    await self._execute(rollback, hidden=hidden, what="the role's rollback statements")
            if was_lost:
                raise TargetAwayError(
                    f"the database {self._name} was lost while it made the account: {exc.sentence}"
                ) from None
            if isinstance(exc, TargetRefusedError) and _COMMIT.search(text):
                await self._undo(account.username, exc)
            raise

    async def renew(self, renewal: Renewal) -> None:
        """Move VALID UNTIL."""
        script = self._script(StatementKind.RENEWAL, renewal.statements or _RENEW)
        values = _values(renewal.username, "", renewal.expires_at)
        await self._execute(script.render(values), what="the role's renew statements")

    async def set_password(self, change: PasswordChange) -> None:
        """Change the password."""
        script = self._script(StatementKind.ROTATION, change.statements or _SET_PASSWORD)
        values = _values(change.username, await self._hashed(change.password), None)
        hidden = (change.password, values["password"])
        await self._execute(script.render(values), hidden=hidden, what="the rotation statements")

    async def drop(self, removal: Removal) -> None:
        """Remove the role.

        By default its sessions are ended, what it owns goes to the connection's own user, in every database of the
        server, and its privileges and default privileges are revoked.
        """
        if removal.statements:
            script = self._script(StatementKind.REVOCATION, removal.statements)
            values = _values(removal.username, "", None)
            try:
                await self._execute(script.render(values), what="the role's revocation statements")
            except TargetRefusedError:
                if await self._is_there(removal.username):
                    raise  # else it is gone already
            return
        await self._run(lambda connection: self._remove(connection, removal.username), what="the removal of the role")

    # --- the others -----------------------------------------------------------------------------------------------

    async def check(self) -> None:
        """Reach the server."""
        await self._execute(["SELECT 1"], what="SELECT 1")

    async def login(self, username: str, password: str) -> None:
        """Log in and out."""
        async with self._session(username, password):
            pass

    async def run_as(self, username: str, password: str, statements: Statements) -> None:
        """In a transaction that is rolled back."""
        script = self._script(StatementKind.VERIFICATION, statements)
        rendered = script.render(_values(username, "", None))
        async with self._session(username, password) as connection:
            with self._errors("the role's verify statements", (password,)):
                transaction = connection.transaction()
                await transaction.start()
                try:
                    for statement in rendered:
                        await connection.execute(statement)
                finally:
                    await transaction.rollback()

    async def accounts(self, prefix: str) -> list[str]:
        """Roles by name."""
        query = "SELECT rolname FROM pg_catalog.pg_roles WHERE starts_with(rolname, $1) ORDER BY 1"
        rows = await self._run(lambda connection: connection.fetch(query, prefix), what="the list of roles")
        return [row["rolname"] for row in rows]

    async def grants(self, username: str) -> list[str]:
        """Attributes, memberships, and privileges on the objects of the connection's database."""
        rows = await self._run(lambda connection: connection.fetch(_GRANTS, username), what="the list of grants")
        if not rows:
            raise TargetRefusedError(f"there is no role {username}")
        return [row["grant"] for row in rows]

    async def close(self) -> None:
        """End the pool; calls under way fail."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.terminate()

    # --- inside ---------------------------------------------------------------------------------------------------

    def _script(self, kind: StatementKind, statements: Statements) -> Script:
        """Parsed once."""
        key = (kind, statements)
        found = self._scripts.get(key)
        if found is None:
            if len(self._scripts) > 1_000:
                self._scripts.clear()
            found = self._scripts[key] = parse_statements(statements, Dialect.POSTGRESQL, kind)
        return found

    async def _hashed(self, password: str) -> str:
        return await scram.verifier(password, iterations=self._iterations) if self._hashes else password

    async def _execute(self, statements: list[str], *, what: str, hidden: tuple[str, ...] = ()) -> None:
        text = _text(statements)
        await self._run(lambda connection: connection.execute(text), what=what, hidden=hidden)

    async def _run(self, work: Callable[[Any], Awaitable[T]], *, what: str, hidden: tuple[str, ...] = ()) -> T:
        """`work` with a connection of the pool.

        Again when that turns out to be dead, as after a restart, or when the transaction was in the way of another one.
        """
        with self._errors(what, hidden):
            pool = await self._opened()
            for attempt in range(_TRIES):
                try:
                    async with pool.acquire(timeout=_STATEMENT_TIMEOUT) as connection:
                        return await work(connection)
                except _DEAD:
                    if attempt:
                        raise
                    await pool.expire_connections()
                except asyncpg.PostgresError as exc:
                    if attempt == _TRIES - 1 or not _is_conflict(exc):
                        raise
                    await asyncio.sleep(0.01 * 4**attempt)
            raise RuntimeError("the last attempt ends the loop")

    async def _opened(self) -> asyncpg.Pool:
        if self._pool is None:
            async with self._opening:
                if self._pool is None:
                    self._pool = await asyncpg.create_pool(
                        **_arguments(self.address),
                        min_size=0,
                        max_size=self._max_open,
                        max_inactive_connection_lifetime=_IDLE,
                        statement_cache_size=0,
                        reset=_rolled_back,
                    )
        return self._pool

    @contextlib.asynccontextmanager
    async def _session(self, username: str, password: str) -> AsyncIterator[asyncpg.Connection]:
        """A connection of its own, as somebody else."""
        with self._errors("the login", (password,)):
            connection = await asyncpg.connect(**_arguments(self.address) | {"user": username, "password": password})
        try:
            yield connection
        finally:
            await connection.close(timeout=2)

    async def _is_there(self, username: str) -> bool:
        query = "SELECT FROM pg_catalog.pg_roles WHERE rolname = $1"
        return bool(await self._run(lambda connection: connection.fetch(query, username), what="the list of roles"))

    async def _undo(self, username: str, cause: TargetRefusedError) -> None:
        """What was committed before the refusal. Raises when it may be left, so that the engine comes back to it."""
        try:
            await self.drop(Removal(username=username))
        except (TargetRefusedError, TargetLoginError) as exc:
            raise OperatorError(
                f"{cause.sentence}; what was made of the account could not be removed yet: {exc.sentence}"
            ) from None

    async def _remove(self, connection: _Connection, username: str) -> None:
        if "$" in username:  # it stands between dollar quotes
            raise TargetRefusedError("a role whose name has a $ is not removed")
        values = {"who": literal(username, Dialect.POSTGRESQL)}
        try:
            await connection.execute(REMOVE % values)
        except asyncpg.PostgresError:
            await connection.execute("ROLLBACK")
            await self._shut_out(connection, username)
            await self._remove_elsewhere(connection, username)
            await connection.execute(REMOVE % values)

    async def _shut_out(self, connection: _Connection, username: str) -> None:
        """What cannot be removed at once can at least log in no more."""
        role = identifier(username, Dialect.POSTGRESQL)
        with contextlib.suppress(asyncpg.PostgresError):
            await connection.execute(f"ALTER ROLE {role} NOLOGIN")

    async def _remove_elsewhere(self, connection: _Connection, username: str) -> None:
        """What the role owns or may do in other databases of the server is dealt with there."""
        for database in await elsewhere(connection, username):
            arguments = _arguments(self.address) | {"database": database}
            other = await asyncpg.connect(**arguments)
            try:
                await other.execute(REMOVE_OWNED % {"who": literal(username, Dialect.POSTGRESQL)})
            finally:
                await other.close(timeout=2)

    @contextlib.contextmanager
    def _errors(self, what: str, hidden: tuple[str, ...]) -> Iterator[None]:
        """The driver's errors as the engine knows them; nothing of `hidden` stands in them."""
        try:
            yield
        except _LOGIN:
            raise TargetLoginError(f"the database {self._name} refuses the user name or the password") from None
        except TimeoutError:
            raise TargetAwayError(f"the database {self._name} did not answer in time") from None
        except _AWAY as exc:
            reason = scrubbed(exc, (*hidden, self._own_password))
            raise TargetAwayError(f"the database {self._name} cannot be reached: {reason}") from None
        except asyncpg.PostgresError as exc:
            code = f"{exc.sqlstate} {_word(exc)}"
            detail = scrubbed(f"{code}: {exc} {exc.detail or ''}", (*hidden, self._own_password))
            raise TargetRefusedError(f"the database {self._name} refused {what} ({code})", detail=detail) from None


def _is_conflict(exc: asyncpg.PostgresError) -> bool:
    """Whether the same transaction may succeed when it is made again."""
    if isinstance(exc, asyncpg.SerializationError | asyncpg.DeadlockDetectedError):
        return True
    return exc.sqlstate == "XX000" and "concurrently" in str(exc)


def _in_turn(statements: list[str]) -> list[str]:
    """With the lock before the first statement that may change rows of the catalog that are not the account's own.

    What comes first makes the account, which takes the server milliseconds (it hashes): that is done side by side.
    """
    first = next((at for at, statement in enumerate(statements) if not _OF_ONE_ROLE.match(statement)), None)
    return statements if first is None else [*statements[:first], LOCK, *statements[first:]]


def _text(statements: list[str]) -> str:
    """As one query. A session that serves others afterwards is given back as it was, also its role (SET ROLE)."""
    if any(map(_SETS.match, statements)):
        statements = [*statements, "SET SESSION AUTHORIZATION DEFAULT", "RESET ALL"]
    return ";\n".join(statements)


def _word(exc: asyncpg.PostgresError) -> str:
    """The condition's name: InsufficientPrivilegeError is insufficient_privilege."""
    name = type(exc).__name__.removesuffix("Error")
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name).lstrip("_")


async def _rolled_back(connection: _Connection) -> None:
    """Before a connection goes back into the pool."""
    if connection.is_in_transaction():
        await connection.execute("ROLLBACK")


def _arguments(address: Address) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "dsn": address.dsn,
        "password": address.password,
        "ssl": address.ssl,
        "timeout": _CONNECT_TIMEOUT,
        "command_timeout": _STATEMENT_TIMEOUT,
        "server_settings": _SETTINGS,
    }
    if address.user:
        arguments["user"] = address.user
    if address.many_hosts:
        arguments["target_session_attrs"] = "primary"
    return arguments


def _values(username: str, password: str, expires_at: int | None) -> Mapping[str, str]:
    if len(username.encode()) > _LONGEST_NAME:
        raise TargetRefusedError(f"the name of a role has at most {_LONGEST_NAME} bytes")
    values = {"name": username, "username": username}
    if password:
        values["password"] = password
    if expires_at is not None:
        values["expiration"] = datetime.fromtimestamp(expires_at, UTC).strftime("%Y-%m-%d %H:%M:%S+0000")
    return values


def _count(options: Mapping[str, Any], name: str, default: int, *, most: int) -> int:
    try:
        found = int(options.get(name, default))
    except (TypeError, ValueError, OverflowError):
        raise InvalidRequestError(f"{name} must be a whole number") from None
    if not 1 <= found <= most:
        raise InvalidRequestError(f"{name} must be between 1 and {most}")
    return found


def _authentication(options: Mapping[str, Any]) -> bool:
    """Whether passwords are hashed here."""
    word = options.get("password_authentication", "scram-sha-256")
    if word not in ("password", "scram-sha-256"):  # a list has no place in a set
        raise InvalidRequestError("password_authentication must be scram-sha-256 or password")
    return bool(word == "scram-sha-256")


def check_statements(kind: StatementKind, statements: Statements) -> None:
    """Raise InvalidRequestError for statements that cannot be rendered or do nothing for the account."""
    if kind is StatementKind.CREATION and not statements:
        raise InvalidRequestError(
            "creation_statements are required, such as CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' "
            "VALID UNTIL '{{expiration}}'"
        )
    script = parse_statements(statements, Dialect.POSTGRESQL, kind)
    if statements and kind in _NAMED and not mentions(script, NAMES):
        raise InvalidRequestError(f"{kind.value} must name the account: {{{{name}}}}")


_GRANTS = """
SELECT 'attributes: ' || concat_ws(' ', CASE WHEN rolcanlogin THEN 'LOGIN' ELSE 'NOLOGIN' END,
  CASE WHEN rolsuper THEN 'SUPERUSER' END, CASE WHEN rolcreaterole THEN 'CREATEROLE' END,
  CASE WHEN rolcreatedb THEN 'CREATEDB' END, CASE WHEN rolreplication THEN 'REPLICATION' END,
  CASE WHEN rolbypassrls THEN 'BYPASSRLS' END) AS grant, 1 AS place
FROM pg_catalog.pg_roles WHERE rolname = $1
UNION ALL
SELECT 'member of ' || g.rolname, 2 FROM pg_catalog.pg_auth_members m
  JOIN pg_catalog.pg_roles g ON g.oid = m.roleid JOIN pg_catalog.pg_roles u ON u.oid = m.member WHERE u.rolname = $1
UNION ALL
SELECT string_agg(a.privilege_type, ', ' ORDER BY a.privilege_type) || ' on ' || n.nspname || '.' || c.relname, 3
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace,
       pg_catalog.aclexplode(c.relacl) a JOIN pg_catalog.pg_roles u ON u.oid = a.grantee
  WHERE u.rolname = $1 GROUP BY n.nspname, c.relname
UNION ALL
SELECT string_agg(a.privilege_type, ', ' ORDER BY a.privilege_type) || ' on schema ' || n.nspname, 4
  FROM pg_catalog.pg_namespace n, pg_catalog.aclexplode(n.nspacl) a JOIN pg_catalog.pg_roles u ON u.oid = a.grantee
  WHERE u.rolname = $1 GROUP BY n.nspname
UNION ALL
SELECT string_agg(a.privilege_type, ', ' ORDER BY a.privilege_type) || ' on database ' || d.datname, 5
  FROM pg_catalog.pg_database d, pg_catalog.aclexplode(d.datacl) a JOIN pg_catalog.pg_roles u ON u.oid = a.grantee
  WHERE u.rolname = $1 GROUP BY d.datname
ORDER BY 2, 1
"""

PLUGIN = Plugin(type="postgresql", open=PostgresTarget, check_statements=check_statements, max_username=63)
