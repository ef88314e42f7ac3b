"""`sys/config`: CORS, audited request headers, headers of user interfaces, and the configuration in force."""

import re
from typing import Any
from urllib.parse import urlsplit

import msgspec

from appliance.audited_headers import SECRET_HEADERS
from appliance.cors import STANDARD_HEADERS
from appliance.settings import Cors, Settings, SystemSettings
from appliance.system.within import check_root
from core.bodies import StringList
from core.engine import Method, Route
from core.errors import InvalidRequestError, NotFoundError
from core.requests import NO_CONTENT, Operation, Request, Response

MAX_NAMES = 100
MAX_VALUE = 4096
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")  # RFC 9110, 5.6.2: token


class CorsBody(msgspec.Struct):
    """Origins such as "https://ui.example.com", or "*"."""

    allowed_origins: StringList | None = None
    allowed_headers: StringList | None = None
    allow_credentials: bool = False
    enable: bool | None = None


class AuditedHeaderBody(msgspec.Struct):
    """Whether the value is written as a keyed hash."""

    hmac: bool = False


class UiHeaderBody(msgspec.Struct):
    """The values of a header."""

    values: StringList


class OperatorConfigRoutes:
    """All need sudo, as in Vault. `sanitized` is the configuration without what may be secret."""

    def __init__(self, settings: SystemSettings, sanitized: dict[str, Any]) -> None:
        self._settings = settings
        self._sanitized = sanitized

    def routes(self) -> list[Route]:
        """Below sys/."""
        return [*self._cors_routes(), *self._audit_routes(), *self._ui_routes(), *self._state_routes()]

    def _cors_routes(self) -> list[Route]:
        methods = {
            Operation.READ: Method(handler=self.read_cors, mutates=False, summary="Who may call from other origins."),
            Operation.UPDATE: Method(handler=self.write_cors, body=CorsBody, summary="Allow origins."),
            Operation.DELETE: Method(handler=self.delete_cors, summary="Allow no other origin."),
        }
        return [Route(pattern="config/cors", methods=methods, help="Cross-origin requests of browsers.", sudo=True)]

    def _audit_routes(self) -> list[Route]:
        base = "config/auditing/request-headers"
        every = Method(handler=self.audited_headers, mutates=False, summary="The audited headers.")
        one = {
            Operation.READ: Method(handler=self.audited_header, mutates=False, summary="How it is written."),
            Operation.UPDATE: Method(
                handler=self.audit_header, body=AuditedHeaderBody, summary="Write the header into audit records."
            ),
            Operation.DELETE: Method(handler=self.forget_header, summary="Leave the header out."),
        }
        return [
            Route(pattern=base, methods={Operation.READ: every}, help="Request headers in audit records.", sudo=True),
            Route(pattern=base + "/{header}", methods=one, help="One audited request header.", sudo=True),
        ]

    def _ui_routes(self) -> list[Route]:
        listed = Method(handler=self.ui_headers, mutates=False, summary="The names of the headers.")
        one = {
            Operation.READ: Method(handler=self.ui_header, mutates=False, summary="Its value; ?multivalue=true: all."),
            Operation.UPDATE: Method(handler=self.write_ui_header, body=UiHeaderBody, summary="Set the header."),
            Operation.DELETE: Method(handler=self.delete_ui_header, summary="Remove the header."),
        }
        base = "config/ui/headers"
        return [
            Route(pattern=base, methods={Operation.LIST: listed}, help="Headers of the user interface.", sudo=True),
            Route(pattern=base + "/{header}", methods=one, help="One header of the user interface.", sudo=True),
        ]

    def _state_routes(self) -> list[Route]:
        state = Method(handler=self.state, mutates=False, summary="The configuration, without secrets.")
        reload = Method(handler=self.reload, mutates=False, summary="Refused: a signal does it.")
        return [
            Route(pattern="config/state/sanitized", methods={Operation.READ: state}, help="The configuration."),
            Route(
                pattern="config/reload/{subsystem}",
                methods={Operation.UPDATE: reload},
                help="What can be reloaded by request: nothing.",
                sudo=True,
            ),
        ]

    # --- CORS -----------------------------------------------------------------------------------------------------

    async def read_cors(self, request: Request, _body: object) -> Response:
        """Without origins it is not enabled, and that is all there is to say."""
        check_root(request)
        cors = self._settings.value.cors
        if not cors.allowed_origins:
            return Response(data={"enabled": False}, repeat_data=True)
        data = {
            "enabled": True,
            "allowed_origins": list(cors.allowed_origins),
            "allowed_headers": [*STANDARD_HEADERS, *cors.allowed_headers],
            "allow_credentials": cors.allow_credentials,
        }
        return Response(data=data, repeat_data=True)

    async def write_cors(self, request: Request, body: CorsBody) -> Response:
        """Replaces all of it."""
        check_root(request)
        cors = _cors(body)
        await self._settings.change(lambda settings: msgspec.structs.replace(settings, cors=cors))
        return NO_CONTENT

    async def delete_cors(self, request: Request, _body: object) -> Response:
        """Absent is as good."""
        check_root(request)
        await self._settings.change(lambda settings: msgspec.structs.replace(settings, cors=Cors()))
        return NO_CONTENT

    # --- audited headers ------------------------------------------------------------------------------------------

    async def audited_headers(self, request: Request, _body: object) -> Response:
        """By name, in lower case."""
        check_root(request)
        named = self._settings.value.audited_headers
        headers = {name: {"hmac": hashed} for name, hashed in sorted(named.items())}
        return Response(data={"headers": headers}, repeat_data=True)

    async def audited_header(self, request: Request, _body: object) -> Response:
        """Named as the caller wrote it. Vault answers 400 for an unknown one."""
        name = _name(request)
        named = self._settings.value.audited_headers
        if name not in named:
            raise InvalidRequestError("Could not find header in config")
        return Response(data={request.params["header"]: {"hmac": named[name]}}, repeat_data=True)

    async def audit_header(self, request: Request, body: AuditedHeaderBody) -> Response:
        """From each worker's next request on. Credentials are written as hashes only."""
        name = _name(request)
        if name in SECRET_HEADERS and not body.hmac:
            raise InvalidRequestError(f"{name} carries a credential: audit it with hmac set to true")

        def put(settings: Settings) -> Settings:
            return _with_audited(settings, {**settings.audited_headers, name: body.hmac})

        await self._settings.change(put)
        return NO_CONTENT

    async def forget_header(self, request: Request, _body: object) -> Response:
        """Absent is as good."""
        name = _name(request)

        def remove(settings: Settings) -> Settings:
            return _with_audited(settings, {key: it for key, it in settings.audited_headers.items() if key != name})

        await self._settings.change(remove)
        return NO_CONTENT

    # --- headers of the user interface ----------------------------------------------------------------------------

    async def ui_headers(self, request: Request, _body: object) -> Response:
        """404 when there are none, as for every empty list."""
        check_root(request)
        if not self._settings.value.ui_headers:
            raise NotFoundError("")
        return Response(data={"keys": sorted(self._settings.value.ui_headers)})

    async def ui_header(self, request: Request, _body: object) -> Response:
        """The first value, or all."""
        values = self._settings.value.ui_headers.get(_name(request))
        if values is None:
            raise NotFoundError("")
        if request.query.get("multivalue", "") in {"true", "1", "t", "T", "TRUE", "True"}:
            return Response(data={"values": list(values)})
        return Response(data={"value": values[0]})

    async def write_ui_header(self, request: Request, body: UiHeaderBody) -> Response:
        """Kept for a user interface in front; Mimir itself serves none."""
        name, values = _name(request), tuple(body.values)
        if name.startswith("x-vault-"):
            raise InvalidRequestError("X-Vault headers cannot be set")
        if not values or any(len(value) > MAX_VALUE or not value.isprintable() for value in values):
            raise InvalidRequestError(f"values must be printable strings of at most {MAX_VALUE} characters")

        def put(settings: Settings) -> Settings:
            headers = {**settings.ui_headers, name: values}
            _check_count(headers)
            return msgspec.structs.replace(settings, ui_headers=headers)

        await self._settings.change(put)
        return NO_CONTENT

    async def delete_ui_header(self, request: Request, _body: object) -> Response:
        """Absent is as good."""
        name = _name(request)

        def remove(settings: Settings) -> Settings:
            headers = {key: values for key, values in settings.ui_headers.items() if key != name}
            return msgspec.structs.replace(settings, ui_headers=headers)

        await self._settings.change(remove)
        return NO_CONTENT

    # --- the configuration ----------------------------------------------------------------------------------------

    async def state(self, request: Request, _body: object) -> Response:
        """As it was when this process started."""
        check_root(request)
        return Response(data=self._sanitized)

    async def reload(self, request: Request, _body: object) -> Response:
        """Vault reloads its licence here; Mimir has none."""
        check_root(request)
        raise InvalidRequestError(
            "unknown subsystem: listeners and certificates are reloaded by SIGHUP, nothing else is"
        )


def _cors(body: CorsBody) -> Cors:
    """Checked. Raises InvalidRequestError."""
    if body.enable is False:
        return Cors()
    origins = tuple(dict.fromkeys(body.allowed_origins or ()))
    headers = tuple(dict.fromkeys(body.allowed_headers or ()))
    if not origins:
        raise InvalidRequestError("at least one origin or the wildcard must be provided")
    if len(origins) > MAX_NAMES or len(headers) > MAX_NAMES:
        raise InvalidRequestError(f"at most {MAX_NAMES} origins and {MAX_NAMES} headers can be allowed")
    if "*" in origins and len(origins) > 1:
        raise InvalidRequestError("to allow all origins the '*' must be the only value for allowed_origins")
    if "*" in origins and body.allow_credentials:
        raise InvalidRequestError(
            "credentials with every origin would let any page act for its reader; name the origins"
        )
    for origin in origins:
        _check_origin(origin)
    if not all(_HEADER.fullmatch(header) for header in headers):
        raise InvalidRequestError("allowed_headers must be names of headers")
    return Cors(allowed_origins=origins, allowed_headers=headers, allow_credentials=body.allow_credentials)


def _check_origin(origin: str) -> None:
    """RFC 6454, 6.2: a scheme, a host and maybe a port."""
    try:
        parts = urlsplit(origin)
        is_origin = bool(
            parts.scheme in {"http", "https"} and parts.hostname and f"{parts.scheme}://{parts.netloc}" == origin
        )
        is_origin = is_origin and "@" not in parts.netloc and (parts.port is None or parts.port > 0)
    except ValueError:
        is_origin = False
    if origin != "*" and not (is_origin and origin.isascii() and origin.isprintable() and len(origin) <= MAX_VALUE):
        raise InvalidRequestError('allowed_origins must be "*" or origins such as https://ui.example.com')


def _with_audited(settings: Settings, headers: dict[str, bool]) -> Settings:
    _check_count(headers)
    return msgspec.structs.replace(settings, audited_headers=headers)


def _check_count(names: dict[str, Any]) -> None:
    if len(names) > MAX_NAMES:
        raise InvalidRequestError(f"at most {MAX_NAMES} headers can be named; delete some first")


def _name(request: Request) -> str:
    """The header of the path in lower case: names are compared without case (RFC 9110, 5.1)."""
    check_root(request)
    name = request.params["header"]
    if not _HEADER.fullmatch(name):
        raise InvalidRequestError("this is not the name of a header")
    return name.lower()
