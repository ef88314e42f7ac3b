"""Version 1: a secret is what was put, at the path itself."""

from typing import Any

from core.durations import parse_duration
from core.engine import Method, NoBody, Route
from core.errors import InvalidRequestError, NotFoundError
from core.requests import NO_CONTENT, Operation, PreparedData, Request, Response
from kv import exact_json
from kv.authors import author_of
from kv.names import secret_name
from kv.parts import Parts
from kv.store import OpenSecret
from kv.unversioned import UnversionedEngine


class UnversionedRoutes:
    """Everything below the mount."""

    def __init__(self, parts: Parts) -> None:
        self._store = parts.store
        self._engine = parts.engine
        self._secrets = UnversionedEngine(parts.store, parts.clock, prefix=parts.mount.path)
        self._reads = parts.reads
        self._listing = parts.listing
        self._keep_for = parts.mount.default_lease_ttl

    def routes(self) -> list[Route]:
        """The paths of secrets and folders."""
        return [
            Route(
                pattern="{path...}",
                exists=self._exists,
                methods={
                    Operation.READ: Method(handler=self._read, mutates=False, summary="A secret"),
                    Operation.UPDATE: Method(handler=self._put, summary="Store the members of the body"),
                    Operation.DELETE: Method(handler=self._delete, summary="Delete a secret"),
                    Operation.LIST: Method(
                        handler=self._listing.list, mutates=False, summary="Names of secrets and folders"
                    ),
                    Operation.SCAN: Method(
                        handler=self._listing.scan, mutates=False, summary="Names of all secrets below"
                    ),
                },
                help="A secret. A member `ttl` tells readers for how long it holds. LIST and SCAN give names.",
            )
        ]

    async def _exists(self, request: Request) -> bool:
        name = secret_name(request)
        return self._store.peek(name) is not None or await self._store.find(name) is not None

    async def _read(self, request: Request, _body: NoBody) -> Response:
        name = secret_name(request)
        opened = self._store.peek(name) or await self._store.find(name)
        if opened is None:
            raise NotFoundError("")
        answer = opened.answer
        if answer is None:
            answer = await self._answer(opened)
        self._reads.note(opened, request)
        return Response(data=answer, keep_for=keep_for(answer, self._keep_for))

    async def _answer(self, opened: OpenSecret) -> PreparedData:
        """Kept with the secret if its value is."""
        secret, number, value = await self._engine.read(opened)
        answer = PreparedData(exact_json.decode(value), value)
        if secret is opened.secret and number in secret.values:
            opened.answer = answer
        return answer

    async def _put(self, request: Request, _body: NoBody) -> Response:
        name, data = secret_name(request), exact_json.whole_body(request)
        if not data:
            raise InvalidRequestError("missing data fields")
        await self._secrets.put(name, exact_json.encode(data), author=author_of(request))
        return NO_CONTENT

    async def _delete(self, request: Request, _body: NoBody) -> Response:
        await self._secrets.delete(secret_name(request))
        return NO_CONTENT


def keep_for(data: dict[str, Any], default: int) -> int:
    """Seconds: what the secret says in `ttl` or `lease`, if that is a duration."""
    said = data["ttl"] if "ttl" in data else data.get("lease", default)
    if not isinstance(said, str | int | None):
        return default
    try:
        seconds = parse_duration(said)
    except InvalidRequestError:
        return default
    return max(0, seconds)
