"""`sys/policies/acl` and `sys/policy`: the same policies in Vault's newer and older form."""

import base64
import binascii

import msgspec

from appliance.access.policies import PolicyStore
from appliance.access.request import as_access_request
from appliance.access.rules import Policy
from core.engine import Handler, Method, Route
from core.errors import InvalidRequestError, NotFoundError, PermissionDeniedError
from core.requests import NO_CONTENT, Operation, Request, Response


class PolicyBody(msgspec.Struct):
    """The text, as HCL or JSON, plain or in base64; `rules` is what older clients call it."""

    policy: str = ""
    rules: str = ""


class PolicyRoutes:
    """Reads and writes policies."""

    def __init__(self, policies: PolicyStore) -> None:
        self._policies = policies

    def routes(self) -> list[Route]:
        """Below sys/."""
        return [
            _collection("policies/acl", self.list_names),
            self._single("policies/acl/{name}", self.read),
            _collection("policy", self.list_both),
            self._single("policy/{name}", self.read_rules),
        ]

    def _single(self, pattern: str, read: Handler) -> Route:
        return Route(
            pattern=pattern,
            methods={
                Operation.READ: Method(handler=read, mutates=False, summary="The text, byte for byte."),
                Operation.UPDATE: Method(handler=self.write, body=PolicyBody, summary="Write the policy."),
                Operation.DELETE: Method(handler=self.delete, summary="Delete the policy."),
            },
            help="One access policy.",
        )

    async def list_names(self, _request: Request, _body: object) -> Response:
        """The names."""
        return Response(data={"keys": await self._policies.names()})

    async def list_both(self, _request: Request, _body: object) -> Response:
        """The names, under both of the members that clients look for."""
        names = await self._policies.names()
        return Response(data={"keys": names, "policies": names}, repeat_data=True)

    async def read(self, request: Request, _body: object) -> Response:
        """The text, as the newer form names it."""
        policy = await self._find(request)
        return Response(data={"name": policy.name, "policy": policy.text})

    async def read_rules(self, request: Request, _body: object) -> Response:
        """The text, as the older form names it."""
        policy = await self._find(request)
        return Response(data={"name": policy.name, "rules": policy.text}, repeat_data=True)

    async def _find(self, request: Request) -> Policy:
        policy = await self._policies.get(_name(request))
        if policy is None:
            raise NotFoundError("")
        return policy

    async def write(self, request: Request, body: PolicyBody) -> Response:
        """Store the text; it is in force on every worker when this returns."""
        text = body.policy or body.rules
        if not text:
            raise InvalidRequestError("'policy' parameter not supplied or empty")
        await self._policies.put(_name(request), _plain(text))
        return NO_CONTENT

    async def delete(self, request: Request, _body: object) -> Response:
        """Absent is as good."""
        await self._policies.delete(_name(request))
        return NO_CONTENT


def _collection(pattern: str, handler: Handler) -> Route:
    method = Method(handler=handler, mutates=False, summary="The names of all policies.")
    return Route(pattern=pattern, methods={Operation.READ: method, Operation.LIST: method}, help="All policies.")


def _name(request: Request) -> str:
    """The name as it is stored. Who asks by another spelling ("Admin") must be allowed to by this one, too."""
    given = request.params["name"]
    name = given.strip().lower()
    if name != given:
        path = (request.mount_path + request.path).rstrip("/").removesuffix(given) + name
        if not as_access_request(request).acl.allows(path, request.operation.value):
            raise PermissionDeniedError("permission denied")
    return name


def _plain(text: str) -> str:
    """Some clients send base64. No policy in HCL or JSON is: both need braces."""
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        return text
