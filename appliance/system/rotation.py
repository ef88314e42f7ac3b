"""`sys/rotate/config`: when the keyring gets a new term by itself, and the work that gives it one."""

import msgspec

from appliance.settings import MAX_OPERATIONS, Rotation, Settings, SystemSettings
from appliance.system.within import check_root
from barrier.seal import Barrier
from core.bodies import Duration
from core.clock import Clock
from core.durations import format_duration
from core.engine import Method, Route
from core.errors import InvalidRequestError
from core.requests import NO_CONTENT, Operation, Request, Response

MIN_OPERATIONS = 1_000_000
MIN_INTERVAL = 24 * 3600  # seconds


class RotationBody(msgspec.Struct):
    """What is absent keeps its value; 0 sets it back to the default."""

    max_operations: int | None = None
    interval: Duration | None = None
    enabled: bool | None = None


class RotationRoutes:
    """Reads and sets the limits."""

    def __init__(self, settings: SystemSettings) -> None:
        self._settings = settings

    def routes(self) -> list[Route]:
        """Below sys/."""
        read = Method(handler=self.read, mutates=False, summary="The limits after which a term is replaced.")
        write = Method(handler=self.write, body=RotationBody, summary="Set the limits.")
        methods = {Operation.READ: read, Operation.UPDATE: write}
        text = "The automatic rotation of the barrier's keyring."
        return [
            Route(pattern="rotate/config", methods=methods, help=text),
            Route(pattern="rotate/keyring/config", methods=methods, help=text),
        ]

    async def read(self, request: Request, _body: object) -> Response:
        """The interval as Go writes durations."""
        check_root(request)
        rotation = self._settings.value.rotation
        data = {
            "enabled": rotation.enabled,
            "max_operations": rotation.max_operations,
            "interval": format_duration(rotation.interval) if rotation.interval else 0,
        }
        return Response(data=data)

    async def write(self, request: Request, body: RotationBody) -> Response:
        """Within Vault's bounds."""
        check_root(request)
        if body.max_operations and not MIN_OPERATIONS <= body.max_operations <= MAX_OPERATIONS:
            raise InvalidRequestError(f"max_operations must be between {MIN_OPERATIONS} and {MAX_OPERATIONS}")
        if body.interval and body.interval < MIN_INTERVAL:
            raise InvalidRequestError("interval must be at least 24 hours")

        def put(settings: Settings) -> Settings:
            old = settings.rotation
            rotation = Rotation(
                enabled=old.enabled if body.enabled is None else body.enabled,
                max_operations=old.max_operations
                if body.max_operations is None
                else body.max_operations or MAX_OPERATIONS,
                interval=old.interval if body.interval is None else body.interval,
            )
            return msgspec.structs.replace(settings, rotation=rotation)

        await self._settings.change(put)
        return NO_CONTENT


async def rotate_if_due(barrier: Barrier, settings: SystemSettings, clock: Clock) -> bool:
    """For the housekeeper, now and then: add a term when the present one is used up or old; whether it did.

    `encryptions` of the key status is an upper bound, so the limit is never passed unseen.
    """
    rotation = settings.value.rotation
    if not rotation.enabled:
        return False
    status = await barrier.key_status()
    is_old = rotation.interval > 0 and clock.now() - status.installed_at >= rotation.interval
    if not is_old and status.encryptions < rotation.max_operations:
        return False
    await barrier.rotate()
    return True
