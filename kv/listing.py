"""Names of secrets, and their metadata by the page.

An answer with names is kept while nobody commits anything: a folder of 10,000 names is read, made into JSON and hashed
for the audit log once, however often it is asked for.
"""

import asyncio
import re
from collections.abc import Awaitable
from typing import Protocol

import msgspec

from core.clock import Clock
from core.engine import NoBody
from core.errors import InvalidRequestError, NotFoundError
from core.protocols import StorageView
from core.requests import PreparedData, Request, Response
from kv.answers import metadata_block
from kv.names import check_length, clean_name
from kv.store import KvStore
from kv.times import from_seconds

MAX_SCANNED = 10_000  # names in one answer to SCAN: hashing them for the audit log takes a tenth of a second
MAX_DETAILED = 1_000  # secrets in one answer with their metadata, for the same reason
MAX_VERSIONS = 20_000  # of all of them together, as each is shown: some 7 MB of JSON
_MORE = "there are more names behind the last one: ask again with after set to it"

_ANSWERS = 32  # that are kept
_BYTES = 4 * 1024 * 1024  # of JSON, together
_SLICE = 32  # secrets, after which others get their turn

_encode = msgspec.json.Encoder().encode
_Key = tuple[str, str, str, int]  # operation, folder, after, limit


class ReadNames(Protocol):
    """KvStore.names or KvStore.names_below."""

    def __call__(self, folder: str, *, after: str = "", limit: int = 0) -> Awaitable[list[str]]:
        """Names in order, behind `after`."""
        ...


class Listing:
    """LIST and SCAN of one mount."""

    def __init__(self, store: KvStore, storage: StorageView, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._kept = KeptAnswers(storage)

    async def list(self, request: Request, _body: NoBody) -> Response:
        """Names in a folder; a folder among them ends in "/"."""
        return await self._names(request, "list", self._store.names)

    async def scan(self, request: Request, _body: NoBody) -> Response:
        """Names of all secrets below a folder, as seen from there."""
        return await self._names(request, "scan", self._store.names_below, most=MAX_SCANNED)

    async def list_details(self, request: Request, _body: NoBody) -> Response:
        """As `list`, with the metadata of each secret in `key_info`."""
        return await self._details(request, self._store.names)

    async def scan_details(self, request: Request, _body: NoBody) -> Response:
        """As `scan`, with the metadata of each secret in `key_info`."""
        return await self._details(request, self._store.names_below)

    async def _names(self, request: Request, operation: str, read: ReadNames, *, most: int = 0) -> Response:
        folder, after, limit = folder_of(request), after_of(request), limit_of(request)
        key = (operation, folder, after, limit)
        answer, sequence = self._kept.find(key)
        if answer is None:
            names, more = await _page(read, folder, after=after, limit=limit, most=most)
            if more:
                return Response(data={"keys": names}, warnings=[_MORE])
            data = {"keys": names}
            answer = PreparedData(data, _encode(data))
            self._kept.keep(key, answer, sequence)
        return Response(data=answer)

    async def _details(self, request: Request, read: ReadNames) -> Response:
        folder, after, limit = folder_of(request), after_of(request), limit_of(request)
        names, more = await _page(read, folder, after=after, limit=limit, most=MAX_DETAILED)
        now = from_seconds(self._clock.now())
        details: dict[str, object] = {}
        room = MAX_VERSIONS
        for position, name in enumerate(names):
            if position % _SLICE == 0:
                await asyncio.sleep(0)
            secret = None if name.endswith("/") else await self._store.glance(folder + name)
            room -= len(secret.versions) if secret is not None else 0
            if room < 0 and details:
                more = True
                break
            # nothing of a folder, and of what was deleted meanwhile
            details[name] = {} if secret is None else metadata_block(secret, now)
        return Response(data={"keys": list(details), "key_info": details}, warnings=[_MORE] if more else None)


class KeptAnswers:
    """Answers that hold while the storage stands still."""

    def __init__(self, storage: StorageView) -> None:
        self._storage = storage
        self._sequence = -1
        self._answers: dict[_Key, PreparedData] = {}
        self._size = 0

    def find(self, key: _Key) -> tuple[PreparedData | None, int]:
        """What is kept, and the sequence to give to `keep`: it is noted before anything is read."""
        now = self._storage.sequence
        if now != self._sequence:
            self._clear(now)
        return self._answers.get(key), now

    def keep(self, key: _Key, answer: PreparedData, sequence: int) -> None:
        """Keep what was read since `sequence` was noted; nothing if something was committed meanwhile."""
        size = len(answer.encoded)
        if sequence != self._sequence or sequence != self._storage.sequence or size > _BYTES:
            return
        if len(self._answers) >= _ANSWERS or self._size + size > _BYTES:
            self._clear(sequence)
        self._answers[key] = answer
        self._size += size

    def _clear(self, sequence: int) -> None:
        self._answers.clear()
        self._size = 0
        self._sequence = sequence


async def _page(read: ReadNames, folder: str, *, after: str, limit: int, most: int) -> tuple[list[str], bool]:
    """Names, and whether `most` was too few for what was asked. Raises NotFoundError for none."""
    if most and not 0 < limit <= most:
        names = await read(folder, after=after, limit=most + 1)
    else:
        names = await read(folder, after=after, limit=limit)
        most = len(names)
    if not names:
        raise NotFoundError("")
    return names[:most], len(names) > most


def folder_of(request: Request) -> str:
    """The folder that the path names, "" or "apps/". Raises InvalidRequestError."""
    folder = clean_name(request.params.get("path", ""))
    check_length(folder)
    return folder + "/" if folder else ""


def after_of(request: Request) -> str:
    """`after`, the name behind which a page begins. Raises InvalidRequestError for what no name can be."""
    after = request.query.get("after", "")
    if not after.isprintable():  # nor would PostgreSQL take a NUL or half of a surrogate pair
        raise InvalidRequestError("after must be a name, as a listing has shown it")
    return after


def limit_of(request: Request) -> int:
    """`limit`; 0 and less for all. Raises InvalidRequestError."""
    text = request.query.get("limit") or "0"
    if not re.fullmatch(r"-?\d{1,9}", text, re.ASCII):
        raise InvalidRequestError("limit must be a whole number")
    return max(0, int(text))
