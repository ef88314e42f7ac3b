"""Which route a request means, and whether its token may use it."""

from appliance.access.acl import Acl
from appliance.access.policies import PolicyStore
from appliance.access.request import AccessRequest
from appliance.access.token_hash import without_tokens
from appliance.access.verdicts import Refusal
from appliance.access.wrapping import is_about_wrapping
from appliance.pipeline.exchange import Exchange
from appliance.router import plain_path
from core.engine import Method, Route
from core.errors import InvalidRequestError, PermissionDeniedError, UnsupportedOperationError, UnsupportedPathError
from core.requests import Operation

_ROOT = ("root",)
# what sys/ serves in namespaces below the root; the rest is the whole appliance's
_IN_NAMESPACES = frozenset(
    (
        *("mounts", "auth", "remount", "namespaces", "policies", "policy", "capabilities", "capabilities-self"),
        *("capabilities-accessor", "leases", "renew", "revoke", "revoke-prefix", "revoke-force", "wrapping"),
        *("internal", "tools", "locked-users", "quotas", "events"),
    )
)


def find_route(exchange: Exchange) -> None:
    """Note the route and its captures. That there is none is only said to who may know it (`check_served`)."""
    mounted = exchange.mounted
    if mounted is None:
        return
    found = mounted.routes.find(exchange.request.path)
    if found is not None:
        exchange.route, exchange.request.params = found


async def check_allowed(exchange: Exchange, policies: PolicyStore) -> None:
    """Ask the caller's policies. Raises PermissionDeniedError, whether the path exists or not."""
    identity, route = exchange.identity, exchange.route
    if identity is None:
        return
    await _settle_write(exchange)
    subject = identity.subject
    acl = policies.peek_acl(subject)
    if acl is None:
        acl = await policies.acl(subject)
    exchange.acl = acl
    if acl.is_root:
        exchange.granting = _ROOT
        return
    if exchange.request.operation is Operation.HELP:
        return
    exchange.refusal = await _refusal(exchange, acl, sudo=route is not None and route.sudo)
    if exchange.refusal is not None:
        raise PermissionDeniedError("permission denied")


async def _settle_write(exchange: Exchange) -> None:
    """An UPDATE of what is absent becomes CREATE where the route serves that by itself (transit's encrypt)."""
    request, route = exchange.request, exchange.route
    if request.operation is not Operation.UPDATE or route is None or route.exists is None:
        return
    if Operation.CREATE in route.methods and not await route.exists(request):
        request.operation = Operation.CREATE


async def _refusal(exchange: Exchange, acl: Acl, *, sudo: bool) -> Refusal | None:
    """Routes read a path with a slash too many as the one without, and some take capitals for small letters.

    Then both spellings must be granted.
    """
    path, route = exchange.asked.path, exchange.route
    refusal = await _refusal_at(exchange, acl, path, sudo=sudo)
    if refusal is not None:
        return refusal
    plain = plain_path(path)
    if route is not None and route.ignores_case:
        start = len(path) - len(exchange.request.path)  # where it stands is the mount's, in the case it was given
        plain = plain[:start] + plain[start:].lower()
    return None if plain == path else await _refusal_at(exchange, acl, plain, sudo=sudo)


async def _refusal_at(exchange: Exchange, acl: Acl, path: str, *, sudo: bool) -> Refusal | None:
    operation = exchange.request.operation
    if operation is Operation.UPDATE:
        return await _refusal_of_update(exchange, acl, path, sudo=sudo)
    return _ask(exchange, acl, path, operation.word, sudo=sudo)


def _ask(exchange: Exchange, acl: Acl, path: str, capability: str, *, sudo: bool) -> Refusal | None:
    verdict = acl.check(path, capability, sudo=sudo)
    if verdict.is_conditional or exchange.asked.wrap_ttl:
        exchange.is_conditional, facts = True, exchange.facts
        exchange.granting = verdict.granting(facts)
        return verdict.refusal(facts)
    exchange.granting = verdict.policies
    return None if verdict.granted else verdict.refusal(exchange.facts)


async def _refusal_of_update(exchange: Exchange, acl: Acl, path: str, *, sudo: bool) -> Refusal | None:
    """`create` where nothing is stored yet, `update` elsewhere; who has both or neither needs no look."""
    update = _ask(exchange, acl, path, "update", sudo=sudo)
    route = exchange.route
    if route is None or route.exists is None or Operation.CREATE in route.methods:  # settled already
        return update
    create = _ask(exchange, acl, path, "create", sudo=sudo)
    if (create is None) == (update is None):
        return update
    return update if await route.exists(exchange.request) else create


def check_served(exchange: Exchange) -> Method | None:
    """The method that serves the request; None for `?help=1`. Raises when there is none."""
    mounted, route, operation = exchange.mounted, exchange.route, exchange.request.operation
    if mounted is None:
        path = without_tokens(exchange.asked.path)
        if exchange.has_no_namespace:
            raise UnsupportedPathError("there is no such namespace")
        raise UnsupportedPathError(f'no handler for route "{path}". route entry not found.')
    mounted.check_usable()
    if not exchange.namespace.is_root:
        _check_in_namespace(exchange)
    if operation is Operation.HELP and (route is not None or not exchange.request.path):
        return None
    if route is None:
        raise UnsupportedPathError("unsupported path")
    method = route.methods.get(operation)
    if method is None:
        raise UnsupportedOperationError("unsupported operation")
    if exchange.asked.wrap_ttl:
        _check_wrappable(exchange, route)
    return method


def _check_wrappable(exchange: Exchange, route: Route) -> None:
    """Raise for an answer that anybody may ask for: strangers could fill the store with what is kept for weeks."""
    if route.unauthenticated and route.login_name is None and not is_about_wrapping(exchange.request):
        raise InvalidRequestError("this path is served without a token, and what it answers is not wrapped")


def _check_in_namespace(exchange: Exchange) -> None:
    """Raise when the namespace is being deleted, or the path is one of the whole appliance's.

    Leases stay within reach: a deletion waits for them, and an operator may have to force those that fail.
    """
    request = exchange.request
    first = request.path.partition("/")[0] if request.mount_path == "sys/" else ""
    if exchange.namespace.tainted and first != "leases":
        raise UnsupportedPathError("the namespace is being deleted")
    if first and first not in _IN_NAMESPACES:
        raise UnsupportedPathError("this path is served in the root namespace only")


class MountAccess:
    """Implements core.requests.Access: an access list, as it is below one mount."""

    __slots__ = ("_acl", "_namespace", "_prefix")

    def __init__(self, acl: Acl, prefix: str, *, namespace: str = "") -> None:
        self._acl = acl
        self._prefix = prefix  # with the namespace: "team-a/secret/"
        self._namespace = namespace  # its path: "team-a/"

    def allows(self, path: str, *capabilities: str) -> bool:
        """Whether one of them is granted there, without conditions."""
        return any(self._acl.allows(self._prefix + path, capability) for capability in capabilities)

    def allows_elsewhere(self, path: str, *capabilities: str) -> bool:
        """The same at another mount of the namespace."""
        return any(self._acl.allows(self._namespace + path, capability) for capability in capabilities)


def tell_access(exchange: Exchange) -> None:
    """What else the caller may do at the mount, for a handler that asks."""
    if exchange.acl is not None and exchange.mounted is not None:
        namespace = exchange.namespace.path
        exchange.request.access = MountAccess(exchange.acl, exchange.mounted.entry.full_path, namespace=namespace)


def tell_more(exchange: Exchange) -> None:
    """The appliance's own engines are told whose token it is and what it may do; others only get a Caller."""
    request, identity, acl = exchange.request, exchange.identity, exchange.acl
    if identity is None or acl is None:
        return
    exchange.request = AccessRequest(
        request_id=request.request_id,
        operation=request.operation,
        mount_path=request.mount_path,
        path=request.path,
        params=request.params,
        query=request.query,
        data=request.data,
        caller=request.caller,
        namespace=request.namespace,
        client_address=request.client_address,
        headers=request.headers,
        token=exchange.asked.token,
        entry=identity.token,
        acl=acl,
        subject=identity.subject,
        facts=exchange.facts,
        within=exchange.namespace,
    )
