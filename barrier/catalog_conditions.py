"""What a query of a catalog asks, as SQL: where to look for rows that fulfil a condition, and how to test a row.

"k" is what is walked along or fetched (an index, in effect), "r" is the row that it leads to.
"""

from collections.abc import Collection
from typing import Any, NamedTuple

from barrier.catalog_cursor import LAST
from barrier.catalog_rows import MAX_STATE, escaped
from barrier.paths import check_name, prefix_end
from core.errors import InvalidRequestError
from core.protocols import CatalogQuery

MAX_PAGE = 1000
_ROWS, _TERMS = "catalog_rows AS k", "catalog_terms AS k"
_STATES, _GROUP, _CHANGED = "states", "group", "changed"
_POSITION = {"sqlite": "instr", "postgresql": "strpos"}


class Condition(NamedTuple):
    """Rows that one index knows to fulfil a part of the query."""

    table: str  # where it looks
    tests: str  # and for what
    settles: frozenset[str]  # what needs no test any more: a term, or one of the names above
    is_walkable: bool = False  # gives rows in the order of due_at
    counted: str = ""  # as `tests`, but each row that is read fulfils it; "": so does each of `tests`


def check_query(query: CatalogQuery) -> None:
    """Raise InvalidRequestError for what cannot be asked."""
    if not 1 <= query.limit <= MAX_PAGE:
        raise InvalidRequestError(f"limit must be 1 to {MAX_PAGE}")
    if any(not 0 <= state <= MAX_STATE for state in query.states):
        raise InvalidRequestError(f"a state is 0 to {MAX_STATE}")
    if any(abs(time or 0) > LAST for time in (query.due_from, query.due_before, query.changed_from)):
        raise InvalidRequestError("a time to search by is within 2^63 seconds")
    for term in query.terms:
        check_name(term, what="term")
    if query.group:
        check_name(query.group, what="group")


def values_of(query: CatalogQuery) -> dict[str, Any]:
    """What the statements' parameters stand for."""
    values: dict[str, Any] = {
        "group": query.group,
        "changed_from": query.changed_from,
        "due_from": query.due_from,
        "due_before": query.due_before,
    }
    for place, term in enumerate(query.terms):
        if term.endswith("*"):
            values[f"within{place}"] = "\n" + escaped(term[:-1])
            values[f"from{place}"], values[f"to{place}"] = term[:-1], prefix_end(term[:-1])
        else:
            values[f"within{place}"] = f"\n{escaped(term)}\n"
            values[f"from{place}"] = term
    return {name: value for name, value in values.items() if value is not None}


def terms_of(query: CatalogQuery) -> list[Condition]:
    """One for each term."""
    return [_of_term(place, term) for place, term in enumerate(query.terms)]


def _of_term(place: int, term: str) -> Condition:
    tests = "k.catalog = :catalog AND k.term"
    if not term.endswith("*"):
        return Condition(_TERMS, f"{tests} = :from{place}", frozenset([term]), is_walkable=True)
    end = "" if prefix_end(term[:-1]) is None else f" AND k.term < :to{place}"
    return Condition(_TERMS, f"{tests} >= :from{place}{end}", frozenset([term]))


def changes_of(query: CatalogQuery) -> list[Condition]:
    """The one of rows that something happened to, if they are asked for."""
    if query.changed_from is None:
        return []
    counted, settled = "k.catalog = :catalog AND k.changed_at <> 0", {_CHANGED}
    tests = counted
    if query.group is not None:
        counted += " AND k.row_group = :group"
        settled.add(_GROUP)
        tests = counted
        if query.states:
            tests += f" AND {in_states('k', query.states)}"
            settled.add(_STATES)
    tests += " AND k.changed_at >= :changed_from"
    return [Condition(_ROWS, tests, frozenset(settled), counted="" if _STATES in settled else counted)]


def states_of(query: CatalogQuery, states: Collection[int]) -> Condition:
    """The one of rows in those states, which are all that there are if the query names none."""
    tests = f"k.catalog = :catalog AND {in_states('k', states)}{due_tests(query)}"
    if query.group is None:
        return Condition(_ROWS, tests, frozenset({_STATES}))
    return Condition(_ROWS, f"{tests} AND k.row_group = :group", frozenset({_STATES, _GROUP}), counted=tests)


def in_states(row: str, states: Collection[int]) -> str:
    """The test on one row."""
    return f"{row}.state IN ({', '.join(map(str, sorted(states)))})"  # numbers, and checked


def due_tests(query: CatalogQuery) -> str:
    """On "k", whatever it is."""
    return (" AND k.due_at >= :due_from" if query.due_from is not None else "") + (
        " AND k.due_at < :due_before" if query.due_before is not None else ""
    )


def row_tests(query: CatalogQuery, row: str, dialect: str, settled: Collection[str]) -> str:
    """What is left to be tested on the row; "" if nothing is."""
    tests = []
    if query.states and _STATES not in settled:
        tests.append(in_states(row, query.states))
    if query.group is not None and _GROUP not in settled:
        tests.append(f"{row}.row_group = :group")
    if query.changed_from is not None and _CHANGED not in settled:
        tests.append(f"{row}.changed_at >= :changed_from AND {row}.changed_at <> 0")
    tests += (
        f"{_POSITION[dialect]}({row}.terms, :within{place}) > 0"
        for place, term in enumerate(query.terms)
        if term not in settled
    )
    return "".join(f" AND {test}" for test in tests)


def needs_row(query: CatalogQuery, *, beside: Collection[str]) -> bool:
    """Whether more is asked than an index that has also these columns (see above) can tell."""
    return bool(
        query.terms
        or query.changed_from is not None
        or (query.group is not None and _GROUP not in beside)
        or (query.states and _STATES not in beside)
    )
