"""`sys/audit` and `sys/audit-hash`: the audit devices."""

import msgspec

from audit.trail import AuditTrail
from core.bodies import StringMap
from core.engine import Method, Route
from core.errors import InvalidRequestError
from core.requests import NO_CONTENT, Operation, Request, Response


class EnableBody(msgspec.Struct):
    """Which device."""

    type: str = ""
    description: str = ""
    options: StringMap | None = None
    local: bool = False


class HashBody(msgspec.Struct):
    """What to look for in the audit log."""

    input: str = ""


class AuditRoutes:
    """The devices of the trail."""

    def __init__(self, trail: AuditTrail) -> None:
        self._trail = trail

    def routes(self) -> list[Route]:
        """Below sys/."""
        hashed = Method(handler=self.hash, body=HashBody, mutates=False, summary="The keyed hash of the input.")
        return [
            Route(
                pattern="audit",
                methods={Operation.READ: Method(handler=self.devices, mutates=False, summary="The devices.")},
                help="The enabled audit devices.",
                sudo=True,
            ),
            Route(
                pattern="audit/{path...}",
                methods={
                    Operation.UPDATE: Method(handler=self.enable, body=EnableBody, summary="Enable a device."),
                    Operation.DELETE: Method(handler=self.disable, summary="Disable a device."),
                },
                help="One audit device.",
                sudo=True,
            ),
            Route(
                pattern="audit-hash/{path...}",
                methods={Operation.UPDATE: hashed},
                help="How the device writes a value that it keeps secret.",
            ),
        ]

    async def devices(self, _request: Request, _body: object) -> Response:
        """By path."""
        data = {
            path: {
                "type": device.type,
                "description": device.description,
                "options": device.options,
                "local": device.local,
                "path": device.path,
                "accessor": device.accessor,
            }
            for path, device in self._trail.devices().items()
        }
        return Response(data=dict(data), repeat_data=True)

    async def enable(self, request: Request, body: EnableBody) -> Response:
        """In use by every worker from its next request on."""
        if not body.type:
            raise InvalidRequestError("type is missing; the type of an audit device is: file")
        await self._trail.enable(
            request.params["path"],
            type=body.type,
            description=body.description,
            options=body.options or {},
            local=body.local,
        )
        return NO_CONTENT

    async def disable(self, request: Request, _body: object) -> Response:
        """Absent is as good."""
        await self._trail.disable(request.params["path"])
        return NO_CONTENT

    async def hash(self, request: Request, body: HashBody) -> Response:
        """The keyed hash that stands in the log for `input`."""
        if not body.input:
            raise InvalidRequestError('the "input" parameter is empty')
        return Response(data={"hash": self._trail.hash(request.params["path"], body.input)}, repeat_data=True)
