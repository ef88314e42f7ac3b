"""What a static role has beside its own row, kept true in the transaction that writes the role.

static-due/<12 digits>/<name>                  empty; when somebody must look at the role
static-failing/<name>                          empty; its last rotation failed
static-account/<connection>/<hash of account>  whose the account is, or who is making a role of it
static-mark                                    rewritten when a role is due soon, so that every process learns of it
"""

import hashlib

import msgspec

from core.protocols import StorageView, Transaction
from dynamic.static_role import StaticRole
from dynamic.static_schedule import due_of

DUE = "static-due/"
FAILING = "static-failing/"
MARK = "static-mark"
_ACCOUNTS = "static-account/"
SOON = 75  # seconds: what is due later is found by the look that a housekeeper takes every minute


class Holder(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whose an account is: two roles would change each other's password."""

    role: str
    maker: str = ""  # the request that makes the role, until `until`
    until: int = 0  # epoch seconds


_decode = msgspec.msgpack.Decoder(Holder).decode
_encode = msgspec.msgpack.Encoder().encode


async def reindex(txn: Transaction, before: StaticRole | None, after: StaticRole | None, *, now: int) -> None:
    """Bring `static-due/` and `static-failing/` in step with a role that is written; None: there is none."""
    await _move(txn, _place(before), _place(after))
    await _move(txn, _failing(before), _failing(after))
    if after is not None and due_of(after) < now + SOON and _place(before) != _place(after):
        await txn.put(MARK, b"")


async def first_due(storage: StorageView) -> int | None:
    """When a role is due next."""
    found = await storage.paths(DUE, limit=1)
    return _read(found[0])[0] if found else None


async def due_before(storage: StorageView, now: int, *, limit: int) -> list[str]:
    """Names of roles that are due, the longest due first."""
    rows = [_read(path) for path in await storage.paths(DUE, limit=limit)]
    return [name for due, name in rows if due <= now]


async def holder_of(txn: Transaction, db_name: str, username: str) -> Holder | None:
    """Whose the account is."""
    entry = await txn.get(_account(db_name, username))
    return None if entry is None else _decode(entry.value)


async def hold(txn: Transaction, db_name: str, username: str, holder: Holder | None) -> None:
    """Say whose the account is; None: nobody's any more."""
    path = _account(db_name, username)
    if holder is None:
        await txn.delete(path)
    else:
        await txn.put(path, _encode(holder))


async def _move(txn: Transaction, source: str | None, place: str | None) -> None:
    if source == place:
        return
    if source is not None:
        await txn.delete(source)
    if place is not None:
        await txn.put(place, b"")


def _place(role: StaticRole | None) -> str | None:
    return None if role is None else f"{DUE}{due_of(role):012d}/{role.name}"


def _failing(role: StaticRole | None) -> str | None:
    return None if role is None or not role.attempts else FAILING + role.name


def _account(db_name: str, username: str) -> str:
    return f"{_ACCOUNTS}{db_name}/{hashlib.sha256(username.encode()).hexdigest()}"


def _read(path: str) -> tuple[int, str]:
    due, _, name = path.partition("/")
    return int(due), name
