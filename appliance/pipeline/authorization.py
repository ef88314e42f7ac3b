"""Which route a request means, and whether its token may use it."""

import re

from appliance.access.acl import Acl
from appliance.access.policies import PolicyStore
from appliance.access.request import AccessRequest
from appliance.access.token_hash import without_tokens
from appliance.pipeline.exchange import Exchange
from core.engine import Method
from core.errors import PermissionDeniedError, UnsupportedOperationError, UnsupportedPathError
from core.requests import Operation

_SLASHES = re.compile("//+")


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
    names = identity.token.policies
    acl = policies.peek_acl(names)
    if acl is None:
        acl = await policies.acl(names)
    exchange.acl = acl
    if acl.is_root or exchange.request.operation is Operation.HELP:
        return
    if not await _is_granted(exchange, acl, sudo=route is not None and route.sudo):
        raise PermissionDeniedError("permission denied")


async def _settle_write(exchange: Exchange) -> None:
    """An UPDATE of what is absent becomes CREATE where the route serves that by itself (transit's encrypt)."""
    request, route = exchange.request, exchange.route
    if request.operation is not Operation.UPDATE or route is None or route.exists is None:
        return
    if Operation.CREATE in route.methods and not await route.exists(request):
        request.operation = Operation.CREATE


async def _is_granted(exchange: Exchange, acl: Acl, *, sudo: bool) -> bool:
    """Routes read a path with a slash too many as the one without: then both spellings must be granted."""
    path = exchange.asked.path
    if not await _is_granted_at(exchange, acl, path, sudo=sudo):
        return False
    plain = plain_path(path)
    return plain == path or await _is_granted_at(exchange, acl, plain, sudo=sudo)


async def _is_granted_at(exchange: Exchange, acl: Acl, path: str, *, sudo: bool) -> bool:
    operation = exchange.request.operation
    if operation is Operation.UPDATE:
        return await _may_update(exchange, acl, path, sudo=sudo)
    return acl.allows(path, operation.word, sudo=sudo)


def plain_path(path: str) -> str:
    """Without slashes at the end, and with one where there are several: "sys/mounts//kv/" is "sys/mounts/kv"."""
    if "//" in path:
        path = _SLASHES.sub("/", path)
    return path.rstrip("/")


async def _may_update(exchange: Exchange, acl: Acl, path: str, *, sudo: bool) -> bool:
    """`create` where nothing is stored yet, `update` elsewhere; who has both or neither needs no look."""
    update = acl.allows(path, "update", sudo=sudo)
    route = exchange.route
    if route is None or route.exists is None or Operation.CREATE in route.methods:  # settled already
        return update
    if acl.allows(path, "create", sudo=sudo) == update:
        return update
    return await route.exists(exchange.request) == update


def check_served(exchange: Exchange) -> Method | None:
    """The method that serves the request; None for `?help=1`. Raises when there is none."""
    mounted, route, operation = exchange.mounted, exchange.route, exchange.request.operation
    if mounted is None:
        raise UnsupportedPathError(
            f'no handler for route "{without_tokens(exchange.asked.path)}". route entry not found.'
        )
    mounted.check_usable()
    if operation is Operation.HELP and (route is not None or not exchange.request.path):
        return None
    if route is None:
        raise UnsupportedPathError("unsupported path")
    method = route.methods.get(operation)
    if method is None:
        raise UnsupportedOperationError("unsupported operation")
    return method


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
        client_address=request.client_address,
        headers=request.headers,
        token=exchange.asked.token,
        entry=identity.token,
        acl=acl,
    )
