"""`sys/health`: for load balancers, so it answers when everything else fails."""

import contextlib
from collections.abc import Mapping

from appliance.pipeline.lifecycle import Lifecycle
from appliance.pipeline.parsing import parse_switch
from appliance.system.node import NodeInfo
from appliance.system.raw import raw_json
from barrier.seal import Barrier, SealState
from core.clock import Clock
from core.engine import Method, Route
from core.errors import InvalidRequestError, MimirError
from core.requests import Operation, Request, Response

_CODES = {
    SealState.UNSEALED: ("activecode", 200),
    SealState.SEALED: ("sealedcode", 503),
    SealState.NOT_INITIALIZED: ("uninitcode", 501),
}


class HealthRoutes:
    """One route, in every seal state."""

    def __init__(self, barrier: Barrier, lifecycle: Lifecycle, node: NodeInfo, clock: Clock) -> None:
        self._barrier = barrier
        self._lifecycle = lifecycle
        self._node = node
        self._clock = clock

    def routes(self) -> list[Route]:
        """Served in every seal state."""
        read = Method(handler=self.read, mutates=False, summary="The health, as a status code and in words.")
        return [
            Route(
                pattern="sys/health",
                methods={Operation.READ: read},
                help="The health of the appliance.",
                unauthenticated=True,
            )
        ]

    async def read(self, request: Request, _body: object) -> Response:
        """The state as this process knows it; trouble with the store or the HSM shows as sealed, never as a fault."""
        if not self._lifecycle.is_settled():
            with contextlib.suppress(MimirError):
                await self._lifecycle.settle()
        codes = {state: _code(request.query, *named) for state, named in _CODES.items()}
        _code(request.query, "standbycode", 429)
        parse_switch(request.query.get("standbyok", "true"), name="standbyok")
        state = self._barrier.state
        if state is SealState.UNSEALED and not self._lifecycle.ready:
            state = SealState.SEALED
        body = {
            "initialized": state is not SealState.NOT_INITIALIZED,
            "sealed": state is not SealState.UNSEALED,
            "standby": False,
            "performance_standby": False,
            "replication_performance_mode": "disabled",
            "replication_dr_mode": "disabled",
            "server_time_utc": int(self._clock.now()),
            "version": self._node.version,
        }
        if state is SealState.UNSEALED:
            status = await self._barrier.status()  # reads nothing while unsealed
            body |= {"cluster_name": status.cluster_name, "cluster_id": status.cluster_id}
        return raw_json(body, status=codes[state])


def _code(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) == 3 and 200 <= int(text) <= 599):
        raise InvalidRequestError(f"{name} must be a status code, 200 to 599")
    return int(text)
