"""config: what holds for all secrets of the mount."""

from typing import Any

from msgspec.structs import replace

from core.durations import parse_duration
from core.engine import Method, NoBody, Route
from core.requests import NO_CONTENT, Operation, Request, Response
from kv.answers import settings_block
from kv.bodies import ConfigBody
from kv.metadata import check_max_versions
from kv.parts import Parts


class ConfigRoutes:
    """What operators of the mount use."""

    def __init__(self, parts: Parts) -> None:
        self._store = parts.store
        self._engine = parts.engine

    def routes(self) -> list[Route]:
        """Below the mount."""
        return [
            Route(
                pattern="config",
                methods={
                    Operation.READ: Method(handler=self._read, mutates=False, summary="The settings of the mount"),
                    Operation.UPDATE: Method(
                        handler=self._write, body=ConfigBody, summary="Change the settings that are named"
                    ),
                },
                help="Settings of the mount. A secret may keep another number of versions, or delete them earlier.",
            )
        ]

    async def _read(self, _request: Request, _body: NoBody) -> Response:
        return Response(data=settings_block(await self._store.settings()))

    async def _write(self, _request: Request, body: ConfigBody) -> Response:
        changed: dict[str, Any] = {
            name: getattr(body, name)
            for name in ("cas_required", "metadata_cas_required")
            if getattr(body, name) is not None
        }
        if body.max_versions is not None:
            changed["max_versions"] = check_max_versions(body.max_versions)
        if body.delete_version_after is not None:
            # any negative time: never, whatever a secret says
            changed["delete_version_after"] = max(
                -1, parse_duration(body.delete_version_after, field="delete_version_after")
            )
        if changed:
            await self._engine.change_settings(lambda settings: replace(settings, **changed))
        return NO_CONTENT
