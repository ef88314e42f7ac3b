"""Going through the secrets of a mount in order of their names, for callers who may see some of them.

What a caller may not see leaves no trace in the answer: it is passed over, does not count, and its name is in no cursor
that can be read. Others get their turn every millisecond, and no more is kept in memory than a page.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import NamedTuple

from core.errors import InvalidRequestError
from core.requests import Access, Request
from kv.cursors import Cursors
from kv.names import check_length
from kv.store import KvStore

Look = Callable[[str], Coroutine[object, object, dict[str, object] | None]]

DEFAULT_LIMIT = 1000  # secrets that are looked at for one page
MAX_LIMIT = 10_000
MAX_ROWS = 250  # of one page: to make JSON and audit records of it takes some 5 ms at once
MAX_NAMES = 100_000  # that are passed for one page, seen or not; takes about a second
_SLICE = 256  # names that are fetched at once
_GROUP = 4  # secrets that are looked at together, where a store reads several at once: not all its connections
_TURN = 0.001  # seconds


class Span(NamedTuple):
    """Which secrets a page is made of."""

    prefix: str
    after: str
    limit: int


class Page(NamedTuple):
    """What is shown, and behind which name the next page begins ("": there is none)."""

    rows: list[dict[str, object]]
    last: str


class Turns:
    """Lets others have theirs."""

    def __init__(self) -> None:
        self._since = time.perf_counter()

    async def give(self) -> None:
        """If it is time."""
        if time.perf_counter() - self._since > _TURN:
            await asyncio.sleep(0)
            self._since = time.perf_counter()


async def walk(
    store: KvStore,
    span: Span,
    *,
    is_visible: Callable[[str], bool],
    look: Look,
) -> Page:
    """Look at the visible secrets of a span; those of which `look` makes a row are shown."""
    rows: list[dict[str, object]] = []
    group: list[str] = []
    looked_at = passed = 0
    turns = Turns()
    async for name in names_from(store, span.prefix, span.after):
        await turns.give()
        passed += 1
        if is_visible(name):
            looked_at += 1
            group.append(name)
        is_enough = looked_at == span.limit or passed == MAX_NAMES
        if is_enough or len(group) == min(_GROUP, MAX_ROWS - len(rows)):
            rows += await _rows(group, look)
            group.clear()
        if is_enough or len(rows) == MAX_ROWS:
            return Page(rows, name)
    return Page(rows + await _rows(group, look), "")


async def _rows(names: list[str], look: Look) -> list[dict[str, object]]:
    """Together, as far as the store reads several at once."""
    return [row for row in await asyncio.gather(*map(look, names)) if row is not None]


async def names_from(store: KvStore, prefix: str, after: str) -> AsyncIterator[str]:
    """Names of secrets that start with `prefix`, in order, behind the name `after`."""
    if prefix and after < prefix:
        after = prefix
        if await store.glance(prefix) is not None:
            yield prefix
    position = after.removeprefix(prefix)
    while names := await store.names_below(prefix, after=position, limit=_SLICE):
        for name in names:
            yield prefix + name
        position = names[-1]


# --- what a request asks for ------------------------------------------------------------------------------------------


async def span_of(request: Request, cursors: Cursors) -> Span:
    """`prefix`, `after` and `limit` of the query. Raises InvalidRequestError."""
    query = request.query
    prefix = query.get("prefix", "").lstrip("/")
    check_length(prefix)
    if not prefix.isprintable():
        raise InvalidRequestError("prefix holds a character that cannot be printed")
    after = await cursors.reveal(query.get("after", ""))
    if after and not after.startswith(prefix):
        raise InvalidRequestError("after is from an answer for another prefix")
    return Span(prefix, after, _limit(query.get("limit", "")))


def _limit(text: str) -> int:
    if not text:
        return DEFAULT_LIMIT
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or not 1 <= int(text) <= MAX_LIMIT:
        raise InvalidRequestError(f"limit must be a whole number from 1 to {MAX_LIMIT}")
    return int(text)


def access_of(request: Request) -> Access:
    """What the caller may see; a request without it sees nothing."""
    return request.access or _NoAccess()


class _NoAccess:
    def allows(self, path: str, *capabilities: str) -> bool:
        del path, capabilities
        return False

    allows_elsewhere = allows
