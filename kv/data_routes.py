"""Values of secrets with versions: data/, delete/, undelete/, destroy/."""

from typing import Any

from msgspec import UNSET

from core.engine import Method, NoBody, Route
from core.errors import InvalidRequestError, NotFoundError
from core.requests import NO_CONTENT, Operation, Request, Response
from kv import exact_json
from kv.answers import gone_answer, read_answer, version_block, written_answer
from kv.authors import author_of
from kv.bodies import PutBody, VersionsBody
from kv.engine import GoneError
from kv.labels import label_of
from kv.names import secret_name
from kv.parts import Parts
from kv.secret import CURRENT
from kv.store import OpenSecret
from kv.version_numbers import parse_cas, parse_versions, version_of

_FOREVER = 1 << 63  # nanoseconds


class DataRoutes:
    """What applications use."""

    def __init__(self, parts: Parts) -> None:
        self._store = parts.store
        self._engine = parts.engine
        self._reads = parts.reads

    def routes(self) -> list[Route]:
        """Below the mount."""
        read, write, patch, delete = Operation.READ, Operation.UPDATE, Operation.PATCH, Operation.DELETE
        return [
            Route(
                pattern="data/{path...}",
                exists=self._exists,
                methods={
                    read: Method(handler=self._read, mutates=False, summary="A version of a secret", statuses=(404,)),
                    write: Method(handler=self._put, body=PutBody, is_atomic=True, summary="Add a version"),
                    patch: Method(
                        handler=self._patch, body=PutBody, summary="Add a version that differs in a few members"
                    ),
                    delete: Method(handler=self._delete_current, summary="Delete the current version, softly"),
                },
                help="The values of a secret. `version` or `stage` choose one; without them it is the current one.",
            ),
            self._versions_route("delete", self._delete, "Delete versions softly: undelete brings them back."),
            self._versions_route("undelete", self._undelete, "Bring deleted versions back."),
            self._versions_route("destroy", self._destroy, "Destroy the values of versions for good."),
        ]

    def _versions_route(self, name: str, handler: Any, text: str) -> Route:
        return Route(
            pattern=name + "/{path...}",
            exists=self._exists,
            methods={Operation.UPDATE: Method(handler=handler, body=VersionsBody, summary=text)},
            help=text,
        )

    async def _exists(self, request: Request) -> bool:
        name = secret_name(request)
        return self._store.peek(name) is not None or await self._store.find(name) is not None

    # --- reading ----------------------------------------------------------------------------------------------------

    async def _read(self, request: Request, _body: NoBody) -> Response:
        name = secret_name(request)
        if request.query:
            return await self._read_chosen(request, name)
        opened = await self._open(name)
        answer = opened.answer
        if answer is None or opened.until <= self._engine.now():
            try:
                answer = await self._current_answer(opened)
            except GoneError as exc:
                return gone_answer(exc.secret, exc.number)
        self._reads.note(opened, request)
        return Response(data=answer)

    async def _open(self, name: str) -> OpenSecret:
        """Raises NotFoundError."""
        opened = self._store.peek(name) or await self._store.find(name)
        if opened is None:
            raise NotFoundError("")
        return opened

    async def _current_answer(self, opened: OpenSecret) -> Any:
        """Kept with the secret if its value is; until the version is deleted by time."""
        secret, number, value = await self._engine.read(opened)
        answer = read_answer(secret, number, value)
        if secret is opened.secret and number in secret.values:
            opened.until = opened.secret.versions[number].deleted_at or _FOREVER
            opened.answer = answer
        return answer

    async def _read_chosen(self, request: Request, name: str) -> Response:
        version, stage = version_of(request), label_of(request.query.get("stage", ""))
        if version and stage:
            raise InvalidRequestError("version and stage both choose a version; give one of them")
        opened = await self._open(name)
        try:
            found = await self._engine.read(opened, version=version, stage=stage)
        except GoneError as exc:
            return gone_answer(exc.secret, exc.number)
        self._reads.note(opened, request)
        return Response(data=read_answer(*found))

    # --- writing ----------------------------------------------------------------------------------------------------

    async def _put(self, request: Request, body: PutBody) -> Response:
        name, value = secret_name(request), exact_json.encode(exact_json.data_member(request))
        cas, label = _options(body)
        written = await self._engine.put(name, value, author=author_of(request), cas=cas, label=label)
        return written_answer(written)

    async def _patch(self, request: Request, body: PutBody) -> Response:
        name, patch = secret_name(request), exact_json.data_member(request)
        cas, label = _options(body)
        if label != CURRENT:
            raise InvalidRequestError("a patch makes the current version; put the whole secret to stage another one")
        try:
            written = await self._engine.patch(name, patch, author=author_of(request), cas=cas)
        except GoneError as exc:
            return Response(status=404, data=version_block(exc.secret, exc.number))
        return written_answer(written)

    async def _delete_current(self, request: Request, _body: NoBody) -> Response:
        await self._engine.delete(secret_name(request))
        return NO_CONTENT

    async def _delete(self, request: Request, body: VersionsBody) -> Response:
        await self._engine.delete(secret_name(request), parse_versions(body.versions))
        return NO_CONTENT

    async def _undelete(self, request: Request, body: VersionsBody) -> Response:
        await self._engine.undelete(secret_name(request), parse_versions(body.versions))
        return NO_CONTENT

    async def _destroy(self, request: Request, body: VersionsBody) -> Response:
        await self._engine.destroy(secret_name(request), parse_versions(body.versions))
        return NO_CONTENT


def _options(body: PutBody) -> tuple[int | None, str]:
    options = body.options
    if options is None:
        return None, CURRENT
    cas = None if options.cas is UNSET else parse_cas(options.cas)
    return cas, label_of(options.stage or "") or CURRENT
