"""`sys/mounts` and `sys/auth`: enabling, listing, tuning and disabling engines and login methods."""

from typing import Any

import msgspec

from appliance.access.lockouts import parse_rules
from appliance.access.request import as_access_request
from appliance.mount_moves import MountMoves
from appliance.mount_table import AUTH, MountEntry
from appliance.mounts import MountStore
from appliance.namespaces import Namespace
from appliance.pipeline.mounted import MountedEngines
from appliance.system.kv_versions import check_version, resolve_alias
from core.bodies import StringList, StringMap, parse_body
from core.durations import parse_duration
from core.engine import Method, Route
from core.errors import InvalidRequestError, UnsupportedOperationError
from core.requests import NO_CONTENT, Operation, Request, Response

_VISIBILITIES = {"", "unauth", "hidden"}
_TOKEN_TYPES = {"", "default-service", "default-batch", "service", "batch"}
_LOCKOUT = {"lockout_threshold", "lockout_duration", "lockout_counter_reset", "lockout_disable"}
_LISTS = (
    "audit_non_hmac_request_keys",
    "audit_non_hmac_response_keys",
    "passthrough_request_headers",
    "allowed_response_headers",
)


class MountConfig(msgspec.Struct):
    """Vault's `config` block. A TTL of 0 or "system" is the system's default, "" (of Go clients) as good as none."""

    default_lease_ttl: str | int | None = None
    max_lease_ttl: str | int | None = None
    force_no_cache: bool | None = None
    listing_visibility: str | None = None
    token_type: str | None = None
    audit_non_hmac_request_keys: StringList | None = None
    audit_non_hmac_response_keys: StringList | None = None
    passthrough_request_headers: StringList | None = None
    allowed_response_headers: StringList | None = None
    plugin_version: str | None = None
    user_lockout_config: StringMap | None = None


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
    """The mount table, as clients see it: engines at sys/mounts, login methods at sys/auth."""

    def __init__(self, store: MountStore, mounts: MountedEngines, moves: MountMoves, version: str) -> None:
        self._store = store
        self._mounts = mounts
        self._moves = moves
        self._version = version

    def routes(self) -> list[Route]:
        """Below sys/."""
        return [
            *self._routes_of("mounts", "", "The mounted engines.", "engine"),
            *self._routes_of("auth", AUTH, "The login methods.", "login method"),
        ]

    def _routes_of(self, name: str, prefix: str, listing: str, kind: str) -> list[Route]:
        """Both tables have the same operations; what is mounted below auth/ is named without it."""

        async def list_all(request: Request, _body: object) -> Response:
            return self._list(request, is_auth=bool(prefix))

        async def read(request: Request, _body: object) -> Response:
            return self._read(request, prefix)

        async def enable(request: Request, body: EnableBody) -> Response:
            return await self._enable(request, body, prefix)

        async def disable(request: Request, _body: object) -> Response:
            return await self._disable(request, prefix)

        return [
            Route(
                pattern=name,
                methods={Operation.READ: Method(handler=list_all, mutates=False, summary=listing)},
                help=listing,
            ),
            Route(
                pattern=name + "/{path...}",
                methods={
                    Operation.READ: Method(handler=read, mutates=False, summary="The mount and its settings."),
                    Operation.UPDATE: Method(
                        handler=enable, body=EnableBody, summary=f"Enable the {kind}; at tune, change its settings."
                    ),
                    Operation.DELETE: Method(
                        handler=disable, summary="Disable it: its leases are revoked and its data is deleted."
                    ),
                },
                help=f"One {kind}. Its tuning is below it, at tune.",
                sudo=bool(prefix),
            ),
        ]

    # --- looking --------------------------------------------------------------------------------------------------

    def _list(self, request: Request, *, is_auth: bool) -> Response:
        within = as_access_request(request).within
        shown = (self.view(entry) for entry in self._mounts.entries(within) if entry.is_auth is is_auth)
        return Response(data=dict(shown), repeat_data=True)

    def _read(self, request: Request, prefix: str) -> Response:
        """One mount, or with /tune behind the path its effective settings."""
        prefix, path, tuned = _named_mount(prefix, request.params["path"])
        entry = self._entry(request, prefix + path)
        if entry is None or entry.is_auth is not bool(prefix):
            raise InvalidRequestError(_absent(path, prefix))
        return _settings(entry) if tuned else Response(data=self.view(entry)[1], repeat_data=True)

    def _entry(self, request: Request, path: str) -> MountEntry | None:
        within = as_access_request(request).within
        return next((entry for entry in self._mounts.entries(within) if entry.path == path), None)

    def view(self, entry: MountEntry) -> tuple[str, dict[str, Any]]:
        """The path (login methods: below auth/), and the members that clients know."""
        config: dict[str, Any] = {
            "default_lease_ttl": entry.default_lease_ttl,
            "max_lease_ttl": entry.max_lease_ttl,
            "force_no_cache": entry.force_no_cache,
            **_optional_settings(entry),
        }
        if entry.user_lockout_config:
            config["user_lockout_config"] = _lockout_view(entry.user_lockout_config)
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
            "plugin_version": entry.plugin_version,
            "running_plugin_version": f"v{self._version}+builtin.mimir",
            "running_sha256": "",
        }

    # --- changing -------------------------------------------------------------------------------------------------

    async def _enable(self, request: Request, body: EnableBody, prefix: str) -> Response:
        """Mount, or with /tune behind the path change settings."""
        of, path, tuned = _named_mount(prefix, request.params["path"])
        if tuned:
            return await self._tune(request, of, path, parse_body(request.data, TuneBody))
        if of != prefix:
            raise InvalidRequestError("paths below auth/ are for login methods; enable one at sys/auth/")
        within = as_access_request(request).within
        await self._store.enable(wanted_mount(prefix + path, body, within))
        return NO_CONTENT

    async def _tune(self, request: Request, prefix: str, path: str, body: TuneBody) -> Response:
        entry = self._entry(request, prefix + path)
        if entry is None or entry.is_auth is not bool(prefix):
            raise InvalidRequestError(_absent(path, prefix))
        if self._mounts.is_built_in(entry.path):
            raise InvalidRequestError(f"{entry.path} is the system's own and has nothing to tune")
        if await self._store.change(entry.uuid, lambda now: tuned_entry(now, body)) is None:
            raise InvalidRequestError(_absent(path, prefix))
        return NO_CONTENT

    async def _disable(self, request: Request, prefix: str) -> Response:
        """Disable; that nothing was there is as good."""
        of, path, tuned = _named_mount(prefix, request.params["path"])
        if tuned:
            raise UnsupportedOperationError("unsupported operation")
        if of != prefix:
            raise InvalidRequestError("paths below auth/ are those of login methods; disable one at sys/auth/")
        if self._mounts.is_built_in(prefix + path):
            raise InvalidRequestError(f"cannot unmount {prefix + path}: it is the system's own")
        entry = self._entry(request, prefix + path)
        if entry is not None and entry.is_auth is bool(prefix):
            await self._moves.disable(entry)
        return NO_CONTENT


def _absent(path: str, prefix: str) -> str:
    return f"No auth engine at {path}" if prefix else f"No secret engine mount at {path}"


def wanted_mount(path: str, body: EnableBody, within: Namespace) -> MountEntry:
    """The mount as the client wants it. Raises InvalidRequestError."""
    mount_type = body.plugin_name if body.type == "plugin" else body.type
    if not mount_type:
        raise InvalidRequestError("backend type must be specified as a string")
    mount_type, options = resolve_alias(mount_type, body.options)
    check_version(mount_type, options, before=None)
    bare = MountEntry(
        uuid="",
        accessor="",
        type=mount_type,
        path=path,
        namespace=within.id,
        namespace_path=within.path,
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
        options = changed["options"] = {**(entry.options or {}), **body.options}
        check_version(entry.type, options, before=entry.options or {})
    return _with_config(msgspec.structs.replace(entry, **changed), body)


def _with_config(entry: MountEntry, config: MountConfig) -> MountEntry:
    changed: dict[str, Any] = {}
    for field in ("default_lease_ttl", "max_lease_ttl"):
        value = getattr(config, field)
        if value not in {None, ""}:
            changed[field] = 0 if value == "system" else parse_duration(value, field=field)
    for field in ("force_no_cache", "plugin_version", *_LISTS):
        if (value := getattr(config, field)) is not None:
            changed[field] = value
    if config.listing_visibility is not None:
        if config.listing_visibility not in _VISIBILITIES:
            raise InvalidRequestError('listing_visibility must be "unauth", "hidden" or empty')
        changed["listing_visibility"] = config.listing_visibility
    if config.token_type is not None:
        changed["token_type"] = _token_type(entry, config.token_type)
    if config.user_lockout_config is not None:
        changed["user_lockout_config"] = _lockout(entry, config.user_lockout_config)
    result = msgspec.structs.replace(entry, **changed)
    _check_ttls(result.default_lease_ttl, result.max_lease_ttl)
    return result


def _token_type(entry: MountEntry, wanted: str) -> str:
    if not entry.is_auth:
        raise InvalidRequestError("token_type can only be set for login methods")
    if wanted not in _TOKEN_TYPES:
        raise InvalidRequestError(f"token_type must be one of {', '.join(sorted(_TOKEN_TYPES - {''}))}")
    return wanted


def _lockout(entry: MountEntry, config: dict[str, str]) -> dict[str, str]:
    """Merged with what is set. Raises InvalidRequestError."""
    if not entry.is_auth:
        raise InvalidRequestError("user_lockout_config can only be set for login methods")
    merged = {**(entry.user_lockout_config or {}), **config}
    if unknown := sorted(merged.keys() - _LOCKOUT):
        raise InvalidRequestError(f"user_lockout_config: {unknown[0][:40]} is not known")
    parse_rules(merged)
    return merged


def _check_ttls(default: int, maximum: int) -> None:
    if default < 0 or maximum < 0:
        raise InvalidRequestError("a lease TTL must not be negative")
    if maximum and default > maximum:
        raise InvalidRequestError("default_lease_ttl must not be greater than max_lease_ttl")


def _named_mount(prefix: str, captured: str) -> tuple[str, str, bool]:
    """The prefix of its table, the mount's path behind it, and whether its tuning is meant.

    Go clients look at login methods and tune them at sys/mounts/auth/<path>.
    """
    path = captured.strip("/")
    tuned = path.endswith("/tune")
    path = path.removesuffix("tune") if tuned else path + "/"
    if not prefix and path.startswith(AUTH) and path != AUTH:
        return AUTH, path.removeprefix(AUTH), tuned
    return prefix, path, tuned


def _optional_settings(entry: MountEntry) -> dict[str, Any]:
    """Those that are shown when they are set."""
    shown: dict[str, Any] = {name: getattr(entry, name) for name in _LISTS if getattr(entry, name)}
    if entry.listing_visibility:
        shown["listing_visibility"] = entry.listing_visibility
    if entry.is_auth:
        shown["token_type"] = entry.token_type or "default-service"
    return shown


def _lockout_view(config: dict[str, str]) -> dict[str, Any]:
    """What is in effect, by the names it is read under: they differ from those it is written under."""
    rules = parse_rules(config)
    return {
        "user_lockout_threshold": rules.threshold,
        "user_lockout_duration": rules.duration,
        "user_lockout_counter_reset_duration": rules.counter_reset,
        "user_lockout_disable": rules.is_disabled,
    }


def _settings(entry: MountEntry) -> Response:
    """What is in effect, with the defaults filled in."""
    data: dict[str, Any] = {
        "default_lease_ttl": entry.effective_default_ttl,
        "max_lease_ttl": entry.effective_max_ttl,
        "force_no_cache": entry.force_no_cache,
        "description": entry.description,
        **_optional_settings(entry),
    }
    if entry.user_lockout_config:
        data |= _lockout_view(entry.user_lockout_config)
    if entry.options:
        data["options"] = entry.options
    return Response(data=data, repeat_data=True)
