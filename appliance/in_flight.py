"""The requests that this worker is serving now, for `sys/in-flight-req`."""

import time
from collections.abc import Iterator

from appliance.access.token_hash import without_tokens
from appliance.system.host import InFlight
from appliance.wire import WireRequest


class InFlightRequests:
    """Two dictionary operations a request; what is shown is made when somebody asks."""

    def __init__(self) -> None:
        self._served: dict[str, tuple[WireRequest, float]] = {}

    def began(self, request_id: str, request: WireRequest, begun: float) -> None:
        """It came, when time.perf_counter() said so."""
        self._served[request_id] = request, begun

    def ended(self, request_id: str) -> None:
        """It was answered."""
        self._served.pop(request_id, None)

    def __call__(self) -> Iterator[InFlight]:
        """For HostRoutes. Neither tokens in paths nor queries are shown."""
        now, ticks = time.time(), time.perf_counter()
        for request_id, (request, begun) in list(self._served.items()):
            yield InFlight(
                request_id=request_id,
                method=request.method,
                path=without_tokens(request.path.removeprefix("/v1/")),
                started_at=now - (ticks - begun),
                client_address=request.client_address,
            )
