"""What the appliance makes of an engine's answer: a token of a login, a stored lease, a wrapped response."""

import msgspec

from appliance import envelope
from appliance.access.lockouts import DEFAULT_RULES, LockoutRules, Lockouts, LoginName, parse_rules
from appliance.access.logins import Logins
from appliance.access.wrapping import Wrapping, is_about_wrapping
from appliance.leases.store import LeaseStore
from appliance.metrics import Counter, Metrics
from appliance.mount_table import MountEntry
from appliance.pipeline.exchange import Exchange
from core.addresses import is_within
from core.engine import Handler, LeasingEngine
from core.errors import InvalidRequestError, LoginFailedError, PermissionDeniedError
from core.requests import LeaseGrant, Login, Response


class Outcomes:
    """Turns grants into what is stored and answered. Whatever fails here takes back what the engine granted."""

    def __init__(
        self, logins: Logins, lockouts: Lockouts, leases: LeaseStore, wrapping: Wrapping, metrics: Metrics
    ) -> None:
        self._logins = logins
        self._lockouts = lockouts
        self._metrics = metrics
        self._rules: dict[str, tuple[MountEntry, LockoutRules]] = {}
        self._leases = leases
        self._wrapping = wrapping

    async def settle(self, exchange: Exchange, response: Response) -> Response:
        """The response as it may leave."""
        if response.login is not None:
            response = await self._log_in(exchange, response, response.login)
        if response.lease is not None and not response.lease.lease_id:
            response = await self._lease(exchange, response, response.lease)
        if exchange.asked.wrap_ttl and not is_about_wrapping(exchange.request):
            response = await self._wrap(exchange, response)
        return response

    async def try_login(self, exchange: Exchange, handler: Handler, body: object) -> Response:
        """Run a login route, unless its name is locked; its failures count towards that."""
        mounted, route, request = exchange.mounted, exchange.route, exchange.request
        if mounted is None or route is None or route.login_name is None:
            raise RuntimeError("this is no login route")
        entry = mounted.entry
        who = LoginName(namespace=entry.namespace, mount=entry.accessor, name=route.login_name(request, body))
        metrics = self._metrics
        try:
            response = await self._lockouts.guard(who, self._rules_of(entry), lambda: handler(request, body))
        except LoginFailedError:
            metrics.count(Counter.LOGINS_FAILED)
            raise
        metrics.count(Counter.LOGINS)
        return response

    def _rules_of(self, entry: MountEntry) -> LockoutRules:
        """Parsed once for each state of a mount."""
        if not entry.user_lockout_config:
            return DEFAULT_RULES
        known = self._rules.get(entry.uuid)
        if known is None or known[0] is not entry:
            known = self._rules[entry.uuid] = (entry, parse_rules(entry.user_lockout_config))
        return known[1]

    async def _log_in(self, exchange: Exchange, response: Response, login: Login) -> Response:
        entry, request = _entry(exchange), exchange.request
        if login.bound_cidrs and not is_within(request.client_address, login.bound_cidrs):
            raise PermissionDeniedError("permission denied")
        path = entry.path + request.path
        auth = await self._logins.grant(login, mount=entry, namespace=exchange.namespace, path=path)
        return msgspec.structs.replace(response, login=None, auth=auth)

    async def _lease(self, exchange: Exchange, response: Response, grant: LeaseGrant) -> Response:
        """Store the lease; what cannot be stored is taken back at once."""
        identity, mounted = exchange.identity, exchange.mounted
        engine: object = mounted.engine if mounted is not None else None
        if identity is None or mounted is None or not isinstance(engine, LeasingEngine):
            raise RuntimeError("only an authenticated request at a leasing engine can be answered with a lease")
        lease = await self._leases.register_or_undo(
            grant,
            namespace=exchange.namespace.id,
            mount=mounted.entry,
            path=exchange.request.path,
            token=identity.token,
            engine=engine,
            view=mounted.part_of,
        )
        return msgspec.structs.replace(response, lease=lease)

    async def _wrap(self, exchange: Exchange, response: Response) -> Response:
        """Keep the whole answer under a token that is good for fetching it once; one without data needs none."""
        if response.raw is not None:
            raise InvalidRequestError(
                "this answer is no JSON envelope and cannot be wrapped: leave X-Vault-Wrap-TTL out"
            )
        if response.data is None and response.auth is None:
            return response
        request = exchange.request
        reply = envelope.reply(response, request_id=request.request_id, mount_type=exchange.mount_type)
        wrap = await self._wrapping.wrap(
            reply.body,
            ttl=exchange.asked.wrap_ttl,
            creation_path=exchange.asked.path[len(exchange.namespace.path) :],
            namespace=exchange.namespace.id,
            wrapped_accessor=_accessor(response),
        )
        return Response(wrap=wrap)


def _accessor(response: Response) -> str:
    """Of the token, or of the secret id, that is being wrapped."""
    if response.auth is not None:
        return response.auth.accessor
    accessor = (response.data or {}).get("secret_id_accessor", "")
    return accessor if isinstance(accessor, str) else ""


def _entry(exchange: Exchange) -> MountEntry:
    if exchange.mounted is None:
        raise RuntimeError("the request has no mount")
    return exchange.mounted.entry
