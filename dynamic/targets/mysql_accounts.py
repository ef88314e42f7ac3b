"""Accounts of a MySQL server: a user name has one for each host it may come from, and all of them are one account here.

Comparisons of the server may ignore case and trailing spaces, so what it finds is compared again here.
"""

import re
from collections.abc import Awaitable

import pymysql

from dynamic.sql_text import Dialect, identifier, literal
from dynamic.targets.mysql_errors import number_of
from dynamic.targets.mysql_session import Session

_DENIED = frozenset({1044, 1142, 1143, 1227})  # no right to the database, table, column, command
_NO_TABLE = frozenset({1109, 1146})
_NO_THREAD = frozenset({1094, 1095})  # gone meanwhile; somebody else's
_NO_ACCOUNT = frozenset({1141, 1269, 1396})
_ANY_HOST = "%"
# SHOW GRANTS of MariaDB: GRANT USAGE ON *.* TO `u`@`%` IDENTIFIED BY PASSWORD '*…' REQUIRE SSL WITH GRANT OPTION
_HASH = re.compile(r" IDENTIFIED (BY PASSWORD|VIA|WITH) .*?(?= REQUIRE | WITH |$)", re.DOTALL)


async def hosts_of(session: Session, username: str) -> list[str]:
    """The hosts that the user name has accounts for; any host, where the connection's user may not look."""
    query = f"SELECT User, Host FROM mysql.user WHERE User = {_literal(username)}"  # noqa: S608 - quoted
    try:
        rows = await session.rows(query)
    except pymysql.Error as exc:
        if number_of(exc) not in _DENIED:
            raise
        return [_ANY_HOST]
    return sorted(host for user, host in rows if user == username)


async def names_with(session: Session, prefix: str) -> list[str]:
    """User names that begin so."""
    rows = await session.rows(
        f"SELECT DISTINCT User FROM mysql.user WHERE LEFT(User, {len(prefix)}) = {_literal(prefix)}"  # noqa: S608 - quoted
    )
    return sorted({user for (user,) in rows if user.startswith(prefix)})


async def grants_of(session: Session, username: str) -> list[str]:
    """SHOW GRANTS of each host, without hashes of passwords. Empty when there is no such account."""
    found: list[str] = []
    for host in await hosts_of(session, username):
        try:
            rows = await session.rows(f"SHOW GRANTS FOR {_account(username, host)}")
        except pymysql.Error as exc:
            if number_of(exc) not in _NO_ACCOUNT:
                raise
            continue
        found += [_HASH.sub("", str(row[0])) for row in rows]
    return found


async def set_password(session: Session, username: str, password: str) -> bool:
    """Change it for all hosts in one statement; whether there is such an account."""
    accounts = [
        f"{_account(username, host)} IDENTIFIED BY {_literal(password)}" for host in await hosts_of(session, username)
    ]
    if accounts:
        await session.run("ALTER USER " + ", ".join(accounts))
    return bool(accounts)


async def remove(session: Session, username: str) -> None:
    """Revoke, drop, and end the sessions that are left: they would keep their privileges."""
    accounts = ", ".join(_account(username, host) for host in await hosts_of(session, username))
    if accounts:
        # What cannot be revoked goes with the account all the same.
        await _unless(_DENIED | _NO_ACCOUNT, session.run(f"REVOKE ALL PRIVILEGES, GRANT OPTION FROM {accounts}"))
        await session.run(f"DROP USER IF EXISTS {accounts}")
    await end_sessions(session, username)


async def end_sessions(session: Session, username: str) -> None:
    """Those of the user name, as far as the connection's user may see and kill them (PROCESS, CONNECTION ADMIN)."""
    query = (
        "SELECT ID, USER FROM information_schema.PROCESSLIST"  # noqa: S608 - quoted
        f" WHERE USER = {_literal(username)} AND ID <> CONNECTION_ID()"
    )
    try:
        rows = await session.rows(query)
    except pymysql.Error as exc:
        if number_of(exc) not in _DENIED | _NO_TABLE:
            raise
        return
    for thread, user in rows:
        if user == username:
            await _unless(_DENIED | _NO_THREAD, session.run(f"KILL {int(thread)}"))


async def _unless(numbers: frozenset[int], work: Awaitable[None]) -> None:
    try:
        await work
    except pymysql.Error as exc:
        if number_of(exc) not in numbers:
            raise


def _account(username: str, host: str) -> str:
    return f"{identifier(username, Dialect.MYSQL)}@{identifier(host, Dialect.MYSQL)}"


def _literal(value: str) -> str:
    return literal(value, Dialect.MYSQL)
