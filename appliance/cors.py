"""Cross-origin requests (the CORS protocol of the Fetch standard): which pages may call, and with which headers.

Disabled until `sys/config/cors` names origins: then `active` is False and nothing of it costs a request anything.
"""

from collections.abc import Awaitable, Callable

import msgspec

from appliance.settings import Cors, Settings
from appliance.wire import WireReply, WireRequest

STANDARD_HEADERS = (
    "Content-Type",
    "X-Requested-With",
    "X-Vault-AWS-IAM-Server-ID",
    "X-Vault-MFA",
    "X-Vault-No-Request-Forwarding",
    "X-Vault-Wrap-Format",
    "X-Vault-Wrap-TTL",
    "X-Vault-Policy-Override",
    "Authorization",
    "X-Vault-Token",
    "X-Mimir-Token",
    "X-Vault-Namespace",
)
_METHODS = ("DELETE", "GET", "OPTIONS", "POST", "PUT", "PATCH", "LIST", "SCAN")
_MAX_AGE = "300"  # seconds
_REFUSED = b'{"errors":["origin not allowed"]}\n'

Handle = Callable[[WireRequest], Awaitable[WireReply]]
Headers = tuple[tuple[str, str], ...]


class CrossOrigin:
    """The rules in force."""

    def __init__(self) -> None:
        self.active = False
        self._cors = Cors()

    def apply(self, settings: Settings) -> None:
        """For `SystemSettings.watch`."""
        self._cors = settings.cors
        self.active = bool(settings.cors.allowed_origins)

    def around(self, handle: Handle) -> Handle:
        """`handle` with these rules before it, and their headers on what it answers."""

        async def handle_with_rules(request: WireRequest) -> WireReply:
            if not self.active:
                return await handle(request)
            answered = self.answer(request)
            if answered is not None:
                return answered
            reply, extra = await handle(request), self.headers(request)
            return msgspec.structs.replace(reply, headers=(*reply.headers, *extra)) if extra else reply

        return handle_with_rules

    def answer(self, request: WireRequest) -> WireReply | None:
        """What is answered before the pipeline: a preflight, and a page that may not call. None: go on."""
        origin = request.headers.get("Origin", "")
        if not self.active or not origin:
            return None
        if not self._allows(origin):
            return WireReply(403, _REFUSED, headers=(("Vary", "Origin"),))
        wanted = request.headers.get("Access-Control-Request-Method", "")
        if request.method != "OPTIONS" or not wanted:
            return None
        if wanted not in _METHODS:
            return WireReply(405, headers=self.headers(request))
        preflight = (
            ("Access-Control-Allow-Methods", ",".join(_METHODS)),
            ("Access-Control-Allow-Headers", ",".join((*STANDARD_HEADERS, *self._cors.allowed_headers))),
            ("Access-Control-Max-Age", _MAX_AGE),
        )
        return WireReply(204, headers=(*self.headers(request), *preflight))

    def headers(self, request: WireRequest) -> Headers:
        """What every answer to an allowed page carries."""
        origin = request.headers.get("Origin", "")
        if not self.active or not origin or not self._allows(origin):
            return ()
        allowed = (("Access-Control-Allow-Origin", origin), ("Vary", "Origin"))
        return (*allowed, ("Access-Control-Allow-Credentials", "true")) if self._cors.allow_credentials else allowed

    def _allows(self, origin: str) -> bool:
        return origin in self._cors.allowed_origins or "*" in self._cors.allowed_origins
