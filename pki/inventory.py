"""Which certificates there are: by name, role, issuer, requester, state and end, a page at a time.

Names are sought by patterns ("web*", "*.example.com", "a*.example.com"). What stands before the first and after the
last asterisk is looked up in the index of names; the whole pattern is then held against the names of each row found.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from fnmatch import translate
from re import IGNORECASE, Pattern
from re import compile as compile_pattern
from typing import NamedTuple

from core.errors import InvalidRequestError
from core.protocols import CatalogPage, CatalogQuery
from pki.certificates import Known, State, decode_row, term

LONGEST_PATTERN = 2048  # characters, as a URI may have
_AT_ONCE = 500  # rows
_LOOKED_AT = 2000  # rows for one page, some 30 ms of them
STATES: dict[str, tuple[State, ...]] = {
    "valid": (State.ISSUED,),
    "expired": (State.ISSUED,),
    "revoked": (State.REVOKED,),
    "intended": (State.INTENDED,),
    "abandoned": (State.ABANDONED,),
    "all": (),
}

Find = Callable[[CatalogQuery], Awaitable[CatalogPage]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sought:
    """What is looked for; empty members say nothing. Times are epoch seconds."""

    san: str = ""
    role: str = ""
    issuer_id: str = ""
    requester: str = ""
    state: str = "valid"
    ends_before: int | None = None


class Page(NamedTuple):
    """What was found, the first to end first. `next` is where to go on, "" at the end; a page may be short."""

    found: list[Known]
    next: str


async def search(find: Find, sought: Sought, *, now: int, after: str, limit: int) -> Page:
    """One page. Raises InvalidRequestError."""
    matches = matcher(sought.san)
    found: list[Known] = []
    looked_at = 0
    while True:
        # where the index has said it all, the first rows are the page; else more are looked at than are wanted
        wanted = _AT_ONCE if matches is not None and looked_at else limit - len(found)
        page = await find(_query(sought, now=now, after=after, limit=wanted))
        for place, row in enumerate(page.rows):
            known = decode_row(row)
            if not _is_meant(known, sought, matches):
                continue
            found.append(known)
            if len(found) == limit and place + 1 < len(page.rows):
                # the next page begins behind this row, which only a query that ends with it can say
                return Page(found, (await find(_query(sought, now=now, after=after, limit=place + 1))).next)
        looked_at += len(page.rows)
        after = page.next
        if not after or len(found) >= limit or looked_at >= _LOOKED_AT or not page.rows:
            return Page(found, after)


def _query(sought: Sought, *, now: int, after: str, limit: int) -> CatalogQuery:
    due_from = now if sought.state == "valid" else None
    due_before = now if sought.state == "expired" else sought.ends_before
    if sought.state == "expired" and sought.ends_before is not None:
        due_before = min(now, sought.ends_before)
    return CatalogQuery(
        states=tuple(STATES[sought.state]),
        group=sought.issuer_id or None,
        due_from=due_from,
        due_before=due_before,
        terms=_terms(sought),
        by_due=True,
        after=after,
        limit=limit,
    )


def _terms(sought: Sought) -> tuple[str, ...]:
    terms = _name_terms(sought.san) if sought.san else []
    if sought.role:
        terms.append(term("role", sought.role))
    if sought.requester:
        terms.append(term("by", sought.requester))
    return tuple(terms)


def _name_terms(pattern: str) -> list[str]:
    """What stands before the first and after the last wildcard."""
    if not is_pattern(pattern):
        return [term("san", pattern)]
    first = min(place for place in (pattern.find("*"), pattern.find("?")) if place >= 0)
    last = max(pattern.rfind("*"), pattern.rfind("?"))
    before, behind = pattern[:first], pattern[last + 1 :]
    terms = [term("san", before) + "*"] if before else []
    return [*terms, term("nas", behind[::-1]) + "*"] if behind else terms


def is_pattern(text: str) -> bool:
    """Whether it stands for more than itself."""
    return "*" in text or "?" in text


def matcher(pattern: str) -> Pattern[str] | None:
    """What names are held against; None when there is no pattern. Raises InvalidRequestError."""
    if not pattern:
        return None
    if len(pattern) > LONGEST_PATTERN:
        raise InvalidRequestError(f"a pattern of names has at most {LONGEST_PATTERN} characters")
    if pattern.count("*") > 4:
        raise InvalidRequestError("a pattern of names has at most four asterisks")
    # brackets mean themselves here: IPv6 addresses in URIs have them
    return compile_pattern(translate(pattern.replace("[", "[[]")), IGNORECASE)


def _is_meant(known: Known, sought: Sought, matches: Pattern[str] | None) -> bool:
    """The terms of the index are not authenticated, the body is."""
    body = known.body
    return (
        (not sought.role or body.role == sought.role)
        and (not sought.requester or body.requester.lower() == sought.requester.lower())
        and (matches is None or _has_name(known, matches))
    )


def _has_name(known: Known, matches: Pattern[str]) -> bool:
    names = (name.partition(":")[2] for name in known.body.names)
    return any(matches.match(name) for name in (known.body.common_name, *names) if name)
