"""`sys/internal/counters`: how many tokens and entities there are."""

from collections.abc import Awaitable, Callable

from appliance.system.within import check_root
from core.engine import Handler, Method, Route
from core.requests import Operation, Request, Response

Count = Callable[[], Awaitable[int]]


class CounterRoutes:
    """OpenBao's two; each count is one look at an index."""

    def __init__(self, *, tokens: Count, entities: Count) -> None:
        self._tokens = tokens
        self._entities = entities

    def routes(self) -> list[Route]:
        """Below sys/."""
        return [
            _route("tokens", self.tokens, "The number of service tokens."),
            _route("entities", self.entities, "The number of entities."),
        ]

    async def tokens(self, request: Request, _body: object) -> Response:
        """Batch tokens are stored nowhere and not counted."""
        check_root(request)
        return Response(data={"counters": {"service_tokens": {"total": await self._tokens()}}})

    async def entities(self, request: Request, _body: object) -> Response:
        """Of all namespaces."""
        check_root(request)
        return Response(data={"counters": {"entities": {"total": await self._entities()}}})


def _route(name: str, handler: Handler, text: str) -> Route:
    method = Method(handler=handler, mutates=False, summary=text)
    return Route(pattern=f"internal/counters/{name}", methods={Operation.READ: method}, help=text)
