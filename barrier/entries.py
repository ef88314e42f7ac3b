"""Rows of the table `entries`: sealed values by path."""

from typing import Any, cast

from sqlalchemy import LargeBinary, bindparam, delete, select, text, update
from sqlalchemy import cast as sql_cast

from barrier.connection import InlineStatements, Statements, in_slices, scan
from barrier.database import WriteConflictError
from barrier.keyring import Keyring
from barrier.paths import path_after, prefix_end
from barrier.tables import entries
from core.errors import CasMismatchError
from core.protocols import Entry

_DOMAIN = b"mimir entry 1\0"

# the cast: SQLite gives what was put there, which a stranger may have made text
_LOAD = select(entries.c.revision, sql_cast(entries.c.sealed, LargeBinary)).where(entries.c.path == bindparam("path_"))
_REVISION = select(entries.c.revision).where(entries.c.path == bindparam("path_"))
# as text: the clause ON CONFLICT would load the dialects of both engines
_INSERT = text(
    "INSERT INTO entries (path, revision, term, sealed) VALUES (:path, :revision, :term, :sealed)"
    " ON CONFLICT (path) DO NOTHING"
)
_UPDATE = (
    update(entries)
    .where(entries.c.path == bindparam("path_"), entries.c.revision == bindparam("revision_"))
    .values(revision=bindparam("new_revision"), term=bindparam("new_term"), sealed=bindparam("new_sealed"))
)
_DELETE = delete(entries).where(entries.c.path == bindparam("path_"))


def _context(path: str, revision: int) -> bytes:
    return _DOMAIN + path.encode() + revision.to_bytes(8, "big")


async def load_entry(connection: Statements, keyring: Keyring, path: str) -> Entry | None:
    """The entry, decrypted. Raises IntegrityError that names it."""
    row: Any = (await connection.execute(_LOAD, {"path_": path})).first()
    if row is None:
        return None
    revision, sealed = row
    return Entry(keyring.decrypt(bytes(sealed), _context(path, revision), f"entry {path!r}"), revision)


async def has_entry(connection: Statements, path: str) -> bool:
    """Whether there is one; of the transactions of a group only the first has to look."""
    if not isinstance(connection, InlineStatements):
        return await _revision(connection, path) > 0
    if path in connection.seen:
        return True
    found = await _revision(connection, path) > 0
    if found:
        connection.seen.add(path)
    return found


async def load_paths(connection: Statements, prefix: str, *, after: str, limit: int) -> list[str]:
    """What follows `prefix` in every path that starts with it, in order, behind `after`."""
    # without `after` the prefix itself is left out, too: no name below it is empty
    statement = select(entries.c.path).where(entries.c.path >= path_after(prefix + after)).order_by(entries.c.path)
    end = prefix_end(prefix)
    if end is not None:
        statement = statement.where(entries.c.path < end)
    if limit:
        statement = statement.limit(limit)
    return await in_slices(await scan(connection, statement, {}), lambda row: str(row[0])[len(prefix) :])


async def store_entry(connection: Statements, keyring: Keyring, path: str, value: bytes, *, cas: int | None) -> int:
    """Write one entry; its new revision. Raises CasMismatchError.

    What the caller has read, or has seen to be absent, is not looked up first: a statement less.
    """
    present = await _revision(connection, path) if cas is None else cas
    revision = present + 1
    sealed = keyring.encrypt(value, _context(path, revision))
    if present == 0:
        row = {"path": path, "revision": revision, "term": keyring.term, "sealed": sealed}
        written = await connection.execute(_INSERT, row)
    else:
        new = {"new_revision": revision, "new_term": keyring.term, "new_sealed": sealed}
        written = await connection.execute(_UPDATE, {"path_": path, "revision_": present, **new})
    if written.rowcount == 1:
        return revision
    found = await _revision(connection, path)
    if cas is None or found == cas:
        raise WriteConflictError
    raise _mismatch(found, cas)


def _mismatch(found: int, wanted: int) -> CasMismatchError:
    return CasMismatchError(f"the entry is at revision {found}, not at {wanted}")


async def _revision(connection: Statements, path: str) -> int:
    """0: there is no such entry."""
    return cast("int", (await connection.execute(_REVISION, {"path_": path})).scalar() or 0)


async def remove_entry(connection: Statements, path: str) -> bool:
    """Delete one entry; whether there was one."""
    if isinstance(connection, InlineStatements):
        connection.seen.discard(path)
    return (await connection.execute(_DELETE, {"path_": path})).rowcount > 0


async def remove_prefix(connection: Statements, prefix: str) -> list[str]:
    """Delete every entry whose path starts with `prefix`; their paths."""
    if isinstance(connection, InlineStatements):
        connection.seen.clear()
    end = prefix_end(prefix)
    statement = delete(entries).where(entries.c.path >= prefix)
    if end is not None:
        statement = statement.where(entries.c.path < end)
    return await in_slices(await scan(connection, statement.returning(entries.c.path), {}), lambda row: str(row[0]))
