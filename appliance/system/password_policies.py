"""`sys/policies/password`: rules for made-up passwords, and passwords made up by them."""

from typing import Annotated

import msgspec

from appliance.password_policies import PasswordPolicies
from appliance.system.policies import plain_text
from appliance.system.within import namespace_of
from core.engine import Method, Route
from core.errors import NotFoundError
from core.requests import NO_CONTENT, Operation, Request, Response


class PasswordPolicyBody(msgspec.Struct):
    """The text, plain or in base64."""

    policy: Annotated[str, msgspec.Meta(min_length=1)]


class PasswordPolicyRoutes:
    """Reads, writes and uses them, each namespace its own."""

    def __init__(self, policies: PasswordPolicies) -> None:
        self._policies = policies

    def routes(self) -> list[Route]:
        """Below sys/."""
        generate = Method(handler=self.generate, mutates=False, summary="A password of this policy.")
        return [
            Route(
                pattern="policies/password",
                methods={Operation.LIST: Method(handler=self.names, mutates=False, summary="The names of all.")},
                help="The password policies.",
            ),
            Route(
                pattern="policies/password/{name}",
                methods={
                    Operation.READ: Method(handler=self.read, mutates=False, summary="The text, as it was written."),
                    Operation.UPDATE: Method(
                        handler=self.write, body=PasswordPolicyBody, summary="Write a password policy."
                    ),
                    Operation.DELETE: Method(handler=self.delete, summary="Delete a password policy."),
                },
                help='One password policy: length = 20, and rule "charset" { charset = "abc…"  min-chars = 1 }.',
            ),
            Route(
                pattern="policies/password/{name}/generate",
                methods={Operation.READ: generate},
                help="Make up a password.",
            ),
        ]

    async def names(self, request: Request, _body: object) -> Response:
        """404 when there are none, as for every empty list."""
        names = await self._policies.names(namespace=namespace_of(request).id)
        if not names:
            raise NotFoundError("")
        return Response(data={"keys": names})

    async def read(self, request: Request, _body: object) -> Response:
        """The text, byte for byte."""
        stored = await self._policies.get(request.params["name"], namespace=namespace_of(request).id)
        if stored is None:
            raise NotFoundError("")
        return Response(data={"policy": stored.text})

    async def write(self, request: Request, body: PasswordPolicyBody) -> Response:
        """Only what can be satisfied is stored."""
        text = plain_text(body.policy)
        await self._policies.put(request.params["name"], text, namespace=namespace_of(request).id)
        return NO_CONTENT

    async def delete(self, request: Request, _body: object) -> Response:
        """Engines that name it fail from now on; they are not looked for."""
        await self._policies.delete(request.params["name"], namespace=namespace_of(request).id)
        return NO_CONTENT

    async def generate(self, request: Request, _body: object) -> Response:
        """A fresh one each time; the audit log has its keyed hash only."""
        namespace = namespace_of(request).id
        return Response(data={"password": await self._policies.generate(request.params["name"], namespace=namespace)})
