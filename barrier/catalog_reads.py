"""Searches of catalogs: which rows are wanted is found in a thread, the rows are opened on the event loop."""

from collections.abc import Sequence

from barrier.catalog_conditions import check_query, row_tests, states_of, values_of
from barrier.catalog_cursor import read_cursor
from barrier.catalog_names import find_catalog
from barrier.catalog_rows import load_numbered
from barrier.catalog_search import NUMBERED, Search, present_states, sql
from barrier.connection import Statements, scan, scan_steps
from barrier.keyring import Keyring
from core.protocols import CatalogPage, CatalogQuery, CatalogRow

_COUNT = "SELECT count(*) FROM {table} WHERE {tests}"


async def find(connection: Statements, keyring: Keyring, path: str, query: CatalogQuery) -> CatalogPage:
    """A page of rows. Raises InvalidRequestError, and IntegrityError."""
    check_query(query)
    catalog = await find_catalog(connection, path)
    if catalog is None:
        read_cursor(query.after, None, by_due=query.by_due)
        return CatalogPage(rows=[])
    found = await scan_steps(connection, Search(connection.dialect.name, catalog, query).steps())
    rows = await load_numbered(connection, keyring, path, catalog, found.numbers)
    return CatalogPage(rows=[row for row in rows if _is_wanted(row, query)], next=found.next)


def _is_wanted(row: CatalogRow, query: CatalogQuery) -> bool:
    """Whether its columns, which are authenticated now, are still what they were found by."""
    return (
        (not query.states or row.state in query.states)
        and (query.group is None or row.group == query.group)
        and (query.due_from is None or row.due_at >= query.due_from)
        and (query.due_before is None or row.due_at < query.due_before)
        and (query.changed_from is None or (row.changed_at != 0 and row.changed_at >= query.changed_from))
    )


async def count(connection: Statements, path: str, query: CatalogQuery) -> int:
    """How many rows are in these states, of this group, and due then; reads an index."""
    check_query(query)
    catalog = await find_catalog(connection, path)
    if catalog is None:
        return 0
    if query.group is None and query.due_from is None and query.due_before is None:  # the smallest index tells
        table, tests = NUMBERED[connection.dialect.name], "k.catalog = :catalog" + row_tests(query, "k", "", ())
    else:
        states: Sequence[int] = query.states or await scan_steps(connection, present_states(catalog))
        if not states:
            return 0
        condition = states_of(query, states)
        table, tests = condition.table, condition.tests
    statement = sql(_COUNT.format(table=table, tests=tests))
    rows = await scan(connection, statement, {**values_of(query), "catalog": catalog})
    return int(rows[0][0])
