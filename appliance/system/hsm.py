"""Mimir's own: `sys/hsm/status` and `sys/escrow/challenge`."""

import base64
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any

from barrier.seal import Barrier
from core.engine import Method, Route
from core.requests import Operation, Request, Response

HsmStatus = Callable[[], Awaitable[dict[str, Any]]]


class HsmRoutes:
    """What operators ask about the HSM and the escrow."""

    def __init__(self, barrier: Barrier, hsm_status: HsmStatus, escrow_id: Callable[[], str]) -> None:
        self._barrier = barrier
        self._hsm_status = hsm_status
        self._escrow_id = escrow_id

    def routes(self) -> list[Route]:
        """Below sys/."""
        status = Method(handler=self.status, mutates=False, summary="Module, token, mechanisms and custody.")
        challenge = Method(handler=self.challenge, mutates=False, summary="A value only a quorum can unwrap.")
        return [
            Route(pattern="hsm/status", methods={Operation.READ: status}, help="The HSM, as the appliance sees it."),
            Route(
                pattern="escrow/challenge",
                methods={Operation.UPDATE: challenge},
                help="Prove offline that escrow shares fit this cluster.",
                sudo=True,
            ),
        ]

    async def status(self, _request: Request, _body: object) -> Response:
        """As the HSM's own part describes it."""
        return Response(data=await self._hsm_status())

    async def challenge(self, _request: Request, _body: object) -> Response:
        """A throw-away value, wrapped under the escrow key, and its SHA-256 to compare what was unwrapped with."""
        value, wrapped = await self._barrier.escrow_challenge()
        return Response(
            data={
                "escrow_id": self._escrow_id(),
                "wrapped": base64.b64encode(wrapped).decode(),
                "digest": hashlib.sha256(value).hexdigest(),
            }
        )
