"""verify/<role> proves that a role works; reconcile/<connection> finds accounts without leases, and leases without."""

import msgspec

from core.engine import Method, NoBody, Route
from core.errors import InvalidRequestError, NotFoundError
from core.requests import Operation, Request, Response
from dynamic.parts import Parts
from dynamic.verify import Verification


class ReconcileBody(msgspec.Struct):
    """Whether orphans are removed, and whether accounts count that carry the prefix and are not this mount's."""

    apply: bool = False
    include_foreign: bool = False


class CheckRoutes:
    """What operators ask."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def routes(self) -> list[Route]:
        """Below the mount."""
        return [
            Route(
                pattern="verify/{name}",
                methods={
                    Operation.UPDATE: Method(
                        handler=self._verify, statuses=(503,), summary="Make an account, use it, remove it"
                    )
                },
                help="Proves that the accounts of a role work, and that they end.",
            ),
            Route(
                pattern="reconcile/{name}",
                methods={
                    Operation.READ: Method(handler=self._last, mutates=False, summary="What the last comparison found"),
                    Operation.UPDATE: Method(
                        handler=self._reconcile,
                        body=ReconcileBody,
                        statuses=(503,),
                        summary="Compare accounts with leases",
                    ),
                },
                help="Finds accounts that no lease is for, and leases whose account is gone.",
            ),
        ]

    async def _verify(self, request: Request, _body: NoBody) -> Response:
        name = request.params["name"]
        role = await self._parts.store.role(name)
        if role is None:
            raise InvalidRequestError(f"unknown role: {name}")
        await self._parts.credentials.connection_of(role)
        verification = Verification(self._parts.credentials, self._parts.targets, role)
        return Response(data=await verification.run(request.caller, reference=request.request_id))

    async def _last(self, request: Request, _body: NoBody) -> Response:
        found = await self._parts.reconciler.last(request.params["name"])
        if found is None:
            raise NotFoundError("")
        return Response(data=found.data())

    async def _reconcile(self, request: Request, body: ReconcileBody) -> Response:
        found = await self._parts.reconciler.reconcile(
            request.params["name"], apply=body.apply, include_foreign=body.include_foreign
        )
        return Response(data=found.data())
