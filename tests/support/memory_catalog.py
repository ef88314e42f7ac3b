"""Catalogs in a dictionary, for the storage in memory: the plainest thing that obeys core.protocols."""

from collections.abc import Sequence
from zlib import crc32

from msgspec.structs import replace

from core.errors import CasMismatchError, InvalidRequestError
from core.protocols import CatalogPage, CatalogQuery, CatalogRow

Rows = dict[tuple[str, str], CatalogRow]  # by scope (the catalog's path) and row_id; terms are kept in the row


def of_scope(rows: Rows, scope: str) -> list[CatalogRow]:
    return [row for (where, _), row in rows.items() if where == scope]


def shown(row: CatalogRow | None) -> CatalogRow | None:
    return None if row is None else replace(row, terms=None)


def put(rows: Rows, scope: str, row: CatalogRow, cas: int | None, number: int) -> int:
    """Answers the revision; `number` is what a new row gets."""
    check_row(row)
    old = rows.get((scope, row.row_id))
    revision = old.revision if old else 0
    if cas is not None and cas != revision:
        raise CasMismatchError(f"the row is at revision {revision}, not at {cas}")
    terms = row.terms if row.terms is not None else (old.terms if old else ())
    rows[scope, row.row_id] = replace(row, terms=terms, revision=revision + 1, number=old.number if old else number)
    return revision + 1


def put_many(rows: Rows, scope: str, given: Sequence[CatalogRow], cas: int, last: int) -> set[str]:
    """The ids of those that were at that revision; new ones get the numbers up to `last`."""
    for row in given:
        check_row(row)
    if len({row.row_id for row in given}) < len(given):
        raise RuntimeError("a row is given twice")
    written = set()
    for number, row in enumerate(given, last - len(given) + 1):
        old = rows.get((scope, row.row_id))
        if cas == (old.revision if old else 0):
            put(rows, scope, row, cas, number)
            written.add(row.row_id)
    return written


def drop_below(rows: Rows, prefix: str) -> None:
    """The catalogs of all views that the prefix covers."""
    for scope, row_id in list(rows):
        if scope[: scope.rfind("/") + 1].startswith(prefix):
            del rows[scope, row_id]


def page(rows: Rows, scope: str, query: CatalogQuery) -> CatalogPage:
    check(query)
    after = _read_cursor(scope, query)
    found = sorted((_key(row, query), row) for row in of_scope(rows, scope) if _matches(row, query))
    found = [(key, row) for key, row in found if key > after]
    taken = found[: query.limit]
    following = ".".join([_mark(scope, query), *map(str, taken[-1][0])]) if len(found) > len(taken) else ""
    return CatalogPage(rows=[replace(row, terms=None) for _, row in taken], next=following)


def check(query: CatalogQuery) -> None:
    if not 1 <= query.limit <= 1000 or any(not 0 <= state < 2**15 for state in query.states):
        raise InvalidRequestError("limit must be 1 to 1000, a state 0 to 32767")
    if any(abs(time or 0) >= 2**63 for time in (query.due_from, query.due_before, query.changed_from)):
        raise InvalidRequestError("the time cannot be searched by")
    for name in (*query.terms, *([query.group] if query.group else ())):
        check_text(name)


def check_text(name: str) -> None:
    if not 0 < len(name.encode(errors="replace")) <= 2048 or "\0" in name or _torn(name):
        raise InvalidRequestError("the name cannot be stored")


def _torn(name: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in name)


def check_row(row: CatalogRow) -> None:
    for name in (row.row_id, *(row.terms or ()), *([row.group] if row.group else ())):
        check_text(name)
    if not (0 <= row.state < 2**15 and 0 <= row.due_at < 2**63 and 0 <= row.changed_at < 2**63):
        raise InvalidRequestError("the row has a number that cannot be stored")


def _key(row: CatalogRow, query: CatalogQuery) -> tuple[int, int]:
    return (row.due_at if query.by_due else 0, row.number)


def _mark(scope: str, query: CatalogQuery) -> str:
    return f"{'d' if query.by_due else 'n'}{crc32(scope.encode())}"


def _read_cursor(scope: str, query: CatalogQuery) -> tuple[int, int]:
    mark, *place = query.after.split(".")
    if not mark:
        return (0, 0)
    if mark != _mark(scope, query) or len(place) != 2 or not all(part.isdecimal() for part in place):
        raise InvalidRequestError("`after` is no cursor of this query")
    return (int(place[0]), int(place[1]))


def count(
    rows: Rows, scope: str, states: Sequence[int], group: str | None, due_from: int | None, due_before: int | None
) -> int:
    query = CatalogQuery(states=tuple(states), group=group, due_from=due_from, due_before=due_before)
    check(query)
    return sum(_matches(row, query) for row in of_scope(rows, scope))


def _matches(row: CatalogRow, query: CatalogQuery) -> bool:
    return (
        (not query.states or row.state in query.states)
        and (query.group is None or row.group == query.group)
        and (query.due_from is None or row.due_at >= query.due_from)
        and (query.due_before is None or row.due_at < query.due_before)
        and (query.changed_from is None or (row.changed_at != 0 and row.changed_at >= query.changed_from))
        and all(_has(row, term) for term in query.terms)
    )


def _has(row: CatalogRow, wanted: str) -> bool:
    terms = row.terms or ()
    if wanted.endswith("*"):
        return any(term.startswith(wanted[:-1]) for term in terms)
    return wanted in terms
