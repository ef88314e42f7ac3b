"""auth/token/ as the pipeline calls it: admitted by a token, the body parsed by the route."""

from appliance.access.request import AccessRequest
from appliance.access.subject import Subject
from appliance.access.token_routes import token_engine
from appliance.namespaces import ROOT
from appliance.router import RouteTable
from core.bodies import parse_body
from core.requests import Operation


class TokenCalls:
    """call(token, path, operation, **body) answers what the handler does."""

    def __init__(self, access, **parts):
        self.access = access
        self.engine = token_engine(access.clock, access.tokens, access.policies, **parts)
        self.routes = RouteTable(self.engine.routes)

    async def __call__(self, token, path, operation=Operation.UPDATE, /, within=ROOT, **data):
        entry = await self.access.tokens.authenticate(token)
        acl = await self.access.policies.acl(Subject(namespace=entry.namespace, policies=entry.policies))
        route, params = self.routes.find(path)
        request = AccessRequest(
            request_id="r", operation=operation, mount_path="auth/token/", path=path, params=params, data=data,
            namespace=within.path, token=token, entry=entry, acl=acl, within=within,
        )  # fmt: skip
        method = route.methods[operation]
        return await method.handler(request, parse_body(data, method.body))
