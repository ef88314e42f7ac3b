"""`sys/metrics`: what the whole node counts, as Prometheus or as go-metrics writes it."""

from collections.abc import Sequence

from appliance.metrics import Extra, Family, Metrics, gauge_family, go_metrics, prometheus_text
from appliance.system.node import NodeInfo
from appliance.system.raw import raw_json
from appliance.system.within import check_root
from core.clock import Clock
from core.engine import Method, Route
from core.errors import InvalidRequestError, MimirError
from core.requests import Operation, RawBody, Request, Response

_TEXT = "text/plain; version=0.0.4; charset=utf-8"


class MetricsRoutes:
    """One route; `unauthenticated` only where the operator's configuration says so."""

    def __init__(
        self,
        metrics: Metrics,
        node: NodeInfo,
        clock: Clock,
        *,
        extras: Sequence[Extra] = (),
        unauthenticated: bool = False,
    ) -> None:
        """`extras` are asked at each scrape; one that fails leaves its numbers out."""
        self._metrics = metrics
        self._node = node
        self._clock = clock
        self._extras = extras
        self._unauthenticated = unauthenticated

    def routes(self) -> list[Route]:
        """Below sys/."""
        read = Method(handler=self.read, mutates=False, summary="The numbers, for ?format=prometheus as its text.")
        return [
            Route(
                pattern="metrics",
                methods={Operation.READ: read},
                help="What the processes of this node count together.",
                unauthenticated=self._unauthenticated,
            )
        ]

    async def read(self, request: Request, _body: object) -> Response:
        """Vault's switch: format=prometheus, or nothing."""
        check_root(request)
        wanted = request.query.get("format", "")
        if wanted not in {"", "prometheus"}:
            raise InvalidRequestError('format must be "prometheus", or be left out for JSON')
        families = [self._build_info(), *self._metrics.families(), *await self._more()]
        if wanted:
            return Response(raw=RawBody(body=prometheus_text(families), content_type=_TEXT))
        return raw_json(go_metrics(families, now=self._clock.now()))

    async def _more(self) -> list[Family]:
        found: list[Family] = []
        failed = 0
        for extra in self._extras:
            try:
                found += await extra()
            except MimirError:
                failed += 1  # the store is in trouble: the other numbers are wanted all the more
        return [*found, gauge_family("scrape_failures", "Parts of this scrape that failed.", [((), failed)])]

    def _build_info(self) -> Family:
        labels = (("storage", self._node.storage_type), ("version", self._node.version))
        return gauge_family("build_info", "The version that answers.", [(labels, 1)])
