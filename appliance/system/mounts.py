"""`sys/mounts`: enabling, listing, tuning and disabling engines."""

from collections.abc import Iterable
from typing import Any

import msgspec

from appliance.mounts import DEFAULT_LEASE_TTL, MountEntry, MountStore
from appliance.pipeline.mounted import MountedEngines
from core.bodies import StringMap, parse_body
from core.durations import parse_duration
from core.engine import Handler, Method, Route
from core.errors import InvalidRequestError
from core.requests import NO_CONTENT, Operation, Request, Response

AUTH = "auth/"
_VISIBILITIES = {"", "unauth", "hidden"}


class MountConfig(msgspec.Struct):
    """Vault's `config` block. A TTL of 0, "" or "system" is the system's default."""

    default_lease_ttl: str | int | None = None
    max_lease_ttl: str | int | None = None
    force_no_cache: bool | None = None
    listing_visibility: str | None = None


class EnableBody(msgspec.Struct):
    """What to mount."""

    type: str = ""
    description: str = ""
    config: MountConfig | None = None
    options: StringMap | None = None
    local: bool = False
    seal_wrap: bool = False
    external_entropy_access: bool = False
    plugin_name: str = ""


class TuneBody(MountConfig):
    """What to change; what is absent stays."""

    description: str | None = None
    options: StringMap | None = None


class MountRoutes:
    """The mount table, as clients see it."""

    def __init__(self, store: MountStore, mounts: MountedEngines, version: str) -> None:
        self._store = store
        self._mounts = mounts
        self._version = version

    def routes(self) -> list[Route]:
        """Below sys/."""
        return [
            _route("mounts", "The mounted engines.", read=self.list_engines),
            _route("auth", "The login methods.", read=self.list_auth),
            Route(
                pattern="mounts/{path...}",
                methods={
                    Operation.READ: Method(handler=self.read, mutates=False, summary="The mount and its settings."),
                    Operation.UPDATE: Method(handler=self.enable, body=EnableBody, summary="Mount an engine."),
                    Operation.DELETE: Method(handler=self.disable, summary="Unmount it and delete all its data."),
                },
                help="One mount. Its tuning is below it, at tune.",
            ),
            _route("auth/{path...}", "One login method. Its tuning is below it, at tune.", read=self.read_auth),
        ]

    # --- looking --------------------------------------------------------------------------------------------------

    async def list_engines(self, _request: Request, _body: object) -> Response:
        """Every engine, the system's own too."""
        return _listing(self.view(entry) for entry in self._mounts.entries if not entry.path.startswith(AUTH))

    async def list_auth(self, _request: Request, _body: object) -> Response:
        """Every login method, by its path below auth/."""
        return _listing(self.view(entry) for entry in self._mounts.entries if entry.path.startswith(AUTH))

    async def read(self, request: Request, _body: object) -> Response:
        """One mount, or with /tune behind its path its effective settings."""
        path, tuned = _split_tune(request.params["path"])
        entry = self._entry(path)
        if entry is None or path.startswith(AUTH):
            raise InvalidRequestError(f"No secret engine mount at {path}")
        return _settings(entry) if tuned else Response(data=self.view(entry)[1], repeat_data=True)

    async def read_auth(self, request: Request, _body: object) -> Response:
        """As `read`, below auth/."""
        path, tuned = _split_tune(request.params["path"])
        entry = self._entry(AUTH + path)
        if entry is None:
            raise InvalidRequestError(f"No auth engine at {path}")
        return _settings(entry) if tuned else Response(data=self.view(entry)[1], repeat_data=True)

    def _entry(self, path: str) -> MountEntry | None:
        return next((entry for entry in self._mounts.entries if entry.path == path), None)

    def view(self, entry: MountEntry) -> tuple[str, dict[str, Any]]:
        """The path (login methods: below auth/), and the members that clients know."""
        config: dict[str, Any] = {
            "default_lease_ttl": entry.default_lease_ttl,
            "max_lease_ttl": entry.max_lease_ttl,
            "force_no_cache": entry.force_no_cache,
        }
        if entry.listing_visibility:
            config["listing_visibility"] = entry.listing_visibility
        if entry.path.startswith(AUTH):
            config["token_type"] = "default-service"  # noqa: S105 - a kind, not a credential
        return entry.path.removeprefix(AUTH), {
            "type": entry.type,
            "description": entry.description,
            "accessor": entry.accessor,
            "uuid": entry.uuid,
            "config": config,
            "options": entry.options,
            "local": entry.local,
            "seal_wrap": entry.seal_wrap,
            "external_entropy_access": entry.external_entropy_access,
            "plugin_version": "",
            "running_plugin_version": f"v{self._version}+builtin.mimir",
            "running_sha256": "",
        }

    # --- changing -------------------------------------------------------------------------------------------------

    async def enable(self, request: Request, body: EnableBody) -> Response:
        """Mount, or with /tune behind the path change settings."""
        path, tuned = _split_tune(request.params["path"])
        if tuned:
            return await self._tune(path, parse_body(request.data, TuneBody))
        await self._store.enable(wanted_mount(path, body))
        return NO_CONTENT

    async def _tune(self, path: str, body: TuneBody) -> Response:
        if not await self._store.change(path, lambda entry: tuned_entry(entry, body)):
            if self._entry(path) is not None:
                raise InvalidRequestError(f"{path} is the system's own and has nothing to tune")
            raise InvalidRequestError(f"No secret engine mount at {path}")
        return NO_CONTENT

    async def disable(self, request: Request, _body: object) -> Response:
        """Unmount; that nothing was there is as good."""
        path, _ = _split_tune(request.params["path"])
        if not await self._store.disable(path) and self._mounts.is_built_in(path):
            raise InvalidRequestError(f"cannot unmount {path}: it is the system's own")
        return NO_CONTENT


def wanted_mount(path: str, body: EnableBody) -> MountEntry:
    """The mount as the client wants it. Raises InvalidRequestError."""
    mount_type = body.plugin_name if body.type == "plugin" else body.type
    options: dict[str, str] | None = body.options
    if mount_type in {"kv-v1", "kv-v2"}:
        mount_type, options = "kv", {**(options or {}), "version": mount_type[-1]}
    elif mount_type == "generic":
        mount_type = "kv"
    if not mount_type:
        raise InvalidRequestError("backend type must be specified as a string")
    bare = MountEntry(
        uuid="",
        accessor="",
        type=mount_type,
        path=path,
        description=body.description,
        options=options,
        local=body.local,
        seal_wrap=body.seal_wrap,
        external_entropy_access=body.external_entropy_access,
    )
    return _with_config(bare, body.config or MountConfig())


def tuned_entry(entry: MountEntry, body: TuneBody) -> MountEntry:
    """The mount with its changed settings. Raises InvalidRequestError."""
    changed: dict[str, Any] = {}
    if body.description is not None:
        changed["description"] = body.description
    if body.options is not None:
        changed["options"] = {**(entry.options or {}), **body.options}
    return _with_config(msgspec.structs.replace(entry, **changed), body)


def _with_config(entry: MountEntry, config: MountConfig) -> MountEntry:
    changed: dict[str, Any] = {}
    for field in ("default_lease_ttl", "max_lease_ttl"):
        value = getattr(config, field)
        if value is not None:
            changed[field] = 0 if value == "system" else parse_duration(value, field=field)
    if config.force_no_cache is not None:
        changed["force_no_cache"] = config.force_no_cache
    if config.listing_visibility is not None:
        if config.listing_visibility not in _VISIBILITIES:
            raise InvalidRequestError('listing_visibility must be "unauth", "hidden" or empty')
        changed["listing_visibility"] = config.listing_visibility
    result = msgspec.structs.replace(entry, **changed)
    _check_ttls(result.default_lease_ttl, result.max_lease_ttl)
    return result


def _check_ttls(default: int, maximum: int) -> None:
    if default < 0 or maximum < 0:
        raise InvalidRequestError("a lease TTL must not be negative")
    if (default or DEFAULT_LEASE_TTL) > (maximum or max(default, DEFAULT_LEASE_TTL)):
        raise InvalidRequestError("default_lease_ttl must not be greater than max_lease_ttl")


def _split_tune(captured: str) -> tuple[str, bool]:
    """The mount's path, and whether its tuning is meant."""
    path = captured.strip("/")
    if path.endswith("/tune"):
        return path.removesuffix("tune"), True
    return path + "/", False


def _settings(entry: MountEntry) -> Response:
    """What is in effect, with the defaults filled in."""
    data: dict[str, Any] = {
        "default_lease_ttl": entry.default_lease_ttl or DEFAULT_LEASE_TTL,
        "max_lease_ttl": entry.max_lease_ttl or DEFAULT_LEASE_TTL,
        "force_no_cache": entry.force_no_cache,
        "description": entry.description,
    }
    if entry.options:
        data["options"] = entry.options
    if entry.listing_visibility:
        data["listing_visibility"] = entry.listing_visibility
    return Response(data=data, repeat_data=True)


def _listing(views: Iterable[tuple[str, dict[str, Any]]]) -> Response:
    return Response(data=dict(views), repeat_data=True)


def _route(pattern: str, text: str, *, read: Handler) -> Route:
    return Route(
        pattern=pattern, methods={Operation.READ: Method(handler=read, mutates=False, summary=text)}, help=text
    )
