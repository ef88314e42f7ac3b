"""What the endpoints have in common that a quorum of recovery keys authorises.

The older ones ask for no token, as Vault's do: there the nonce, told only to the caller who began, keeps strangers
from reading along, giving shares and cancelling; who brings a token that allows it is no stranger. The newer ones ask
for `sudo`, and tell the nonce.
"""

import base64
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec

from appliance.system.callers import Vouch
from appliance.system.raw import raw_json
from appliance.system.seal import parse_share
from core.engine import Method, Route
from core.errors import InvalidRequestError, UnsupportedPathError
from core.requests import Operation, Request, Response
from core.secret import Secret

Answer = Callable[[dict[str, Any]], Response]


class NonceBody(msgspec.Struct):
    """Names the attempt to be cancelled; in the query when there is no body."""

    nonce: str = ""


class ShareBody(msgspec.Struct):
    """One share, for the attempt of that nonce."""

    key: str = ""
    nonce: str = ""


def enveloped(data: dict[str, Any]) -> Response:
    """As most of Vault's API answers."""
    return Response(data=data)


def given_share(body: ShareBody) -> Secret:
    """Raises InvalidRequestError."""
    if not body.key:
        raise InvalidRequestError("'key' must be specified in request body as JSON")
    return parse_share(body.key)


def in_root_namespace(method: Method) -> Method:
    """Unsupported elsewhere: seal and recovery keys are those of the whole appliance."""
    handler = method.handler

    async def handle(request: Request, body: Any) -> Response:
        if request.namespace:
            raise UnsupportedPathError("")
        return await handler(request, body)

    return replace(method, handler=handle)


def shown(shares: list[Secret]) -> dict[str, list[str]]:
    """Recovery keys as init prints them."""
    return {
        "keys": [share.expose().hex() for share in shares],
        "keys_base64": [base64.b64encode(share.expose()).decode() for share in shares],
    }


class Entrance:
    """One way in: how it answers, and how its callers become known."""

    def __init__(self, vouch: Vouch | None = None) -> None:
        """Without `vouch` the route asks for a token itself, with sudo."""
        self.is_trusted = vouch is None
        self.answer: Answer = enveloped if vouch is None else raw_json
        self._vouch = vouch

    async def trusts(self, request: Request) -> bool:
        """Whether the caller may see nonces, and cancel without one."""
        return self._vouch is None or await self._vouch(request)

    async def nonce(self, request: Request, nonce: str) -> str:
        """As a status shows it: not to strangers."""
        return nonce if nonce and await self.trusts(request) else ""

    async def cancelling(self, request: Request, body: NonceBody) -> str | None:
        """The nonce that must be right for a cancellation; None when the caller's policy is enough."""
        return None if not body.nonce and await self.trusts(request) else body.nonce

    def route(self, pattern: str, help_text: str, **methods: Method) -> Route:
        """A route with the operations of that name."""
        operations = {Operation(word): in_root_namespace(method) for word, method in methods.items()}
        return Route(
            pattern=pattern,
            methods=operations,
            help=help_text,
            sudo=self.is_trusted,
            unauthenticated=not self.is_trusted,
        )


TRUSTED = Entrance()
