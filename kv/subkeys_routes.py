"""subkeys/: which members a secret has, without what they hold."""

from core.engine import Method, NoBody, Route
from core.errors import InvalidRequestError, NotFoundError
from core.requests import Operation, Request, Response
from kv import exact_json
from kv.answers import version_block
from kv.engine import GoneError
from kv.labels import label_of
from kv.names import secret_name
from kv.parts import Parts
from kv.version_numbers import depth_of, version_of


class SubkeysRoutes:
    """What may be shown to who must not see values."""

    def __init__(self, parts: Parts) -> None:
        self._store = parts.store
        self._engine = parts.engine

    def routes(self) -> list[Route]:
        """Below the mount."""
        read = Method(handler=self._read, mutates=False, summary="Names without values", statuses=(404,))
        return [
            Route(
                pattern="subkeys/{path...}",
                methods={Operation.READ: read},
                help="Names of the members of a secret, down to `depth` levels. `version` or `stage` choose a version.",
            )
        ]

    async def _read(self, request: Request, _body: NoBody) -> Response:
        name = secret_name(request)
        depth, version, stage = depth_of(request), version_of(request), label_of(request.query.get("stage", ""))
        if version and stage:
            raise InvalidRequestError("version and stage both choose a version; give one of them")
        opened = await self._store.find(name)
        if opened is None:
            raise NotFoundError("")
        try:
            found = await self._engine.read(opened, version=version, stage=stage)
        except GoneError as exc:
            gone = {"subkeys": None, "metadata": version_block(exc.secret, exc.number)}
            return Response(status=404, data=gone)
        names = exact_json.subkeys(exact_json.decode(found.value), depth)
        return Response(data={"subkeys": names, "metadata": version_block(found.secret, found.number)})
