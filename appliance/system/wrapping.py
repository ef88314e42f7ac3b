"""`sys/wrapping/…`: wrap any data, and look up, unwrap and wrap anew what is wrapped.

`unwrap` by the wrapping token itself comes here without an identity (`access.wrapping.is_own_unwrap`), as `lookup`
always does; then the token is taken from the request's headers.
"""

from typing import Any

import msgspec

from appliance import envelope
from appliance.access.request import AccessRequest, as_access_request
from appliance.access.wrapping import DEFAULT_TTL, Wrapping
from appliance.pipeline.parsing import parse_token
from core.engine import Method, Route
from core.requests import AuthGrant, Operation, RawBody, Request, Response

_MOUNT_TYPE = "system"


class WrappingTokenBody(msgspec.Struct):
    """The wrapping token; without one, the token of the request is it."""

    token: str = ""


class WrappingRoutes:
    """Wraps, and gives back once."""

    def __init__(self, wrapping: Wrapping) -> None:
        self._wrapping = wrapping

    def routes(self) -> list[Route]:
        """Below sys/."""
        update = Operation.UPDATE
        look = Method(handler=self.lookup, body=WrappingTokenBody, mutates=False, summary="When and for what path.")
        unwrap = Method(handler=self.unwrap, body=WrappingTokenBody, summary="The wrapped answer, once.")
        rewrap = Method(handler=self.rewrap, body=WrappingTokenBody, summary="The same answer under a new token.")
        wrap = Method(handler=self.wrap, summary="Keep the members of the body under a single-use token.")
        return [
            Route(pattern="wrapping/wrap", methods={update: wrap}, help="Wraps data."),
            Route(
                pattern="wrapping/lookup",
                methods={update: look, Operation.READ: look},
                help="Tells of a wrapping token.",
                unauthenticated=True,
            ),
            Route(pattern="wrapping/unwrap", methods={update: unwrap}, help="Gives back what is wrapped."),
            Route(pattern="wrapping/rewrap", methods={update: rewrap}, help="Wraps anew what is wrapped."),
        ]

    async def wrap(self, request: Request, _body: object) -> Response:
        """The body of the request as the `data` of a wrapped answer, for X-Vault-Wrap-TTL or five minutes."""
        asked = as_access_request(request)
        ttl = asked.facts.wrap_ttl if asked.facts else 0
        answer = envelope.reply(Response(data=request.data), request_id=request.request_id, mount_type=_MOUNT_TYPE)
        wrap = await self._wrapping.wrap(
            answer.body,
            ttl=ttl or DEFAULT_TTL,
            creation_path=request.mount_path + request.path,
            namespace=asked.within.id,
        )
        return Response(wrap=wrap)

    async def lookup(self, request: Request, body: WrappingTokenBody) -> Response:
        """Without using the token."""
        told = await self._wrapping.lookup(_wrapping_token(request, body), within=request.namespace)
        return Response(
            data={
                "creation_path": told.creation_path,
                "creation_time": told.creation_time,
                "creation_ttl": told.creation_ttl,
            }
        )

    async def unwrap(self, request: Request, body: WrappingTokenBody) -> Response:
        """The envelope that was wrapped, byte for byte but for the id of this request."""
        kept = await self._wrapping.unwrap(_wrapping_token(request, body), within=request.namespace)
        members = msgspec.json.decode(kept, type=dict[str, msgspec.Raw])
        members["request_id"] = msgspec.Raw(msgspec.json.encode(request.request_id))
        return Response(
            data=_decode_exactly(members["data"]),  # for the audit record, as auth is; the wire gets the raw body
            auth=_granted(members["auth"]),
            raw=RawBody(body=msgspec.json.encode(members) + b"\n"),
        )

    async def rewrap(self, request: Request, body: WrappingTokenBody) -> Response:
        """A new token for the same answer."""
        wrap = await self._wrapping.rewrap(_wrapping_token(request, body), within=request.namespace)
        return Response(wrap=wrap)


def _wrapping_token(request: Request, body: WrappingTokenBody) -> str:
    """That of the body, or the caller's own."""
    if body.token:
        return body.token
    if isinstance(request, AccessRequest):
        return request.token
    return parse_token(request.headers)


def _number(text: str) -> msgspec.Raw:
    """As it is written: it may be larger than what a float holds, and the wrapping token is used up already."""
    return msgspec.Raw(text.encode())


_decode_exactly = msgspec.json.Decoder(float_hook=_number).decode


def _granted(block: msgspec.Raw) -> AuthGrant | None:
    """A wrapped `auth` block as a login answers it."""
    members = msgspec.json.decode(block, type=dict[str, Any] | None)
    if members is None:
        return None
    return msgspec.convert({name: value for name, value in members.items() if value is not None}, AuthGrant)
