"""CRLs as they are stored: a small head for each scope, and the signed bytes in pieces.

The pieces are written first, each in a transaction of its own, so that a CRL of some megabytes holds nobody up; the
head is written last, if nobody else wrote it meanwhile. It holds the number, so a number is published once, whoever
dies when and however many housekeepers there are (RFC 5280, 5.2.3).
"""

import base64
import secrets
from functools import cached_property
from hashlib import sha256
from typing import NamedTuple

import msgspec

from core.errors import IntegrityError
from core.protocols import DecodedCache, Entry, StorageView, Transaction
from pki.crl_wishes import wish_paths

HEADS = "crl/head/"  # + scope
FULL_ORDER = "crl/ordered/full"  # written by who orders new CRLs of all scopes
DELTA_ORDER = "crl/ordered/delta"
PIECES = "crl/der/"  # + scope + "/" + place + "/" + number of the piece

_PIECE = 256 * 1024  # bytes: a few milliseconds of a store's time
_SCOPES = 1000  # in memory: more than anybody has
_IN_MEMORY = 64 * 1024 * 1024  # bytes of CRLs in one process
_LINE = 64  # RFC 7468, 2
_COUNT = 4  # octets


class Crl(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A signed CRL. Times are epoch seconds. Members are only ever added, at the end."""

    number: int
    this_update: int
    next_update: int
    wanted: int  # number of the scope's wish that it fulfils (pki.crl_wishes)
    place: str
    pieces: int
    entries: int = 0
    base: int = 0  # of a delta CRL
    settings: tuple[int, bool, bool] = (0, False, False)  # those that it was made under: pki.crl_due
    ordered: int = 0  # revision of the order for CRLs of its kind that it fulfils


class CrlHead(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What there is for a scope."""

    number: int = 0  # the last one that was used
    full: Crl | None = None
    delta: Crl | None = None


class CrlOrders(NamedTuple):
    """Revisions of the orders for CRLs of all scopes."""

    full: int
    delta: int


class Before(NamedTuple):
    """What a CRL is made from, beside the rows."""

    head: CrlHead
    revision: int  # of the head
    wanted: int
    orders: CrlOrders


class CrlFile:
    """The bytes as they are sent."""

    def __init__(self, der: bytes) -> None:
        self.der = der

    @cached_property
    def pem(self) -> bytes:
        """The same in PEM."""
        text = base64.b64encode(self.der)
        lines = [text[start : start + _LINE] for start in range(0, len(text), _LINE)]
        return b"\n".join([b"-----BEGIN X509 CRL-----", *lines, b"-----END X509 CRL-----"])

    @cached_property
    def tag(self) -> str:
        """What names these bytes to HTTP caches."""
        return sha256(self.der).hexdigest()

    @property
    def weight(self) -> int:
        """Bytes of both forms, be they made or not."""
        return len(self.der) * 5 // 2


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(CrlHead).decode
_NONE = CrlHead()


class _GoneError(IntegrityError):
    """A piece was removed while the others were read."""


class CrlStore:
    """The CRLs of one mount."""

    def __init__(self, storage: StorageView) -> None:
        self._storage = storage
        self._heads: DecodedCache[CrlHead] = storage.decoded_cache(_load_head, capacity=_SCOPES, absent=_NONE)
        self._wanted: DecodedCache[int] = storage.decoded_cache(
            _load_revision, capacity=_SCOPES * len(wish_paths("")), absent=0
        )
        self._orders: DecodedCache[int] = storage.decoded_cache(_load_revision, capacity=2, absent=0)
        self._files: DecodedCache[CrlFile] = storage.decoded_cache(
            _load_file, capacity=100, weigh=lambda file: file.weight, budget=_IN_MEMORY
        )

    async def head(self, scope: str) -> CrlHead:
        """What there is now."""
        return self._heads.peek(HEADS + scope) or await self._heads.get(HEADS + scope) or _NONE

    async def wanted(self, scope: str) -> int:
        """The number of the wish for a CRL, from memory."""
        known = self._peek_wanted(scope)
        if known is not None:
            return known
        return sum([await self._wanted.get(path) or 0 for path in wish_paths(scope)])

    def _peek_wanted(self, scope: str) -> int | None:
        total = 0
        for path in wish_paths(scope):
            found = self._wanted.peek(path)
            if found is None:
                return None
            total += found
        return total

    async def order(self, *, delta: bool) -> int:
        """Ask for new CRLs of all scopes; the number of the order."""
        return await self._storage.put(DELTA_ORDER if delta else FULL_ORDER, b"")

    async def orders(self) -> CrlOrders:
        """From memory."""
        return CrlOrders(await self._orders.get(FULL_ORDER) or 0, await self._orders.get(DELTA_ORDER) or 0)

    def peek_orders(self) -> CrlOrders | None:
        """The same, if both are in memory."""
        full, delta = self._orders.peek(FULL_ORDER), self._orders.peek(DELTA_ORDER)
        return None if full is None or delta is None else CrlOrders(full, delta)

    def peek(self, scope: str) -> tuple[CrlHead, int] | None:
        """Head and wish, if both are in memory."""
        head, wanted = self._heads.peek(HEADS + scope), self._peek_wanted(scope)
        return None if head is None or wanted is None else (head, wanted)

    async def read_for_change(self, scope: str) -> Before:
        """From the store: before the rows that fulfil wish and order."""
        head, revision = await self.stored_head(scope)
        wanted = sum([await self._revision(path) for path in wish_paths(scope)])
        orders = CrlOrders(await self._revision(FULL_ORDER), await self._revision(DELTA_ORDER))
        return Before(head, revision, wanted, orders)

    async def stored_head(self, scope: str) -> tuple[CrlHead, int]:
        """From the store: what there is now, and its revision."""
        entry = await self._storage.get(HEADS + scope)
        return (_NONE, 0) if entry is None else (_decode(entry.value), entry.revision)

    async def _revision(self, path: str) -> int:
        entry = await self._storage.get(path)
        return 0 if entry is None else entry.revision

    async def file(self, scope: str, crl: Crl) -> CrlFile | None:
        """The bytes; None when a newer CRL has taken their place."""
        path = f"{PIECES}{scope}/{crl.place}/0"
        try:
            return self._files.peek(path) or await self._files.get(path)
        except _GoneError:
            return None

    async def put_pieces(self, scope: str, der: bytes) -> tuple[str, int]:
        """Write the bytes where no head points yet. Answers the place and how many pieces there are."""
        place = secrets.token_hex(8)
        pieces = [der[start : start + _PIECE] for start in range(0, len(der), _PIECE)]
        for number, piece in enumerate(pieces):
            value = len(pieces).to_bytes(_COUNT, "big") + piece if number == 0 else piece
            await self._storage.put(f"{PIECES}{scope}/{place}/{number}", value, cas=0)
        return place, len(pieces)

    async def publish(self, scope: str, head: CrlHead, *, cas: int) -> None:
        """Write the head and remove what no head points to any more. Raises CasMismatchError."""
        places = {crl.place for crl in (head.full, head.delta) if crl is not None}

        async def body(txn: Transaction) -> None:
            await txn.put(HEADS + scope, _encode(head), cas=cas)
            for folder in await txn.list(f"{PIECES}{scope}/"):
                if folder.rstrip("/") not in places:
                    await txn.delete_prefix(f"{PIECES}{scope}/{folder}")

        await self._storage.transact(body)


async def _load_head(_view: StorageView, path: str, entry: Entry) -> CrlHead:
    try:
        return _decode(entry.value)
    except msgspec.DecodeError:
        raise IntegrityError(f"the entry {path} cannot be read") from None


async def _load_revision(_view: StorageView, _path: str, entry: Entry) -> int:
    return entry.revision


async def _load_file(view: StorageView, path: str, entry: Entry) -> CrlFile:
    """The first piece begins with the number of all of them. Pieces are never written twice."""
    count = int.from_bytes(entry.value[:_COUNT], "big")
    parts = [entry.value[_COUNT:]]
    folder = path.removesuffix("0")
    for number in range(1, count):
        piece = await view.get(f"{folder}{number}")
        if piece is None:
            raise _GoneError(f"the entry {folder}{number} is missing")
        parts.append(piece.value)
    return CrlFile(b"".join(parts))
