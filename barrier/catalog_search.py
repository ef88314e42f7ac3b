"""What is looked for in a catalog: pages in order, each found with a bounded amount of work.

A search walks one index in the order of the answer and tests what it finds there; or, where a condition leaves few
rows, it sorts the keys of all that fulfil that one, and walks along those:

- in the order of due_at it walks along the rarest exact term, or else along each state, and merges those walks
- in the order of number it walks along the catalog's rows
- a condition leaves few rows if an index says so before it has counted to FEW, or to SORTED where to walk along all
  others would be slow

A walk ends after so many rows, whether or not it has found what was asked for; the cursor then says how far it came.
So a page may be short, or empty, and yet not the last.
"""

from collections.abc import Collection, Generator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Executable, TextClause, text

from barrier.catalog_conditions import (
    Condition,
    changes_of,
    due_tests,
    needs_row,
    row_tests,
    states_of,
    terms_of,
    values_of,
)
from barrier.catalog_cursor import LAST, Key, read_cursor, write_cursor
from barrier.connection import Rows
from core.protocols import CatalogQuery

T = TypeVar("T")
Asking = Generator[tuple[Executable, Mapping[str, Any]], Rows, T]

FEW = 2500  # rows that are looked at in the table for one page
SORTED = 20_000  # keys that are sorted for one page: some ten milliseconds
MANY = 50_000  # rows that are looked at while walking where the index holds all that is asked
_FIRST = 4  # times the limit: how far a walk looks before it goes as far as it may

_STATES = text(
    "WITH RECURSIVE found (state) AS (SELECT min(state) FROM catalog_rows WHERE catalog = :catalog UNION ALL"
    " SELECT (SELECT min(state) FROM catalog_rows WHERE catalog = :catalog AND state > found.state)"
    " FROM found WHERE found.state IS NOT NULL) SELECT state FROM found WHERE state IS NOT NULL"
)
_COUNT = "SELECT count(*) FROM (SELECT 1 FROM {table} WHERE {tests} LIMIT :few) AS counted"
_FEWER = "WITH few AS MATERIALIZED (SELECT DISTINCT k.due_at, k.number FROM {table} WHERE {given} LIMIT :few) "
_WALK = "{first}SELECT {key} FROM {table}{join} WHERE {given} AND {range}{tests} ORDER BY {order} LIMIT :count"
_STOP = "{first}SELECT {key} FROM {table} WHERE {given} AND {range} ORDER BY {order} LIMIT 1 OFFSET :steps"
# its driver hands the interpreter's lock over for each row, and under load waits for it each time
_AS_ONE_ROW = "SELECT group_concat(due_at || '.' || number) FROM ({keys})"
_JOIN = {  # SQLite keeps to the order in which a CROSS JOIN is written
    "sqlite": " CROSS JOIN catalog_rows AS r ON r.number = k.number",
    "postgresql": " JOIN catalog_rows AS r ON r.number = k.number",
}
# for tests of state and group alone: by an index that has both, a tenth of the table; of 2,000 rows that are all over
# it next to none is in memory; the signs keep SQLite from walking along the range that is asked of k for each row
_JOIN_INDEX = (
    " CROSS JOIN catalog_rows AS r INDEXED BY catalog_rows_by_due"
    " ON r.catalog = :catalog AND r.due_at = +k.due_at AND r.number = +k.number"
)
_GIVEN = "k.catalog = :catalog"
NUMBERED = {"sqlite": "catalog_rows AS k INDEXED BY catalog_rows_by_number", "postgresql": "catalog_rows AS k"}
_BY_DUE = {
    "key": "k.due_at, k.number",
    "range": "(k.due_at, k.number) > (:due_low, :number_low) AND (k.due_at, k.number) <= (:due_high, :number_high)",
    "order": "k.due_at, k.number",
}
_BY_NUMBER = {
    "key": "0 AS due_at, k.number",
    "range": "k.number > :number_low AND k.number <= :number_high",
    "order": "k.number",
}


class Found(NamedTuple):
    """The numbers of the rows of a page, in order."""

    numbers: list[int]
    next: str


class _Walk(NamedTuple):
    """Rows of one index in the order of the answer."""

    table: str
    given: str  # what holds for all that is walked along
    tests: str = ""
    join: str = ""
    state: int = 0
    first: str = ""  # where the table comes from


@lru_cache(maxsize=512)
def sql(statement: str) -> TextClause:
    """One object for one text: by it a statement that runs often is kept prepared."""
    return text(statement)


def present_states(catalog: int) -> Asking[list[int]]:
    """The states that rows of the catalog are in: one seek for each."""
    return [int(row[0]) for row in (yield _STATES, {"catalog": catalog})]


class Search:
    """One query of one catalog. Its statements follow from what those before them have found."""

    def __init__(self, dialect: str, catalog: int, query: CatalogQuery) -> None:
        """Raises InvalidRequestError for a cursor that is none of this query."""
        self._dialect = dialect
        self._catalog = catalog
        self._query = query
        self._values = {**values_of(query), "catalog": catalog, "few": 2 * SORTED}  # some may have come since
        self._words = _BY_DUE if query.by_due else _BY_NUMBER
        after = read_cursor(query.after, catalog, by_due=query.by_due)
        if not query.by_due:
            self._after, self._end = after, Key(0, LAST)
            return
        self._after = max(Key(query.due_from or 0, 0), after)
        self._end = Key(LAST if query.due_before is None else query.due_before - 1, LAST)

    def steps(self) -> Asking[Found]:
        """Find the page."""
        states = set(self._query.states) or (yield from present_states(self._catalog))
        if not states:
            return Found([], "")
        condition, size = yield from self._smallest(states)
        if condition is not None and size <= SORTED and not (self._query.by_due and condition.is_walkable):
            walks, budget = [self._fewer(condition)], FEW
        else:
            walks, budget = self._walks(condition, states)
        keys, end = yield from self._walked(walks, budget)
        page = keys[: self._query.limit]
        if len(keys) > len(page):
            end = page[-1]
        following = "" if end is None else write_cursor(self._catalog, end, by_due=self._query.by_due)
        return Found([key.number for key in page], following)

    # --- few rows -------------------------------------------------------------------------------------------------

    def _smallest(self, states: Collection[int]) -> Asking[tuple[Condition | None, int]]:
        """The condition that leaves the fewest rows; if none leaves few, one to walk along, or None."""
        query = self._query
        conditions = [*terms_of(query), *changes_of(query)]
        if not query.by_due and (query.states or query.due_from is not None or query.due_before is not None):
            conditions.append(states_of(query, states))
        if query.by_due and len(conditions) == 1 and conditions[0].is_walkable:
            return conditions[0], FEW + 1
        if not conditions:
            return None, FEW + 1
        size, _, smallest = yield from self._counted(conditions, FEW)
        if size > FEW and query.by_due:
            size, _, smallest = yield from self._counted(conditions, SORTED)
        elif size > FEW:
            size = SORTED + 1
        if size > SORTED and not smallest.is_walkable:
            return None, size
        return smallest, size

    def _counted(self, conditions: list[Condition], most: int) -> Asking[tuple[int, bool, Condition]]:
        """The one that leaves the fewest rows, counted no further than `most` and one; of two alike a walkable one."""
        sizes = []
        for condition in conditions:
            counted = _COUNT.format(table=condition.table, tests=condition.counted or condition.tests)
            [row] = yield sql(counted), {**self._values, "few": most + 1}
            sizes.append((int(row[0]), not condition.is_walkable, condition))
        return min(sizes, key=lambda found: found[:2])

    def _fewer(self, condition: Condition) -> _Walk:
        """Along the keys of all that fulfil the condition."""
        tests = row_tests(self._query, "r", self._dialect, condition.settles)
        keys = _FEWER.format(table=condition.table, given=condition.tests)
        due = "" if self._query.by_due else due_tests(self._query)  # there the walk's ends say it
        return _Walk("few AS k", "TRUE", due + tests, self._join(condition, tests), first=keys)

    def _join(self, condition: Condition, tests: str) -> str:
        """The row to be tested, if there is anything to test."""
        query = self._query
        is_indexed = query.states and query.changed_from is None and condition.settles.issuperset(query.terms)
        if tests and is_indexed and self._dialect == "sqlite":
            return _JOIN_INDEX
        return _JOIN[self._dialect] if tests else ""

    # --- walks ----------------------------------------------------------------------------------------------------

    def _walks(self, condition: Condition | None, states: Collection[int]) -> tuple[list[_Walk], int]:
        """What to walk along, and how many rows may be looked at."""
        query = self._query
        if not query.by_due:
            due = due_tests(query)
            walk = _Walk(NUMBERED[self._dialect], _GIVEN, due + row_tests(query, "k", self._dialect, ()))
            return [walk], FEW if due or needs_row(query, beside=["states"]) else MANY
        if condition is not None and condition.is_walkable:
            tests = row_tests(query, "r", self._dialect, condition.settles)
            join = self._join(condition, tests)
            return [_Walk(condition.table, condition.tests, tests, join)], FEW if tests else MANY
        tests = row_tests(query, "k", self._dialect, ["states"])
        given = f"{_GIVEN} AND k.state = :state"
        walks = [_Walk("catalog_rows AS k", given, tests, state=state) for state in states]
        return walks, FEW if needs_row(query, beside=["states", "group"]) else MANY

    def _walked(self, walks: list[_Walk], budget: int) -> Asking[tuple[list[Key], Key | None]]:
        """One page, and one more if there are more; and where the walks ended, None behind the last row."""
        found: list[Key] = []
        after, end = self._after, None
        if not any(walk.tests for walk in walks):
            for walk in walks:
                found += yield from self._walk(walk, after, self._end)
            return sorted(found), None
        for steps in (min(_FIRST * self._query.limit, budget), budget):
            end = yield from self._stop(walks, after, max(1, steps // len(walks)))
            some: list[Key] = []
            for walk in walks:
                some += yield from self._walk(walk, after, end or self._end)
            found += sorted(some)
            if end is None or len(found) > self._query.limit:
                break
            after = end
        return found, end

    def _walk(self, walk: _Walk, after: Key, end: Key) -> Asking[list[Key]]:
        statement = _WALK.format(**walk._asdict(), **self._words)
        return (yield from self._keys(statement, {"state": walk.state}, after, end))

    def _stop(self, walks: list[_Walk], after: Key, steps: int) -> Asking[Key | None]:
        """Behind how many rows to stop; None: they end before that."""
        ends = []
        for walk in walks:
            statement = sql(_STOP.format(**walk._asdict(), **self._words))
            more = {"state": walk.state, "steps": steps - 1}
            ends += [Key(*row) for row in (yield statement, self._between(after, self._end) | more)]
        return min(ends, default=None)

    # --- keys -----------------------------------------------------------------------------------------------------

    def _between(self, after: Key, end: Key) -> dict[str, Any]:
        low, high = {"due_low": after.due_at, "number_low": after.number}, {"due_high": end.due_at}
        return {**self._values, **low, **high, "number_high": end.number}

    def _keys(self, statement: str, values: Mapping[str, Any], after: Key, end: Key) -> Asking[list[Key]]:
        """The first ones that the statement finds, in order: those of a page, and one more."""
        given = {**self._between(after, end), **values, "count": self._query.limit + 1}
        if self._dialect != "sqlite":
            return sorted(Key(*row) for row in (yield sql(statement), given))
        [[joined]] = yield sql(_AS_ONE_ROW.format(keys=statement)), given
        return sorted(Key(*map(int, found.split("."))) for found in (joined or "").split(",") if found)
