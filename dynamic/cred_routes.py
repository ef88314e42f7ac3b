"""creds/<role>: an account for whoever asks, with a lease. rotate-root/<name>: the connection's own password."""

from core.engine import Method, NoBody, Route
from core.errors import InvalidRequestError
from core.requests import NO_CONTENT, Operation, Request, Response
from dynamic.parts import Parts


class CredRoutes:
    """What applications ask for."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def routes(self) -> list[Route]:
        """Below the mount."""
        return [
            Route(
                pattern="creds/{name}",
                methods={
                    Operation.READ: Method(handler=self._make, statuses=(503,), summary="Make an account and lease it")
                },
                help="An account of the role, which ends with its lease.",
            ),
            Route(
                pattern="rotate-root/{name}",
                methods={
                    Operation.UPDATE: Method(
                        handler=self._rotate_root, statuses=(503,), summary="Change the connection's own password"
                    )
                },
                help="Afterwards nobody knows the password but the barrier.",
            ),
        ]

    async def _make(self, request: Request, _body: NoBody) -> Response:
        name = request.params["name"]
        role = await self._parts.store.role(name)
        if role is None:
            raise InvalidRequestError(f"unknown role: {name}")
        made = await self._parts.credentials.make(role, request.caller, reference=request.request_id)
        return Response(data={"username": made.username, "password": made.password}, lease=made.grant)

    async def _rotate_root(self, request: Request, _body: NoBody) -> Response:
        await self._parts.root_rotation.rotate(request.params["name"])
        return NO_CONTENT
