"""Catalogs in a dictionary, for the storage in memory: the plainest thing that obeys core.protocols."""

from collections.abc import Sequence

from msgspec.structs import replace

from core.errors import CasMismatchError, InvalidRequestError
from core.protocols import CatalogPage, CatalogQuery, CatalogRow

Rows = dict[tuple[str, str], CatalogRow]  # by scope (view and catalog) and row_id; terms are kept in the row


def of_scope(rows: Rows, scope: str) -> list[CatalogRow]:
    return [row for (where, _), row in rows.items() if where == scope]


def shown(row: CatalogRow | None) -> CatalogRow | None:
    return None if row is None else replace(row, terms=None)


def put(rows: Rows, scope: str, row: CatalogRow, cas: int | None, number: int) -> int:
    """Answers the revision; `number` is what a new row gets."""
    old = rows.get((scope, row.row_id))
    revision = old.revision if old else 0
    if cas is not None and cas != revision:
        raise CasMismatchError(f"the row is at revision {revision}, not at {cas}")
    terms = row.terms if row.terms is not None else (old.terms if old else ())
    rows[scope, row.row_id] = replace(row, terms=terms, revision=revision + 1, number=old.number if old else number)
    return revision + 1


def page(rows: Rows, scope: str, query: CatalogQuery) -> CatalogPage:
    def key(row: CatalogRow) -> tuple[int, ...]:
        return (row.due_at, row.number) if query.by_due else (row.number,)

    try:
        after = tuple(int(part) for part in query.after.split("-")) if query.after else ()
    except ValueError:
        raise InvalidRequestError("`after` is no cursor of this query") from None
    found = sorted((row for row in of_scope(rows, scope) if _matches(row, query)), key=key)
    found = [row for row in found if not after or key(row) > after]
    taken = found[: query.limit]
    last = "-".join(str(part) for part in key(taken[-1])) if len(found) > len(taken) else ""
    return CatalogPage(rows=[replace(row, terms=None) for row in taken], next=last)


def count(
    rows: Rows, scope: str, states: Sequence[int], group: str | None, due_from: int | None, due_before: int | None
) -> int:
    query = CatalogQuery(states=tuple(states), group=group, due_from=due_from, due_before=due_before)
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
