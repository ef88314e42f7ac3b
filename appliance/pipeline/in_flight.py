"""The requests that this worker is serving, for `sys/in-flight-req`."""

from collections.abc import Iterable

from appliance.access.token_hash import without_tokens
from appliance.pipeline.exchange import Exchange
from appliance.system.host import InFlight


class InFlightRequests:
    """Those that have got as far as an engine's mount; adding and removing one is a dictionary operation."""

    def __init__(self) -> None:
        self.exchanges: dict[int, Exchange] = {}

    def shown(self) -> Iterable[InFlight]:
        """As they are now."""
        return [
            InFlight(
                request_id=exchange.request.request_id,
                method=exchange.wire.method,
                path=without_tokens(exchange.asked.path),
                started_at=exchange.now,
                client_address=exchange.wire.client_address,
                accessor=exchange.identity.token.accessor if exchange.identity else "",
            )
            for exchange in list(self.exchanges.values())
        ]
