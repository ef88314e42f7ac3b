"""Response wrapping: an answer is kept under a token that is good for fetching it once.

The token is a service token with the policy "response-wrapping" and one use. The answer is in its cubbyhole, as Vault
keeps it: "response" holds the whole JSON envelope as a string, "wrapinfo" what `lookup` tells. Token and answer are
written by one transaction, and read and deleted by one: of many that unwrap at once one gets the answer.
"""

from collections.abc import Callable

import msgspec

from appliance.access.cubbyhole import cubbyhole_prefix
from appliance.access.token_entry import KIND, WRAPPING_POLICY, TokenEntry, TokenSpec, decode
from appliance.access.token_hash import without_tokens
from appliance.access.tokens import TokenStore
from core.clock import Clock, rfc3339
from core.errors import InvalidRequestError
from core.protocols import CoreStorage, CoreTransaction
from core.requests import Request, WrapInfo

DEFAULT_TTL = 300  # of sys/wrapping/wrap without X-Vault-Wrap-TTL
MAX_TTL = 2764800  # seconds; the system's longest lease
_MAX_TOKEN_PATH = 1024  # characters; a record's path is bounded, a request's hardly

_INVALID = "wrapping token is not valid or does not exist"


class Wrapped(msgspec.Struct, frozen=True, kw_only=True):
    """What `lookup` tells, and `rewrap` hands on. Stored as "wrapinfo"."""

    creation_ttl: int  # seconds
    creation_time: str  # RFC 3339
    creation_path: str
    wrapped_accessor: str = ""


class _Stored(msgspec.Struct, frozen=True):
    """The value of "response"."""

    response: str


def is_wrapping_token(entry: TokenEntry) -> bool:
    """Whether it was made to wrap an answer; no other token can have this policy."""
    return entry.policies == (WRAPPING_POLICY,)


def is_about_wrapping(request: Request) -> bool:
    """Whether this is sys/wrapping/…, which answers in its own way."""
    return request.mount_path == "sys/" and request.path.startswith("wrapping/")


def is_own_unwrap(request: Request) -> bool:
    """Whether this is sys/wrapping/unwrap with the wrapping token as the caller's own.

    The pipeline then neither takes the token's one use nor asks a policy: holding the token is the permission.
    """
    if request.mount_path != "sys/" or request.path.removesuffix("/") != "wrapping/unwrap":
        return False
    return not request.data.get("token")


class Wrapping:
    """Wraps answers and gives them back once."""

    def __init__(
        self,
        storage: CoreStorage,
        clock: Clock,
        tokens: TokenStore,
        *,
        namespace_path: Callable[[str], str | None] = lambda _namespace_id: "",
    ) -> None:
        """`namespace_path` gives the path of a namespace by its id, None when it is gone; memory only."""
        self._storage = storage
        self._clock = clock
        self._tokens = tokens
        self._namespace_path = namespace_path

    async def wrap(
        self, body: bytes, *, ttl: int, creation_path: str, namespace: str, wrapped_accessor: str = ""
    ) -> WrapInfo:
        """Keep `body`, a JSON envelope, under a new wrapping token of the namespace with that id.

        Raises InvalidRequestError for a ttl out of range.
        """
        if not 0 < ttl <= MAX_TTL:
            raise InvalidRequestError(f"a response is wrapped for 1 to {MAX_TTL} seconds")
        spec = _spec(without_tokens(creation_path), ttl=ttl, namespace=namespace)

        async def also(txn: CoreTransaction, entry: TokenEntry) -> None:
            told = _wrapped(entry, without_tokens(creation_path), wrapped_accessor)
            await _keep(txn, entry, msgspec.json.encode(_Stored(body.decode())), told)

        token, entry = await self._tokens.create(spec, parent=None, orphan=True, also=also)
        return _info(token, entry, _wrapped(entry, without_tokens(creation_path), wrapped_accessor))

    async def lookup(self, token: str, *, within: str = "") -> Wrapped:
        """What is known of a wrapping token, without using it; `within` is the path of the asking namespace.

        Raises InvalidRequestError unless it is a wrapping token of that namespace or one below.
        """
        entry = await self._find(token, within)
        stored = await self._storage.get(cubbyhole_prefix(entry.record_id) + "wrapinfo")
        if stored is None:
            raise InvalidRequestError(_INVALID)
        return msgspec.json.decode(stored.value, type=Wrapped)

    async def unwrap(self, token: str, *, within: str = "") -> bytes:
        """The answer, once: the token ends with it. Raises InvalidRequestError as `lookup`."""
        await self._find(token, within)

        async def body(txn: CoreTransaction, entry: TokenEntry) -> bytes:
            self._check(entry, within)
            stored = await txn.get(cubbyhole_prefix(entry.record_id) + "response")
            if stored is None:
                raise InvalidRequestError(_INVALID)
            return msgspec.json.decode(stored.value, type=_Stored).response.encode()

        return await self._tokens.consume(token, body)

    async def rewrap(self, token: str, *, within: str = "") -> WrapInfo:
        """The same answer under a new token, with the ttl that the old one was made with; the old one ends.

        Raises InvalidRequestError as `lookup`.
        """
        old = await self._find(token, within)
        told = await self.lookup(token, within=within)
        spec = _spec(told.creation_path, ttl=told.creation_ttl, namespace=old.namespace)

        async def also(txn: CoreTransaction, entry: TokenEntry) -> None:
            record = await txn.get_record(KIND, old.record_id)
            stored = await txn.get(cubbyhole_prefix(old.record_id) + "response")
            if record is None or stored is None or not self._is_current(decode(record)):
                raise InvalidRequestError(_INVALID)
            await _keep(txn, entry, stored.value, _wrapped(entry, told.creation_path, told.wrapped_accessor))
            await self._tokens.trees.remove(txn, record)

        token, entry = await self._tokens.create(spec, parent=None, orphan=True, also=also)
        return _info(token, entry, _wrapped(entry, told.creation_path, told.wrapped_accessor))

    # --------------------------------------------------------------------------------------------------------------

    async def _find(self, token: str, within: str) -> TokenEntry:
        entry = await self._tokens.find(token) if token else None
        if entry is None:
            raise InvalidRequestError(_INVALID)
        self._check(entry, within)
        return entry

    def _check(self, entry: TokenEntry, within: str) -> None:
        home = self._namespace_path(entry.namespace)
        if not is_wrapping_token(entry) or home is None or not home.startswith(within):
            raise InvalidRequestError(_INVALID)

    def _is_current(self, entry: TokenEntry) -> bool:
        return not entry.revoked and (entry.expires_at is None or entry.expires_at > self._clock.now())


def _spec(path: str, *, ttl: int, namespace: str) -> TokenSpec:
    return TokenSpec(
        policies=(WRAPPING_POLICY,),
        path=path[:_MAX_TOKEN_PATH],
        display_name="",
        ttl=ttl,
        explicit_max_ttl=ttl,
        num_uses=1,
        renewable=False,
        namespace=namespace,
    )


def _wrapped(entry: TokenEntry, creation_path: str, wrapped_accessor: str) -> Wrapped:
    return Wrapped(
        creation_ttl=entry.ttl,
        creation_time=rfc3339(entry.issue_time),
        creation_path=creation_path,
        wrapped_accessor=wrapped_accessor,
    )


async def _keep(txn: CoreTransaction, entry: TokenEntry, response: bytes, told: Wrapped) -> None:
    prefix = cubbyhole_prefix(entry.record_id)
    await txn.put(prefix + "response", response)
    await txn.put(prefix + "wrapinfo", msgspec.json.encode(told))


def _info(token: str, entry: TokenEntry, told: Wrapped) -> WrapInfo:
    return WrapInfo(
        token=token,
        accessor=entry.accessor,
        ttl=told.creation_ttl,
        creation_time=told.creation_time,
        creation_path=told.creation_path,
        wrapped_accessor=told.wrapped_accessor,
    )
