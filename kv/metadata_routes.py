"""metadata/: what holds for a secret as a whole, and the names of secrets."""

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import UNSET

from core.durations import parse_duration
from core.engine import Method, NoBody, Route
from core.errors import InvalidRequestError, NotFoundError
from core.requests import NO_CONTENT, Operation, Request, Response
from kv import exact_json
from kv.answers import metadata_block
from kv.bodies import MetadataBody
from kv.invalid_routes import refusals
from kv.metadata import MetadataChange, check_classification, check_max_versions, check_owner
from kv.names import secret_name
from kv.parts import Parts
from kv.times import parse_time


class MetadataRoutes:
    """What owners of secrets use."""

    def __init__(self, parts: Parts) -> None:
        self._store = parts.store
        self._engine = parts.engine
        self._listing = parts.listing

    def routes(self) -> list[Route]:
        """Below the mount."""
        listing = {
            Operation.LIST: Method(handler=self._listing.list, mutates=False, summary="Names of secrets and folders"),
            Operation.SCAN: Method(handler=self._listing.scan, mutates=False, summary="Names of all secrets below"),
        }
        details = {
            Operation.LIST: Method(
                handler=self._listing.list_details, mutates=False, summary="Secrets in a folder, with their metadata"
            ),
            Operation.SCAN: Method(
                handler=self._listing.scan_details, mutates=False, summary="All secrets below, with their metadata"
            ),
        }
        text = "Names with the metadata of each secret, also of those whose metadata the caller may not read singly."
        return [
            Route(
                pattern="metadata/{path...}",
                exists=self._exists,
                methods={
                    Operation.READ: Method(
                        handler=self._read, mutates=False, summary="Settings and versions of a secret"
                    ),
                    Operation.UPDATE: Method(
                        handler=self._write, body=MetadataBody, summary="Change the settings that are named"
                    ),
                    Operation.PATCH: Method(
                        handler=self._patch, body=MetadataBody, summary="Merge settings; null sets one back"
                    ),
                    Operation.DELETE: Method(handler=self._delete, summary="Delete a secret with all its versions"),
                    **listing,
                },
                help="What holds for all versions of a secret. LIST and SCAN give names; `after`, `limit` make pages.",
            ),
            Route(pattern="metadata", methods={**refusals(), **listing}, help="The names of all secrets."),
            Route(pattern="detailed-metadata/{path...}", methods=details, help=text),
            Route(pattern="detailed-metadata", methods={**refusals(), **details}, help=text),
        ]

    async def _exists(self, request: Request) -> bool:
        return await self._store.find(secret_name(request)) is not None

    async def _read(self, request: Request, _body: NoBody) -> Response:
        opened = await self._store.find(secret_name(request))
        if opened is None:
            raise NotFoundError("")
        return Response(data=metadata_block(opened.secret, self._engine.now()))

    async def _write(self, request: Request, body: MetadataBody) -> Response:
        name, change = secret_name(request), _change(request, body, is_patch=False)
        if not change.names:  # as in Vault, not even a new secret
            return NO_CONTENT
        await self._engine.write_metadata(name, change, cas=_cas(request, body))
        return await self._done(body)

    async def _patch(self, request: Request, body: MetadataBody) -> Response:
        name, change = secret_name(request), _change(request, body, is_patch=True)
        if not change.names:
            return NO_CONTENT
        await self._engine.write_metadata(name, change, cas=_cas(request, body), is_patch=True)
        return await self._done(body)

    async def _delete(self, request: Request, _body: NoBody) -> Response:
        await self._engine.delete_metadata(secret_name(request))
        return NO_CONTENT

    async def _done(self, body: MetadataBody) -> Response:
        """Warns of what has no effect."""
        settings = await self._store.settings()
        warnings = [
            f'"{name}" set to false, but is mandated by backend config. This value will be ignored.'
            for name in ("cas_required", "metadata_cas_required")
            if getattr(settings, name) and getattr(body, name) is False
        ]
        return Response(warnings=warnings) if warnings else NO_CONTENT


def _cas(request: Request, body: MetadataBody) -> int | None:
    """None when it is not there; a null is 0, as in OpenBao."""
    return body.metadata_cas or 0 if "metadata_cas" in request.data else None


_READERS: dict[str, Callable[[Any], Any]] = {
    "max_versions": check_max_versions,
    "delete_version_after": lambda value: _seconds(value, "delete_version_after"),
    "owner": check_owner,
    "classification": check_classification,
    "rotate_every": lambda value: _seconds(value, "rotate_every"),
    "expires_at": lambda value: parse_time(value, field="expires_at"),
}
_DEFAULTS = {  # what a null stands for
    "max_versions": 0,
    "cas_required": False,
    "delete_version_after": 0,
    "custom_metadata": None,
    "metadata_cas_required": False,
    "owner": "",
    "classification": "",
    "rotate_every": 0,
    "expires_at": 0,
}


def _change(request: Request, body: MetadataBody, *, is_patch: bool) -> MetadataChange:
    """What the body asks for. Raises InvalidRequestError."""
    return MetadataChange(**{name: _wanted(request, body, name, is_patch=is_patch) for name in _DEFAULTS})


def _wanted(request: Request, body: MetadataBody, name: str, *, is_patch: bool) -> Any:
    given = getattr(body, name)
    if given is None:
        return _DEFAULTS[name] if name in request.data else UNSET
    if name == "custom_metadata":
        return _custom_metadata(request, given, is_patch=is_patch)
    return _READERS[name](given) if name in _READERS else given


def _custom_metadata(request: Request, given: dict[str, Any], *, is_patch: bool) -> dict[str, str | None]:
    """Values as text, numbers with the digits that they were sent with; in a patch a null stays one."""
    exact = exact_json.whole_body(request).get("custom_metadata") or given
    return {name: None if value is None and is_patch else _text(value) for name, value in exact.items()}


def _text(value: object) -> str:
    """A scalar as Vault writes it: true is 1, false is 0, null is nothing. Raises InvalidRequestError."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, msgspec.Raw):
        return bytes(value).decode()
    if isinstance(value, int | float):
        return str(int(value) if isinstance(value, bool) else value)
    raise InvalidRequestError("custom_metadata must be an object whose values are strings")


def _seconds(value: str | float, field: str) -> int:
    seconds = parse_duration(value, field=field)
    if seconds < 0:
        raise InvalidRequestError(f"{field} must not be negative")
    return seconds
