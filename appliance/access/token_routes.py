"""`auth/token/`: Vault's endpoints for tokens."""

from collections.abc import Sequence
from typing import Any

import msgspec

from appliance.access.child_tokens import CreateBody, child_spec
from appliance.access.policies import PolicyStore
from appliance.access.request import AccessRequest, as_access_request
from appliance.access.tokens import TokenEntry, TokenStore
from core.bodies import Duration
from core.clock import Clock, rfc3339
from core.durations import format_duration
from core.engine import Engine, Method, Route
from core.errors import InvalidRequestError, PermissionDeniedError
from core.requests import NO_CONTENT, AuthGrant, Operation, Request, Response


class TokenBody(msgspec.Struct):
    """Names a token by itself."""

    token: str = ""


class AccessorBody(msgspec.Struct):
    """Names a token by its accessor."""

    accessor: str = ""


class RenewBody(TokenBody):
    """`increment`: seconds wanted from now on; 0 for what the token was created with."""

    increment: Duration = Duration()


class RenewAccessorBody(AccessorBody):
    """As RenewBody."""

    increment: Duration = Duration()


def token_engine(clock: Clock, tokens: TokenStore, policies: PolicyStore) -> Engine:
    """The engine mounted at auth/token/. Its handlers take an AccessRequest."""
    return _TokenEngine(clock, tokens, policies)


class _TokenEngine:
    def __init__(self, clock: Clock, tokens: TokenStore, policies: PolicyStore) -> None:
        self._clock = clock
        self._tokens = tokens
        self._policies = policies
        self.routes: Sequence[Route] = self._routes()

    async def close(self) -> None:
        """Nothing is held here."""

    def _routes(self) -> list[Route]:
        update, read = Operation.UPDATE, Operation.READ
        look, look_self = self._look, self._look_self
        return [
            Route(pattern="create", methods={update: Method(handler=self._create, body=CreateBody)}),
            Route(pattern="create-orphan", methods={update: Method(handler=self._create_orphan, body=CreateBody)}),
            Route(
                pattern="lookup",
                methods={
                    update: Method(handler=look, body=TokenBody, mutates=False),
                    read: Method(handler=look_self, mutates=False),
                },
            ),
            Route(
                pattern="lookup-self",
                methods={
                    update: Method(handler=look_self, mutates=False),
                    read: Method(handler=look_self, mutates=False),
                },
            ),
            Route(
                pattern="lookup-accessor",
                methods={update: Method(handler=self._look_accessor, body=AccessorBody, mutates=False)},
            ),
            Route(pattern="renew", methods={update: Method(handler=self._renew, body=RenewBody)}),
            Route(pattern="renew-self", methods={update: Method(handler=self._renew_self, body=RenewBody)}),
            Route(
                pattern="renew-accessor",
                methods={update: Method(handler=self._renew_accessor, body=RenewAccessorBody)},
            ),
            Route(pattern="revoke", methods={update: Method(handler=self._revoke, body=TokenBody)}),
            Route(pattern="revoke-self", methods={update: Method(handler=self._revoke_self)}),
            Route(
                pattern="revoke-accessor", methods={update: Method(handler=self._revoke_accessor, body=AccessorBody)}
            ),
            Route(
                pattern="revoke-orphan",
                methods={update: Method(handler=self._revoke_orphan, body=TokenBody)},
                sudo=True,
            ),
            Route(
                pattern="accessors",
                methods={Operation.LIST: Method(handler=self._accessors, mutates=False)},
                sudo=True,
            ),
        ]

    # --- create ---------------------------------------------------------------------------------------------------

    async def _create(self, request: Request, body: CreateBody) -> Response:
        return await self._create_common(as_access_request(request), body, orphan=body.no_parent)

    async def _create_orphan(self, request: Request, body: CreateBody) -> Response:
        return await self._create_common(as_access_request(request), body, orphan=True)

    async def _create_common(self, request: AccessRequest, body: CreateBody, *, orphan: bool) -> Response:
        path = (request.mount_path + request.path).rstrip("/")
        is_sudo = request.acl.allows(path, "sudo")
        spec = child_spec(body, request.entry, path=path, is_sudo=is_sudo, orphan=orphan)
        token, entry = await self._tokens.create(spec, parent=request.entry, orphan=orphan)
        warnings = [
            f'Policy "{name}" does not exist' for name in entry.policies if await self._policies.get(name) is None
        ]
        return self._granted(token, entry, wanted=spec.ttl or spec.period, warnings=warnings)

    # --- look up --------------------------------------------------------------------------------------------------

    async def _look(self, request: Request, body: TokenBody) -> Response:
        if not body.token:
            return await self._look_self(request, None)
        entry = await self._tokens.find(body.token)
        if entry is None:
            raise PermissionDeniedError("bad token")
        return Response(data=self._described(entry, token=body.token))

    async def _look_self(self, request: Request, _body: Any) -> Response:
        asked = as_access_request(request)
        entry = asked.entry  # as it was admitted: after a last use the store has it no more
        if entry.num_uses:
            entry = msgspec.structs.replace(entry, num_uses=entry.num_uses - 1)
        return Response(data=self._described(entry, token=asked.token))

    async def _look_accessor(self, _request: Request, body: AccessorBody) -> Response:
        return Response(data=self._described(await self._by_accessor(body.accessor), token=""))

    def _described(self, entry: TokenEntry, *, token: str) -> dict[str, Any]:
        """A token's properties. Its parent is not among them."""
        expires_at = entry.expires_at
        data: dict[str, Any] = {
            "id": token,
            "accessor": entry.accessor,
            "policies": list(entry.policies),
            "path": entry.path,
            "meta": entry.metadata,
            "display_name": entry.display_name,
            "num_uses": entry.num_uses,
            "orphan": entry.orphan,
            "creation_time": entry.issue_time,
            "creation_ttl": entry.ttl,
            "ttl": self._ttl_left(entry),
            "explicit_max_ttl": entry.explicit_max_ttl,
            "expire_time": None if expires_at is None else rfc3339(expires_at),
            "issue_time": rfc3339(entry.issue_time),
            "renewable": entry.renewable,
            "entity_id": entry.entity_id,
            "type": entry.type,
        }
        if entry.period:
            data["period"] = entry.period
        if entry.last_renewal:
            data |= {"last_renewal": rfc3339(entry.last_renewal), "last_renewal_time": entry.last_renewal}
        return data

    # --- renew ----------------------------------------------------------------------------------------------------

    async def _renew(self, _request: Request, body: RenewBody) -> Response:
        if not body.token:
            raise InvalidRequestError("missing token ID")
        entry = await self._tokens.find(body.token)
        if entry is None:
            raise InvalidRequestError("token not found")
        return await self._renewed(entry, token=body.token, increment=body.increment)

    async def _renew_self(self, request: Request, body: RenewBody) -> Response:
        asked = as_access_request(request)
        return await self._renewed(asked.entry, token=asked.token, increment=body.increment)

    async def _renew_accessor(self, _request: Request, body: RenewAccessorBody) -> Response:
        entry = await self._by_accessor(body.accessor)
        return await self._renewed(entry, token="", increment=body.increment)

    async def _renewed(self, entry: TokenEntry, *, token: str, increment: int) -> Response:
        renewed = await self._tokens.renew(entry.record_id, increment=increment)
        return self._granted(token, renewed, wanted=0 if entry.period else increment, warnings=[])

    # --- revoke ---------------------------------------------------------------------------------------------------

    async def _revoke(self, _request: Request, body: TokenBody) -> Response:
        if not body.token:
            raise InvalidRequestError("missing token ID")
        if entry := await self._tokens.find(body.token):
            await self._tokens.revoke(entry.record_id)
        return NO_CONTENT

    async def _revoke_self(self, request: Request, _body: Any) -> Response:
        await self._tokens.revoke(as_access_request(request).entry.record_id)
        return NO_CONTENT

    async def _revoke_accessor(self, _request: Request, body: AccessorBody) -> Response:
        await self._tokens.revoke((await self._by_accessor(body.accessor)).record_id)
        return NO_CONTENT

    async def _revoke_orphan(self, _request: Request, body: TokenBody) -> Response:
        if not body.token:
            raise InvalidRequestError("missing token ID")
        entry = await self._tokens.find(body.token)
        if entry is None:
            raise InvalidRequestError("token to revoke not found")
        await self._tokens.revoke_orphan(entry.record_id)
        return NO_CONTENT

    async def _accessors(self, _request: Request, _body: Any) -> Response:
        return Response(data={"keys": await self._tokens.accessors()})

    # --------------------------------------------------------------------------------------------------------------

    async def _by_accessor(self, accessor: str) -> TokenEntry:
        if not accessor:
            raise InvalidRequestError("missing accessor")
        entry = await self._tokens.find_accessor(accessor)
        if entry is None:
            raise InvalidRequestError("invalid accessor")
        return entry

    def _ttl_left(self, entry: TokenEntry) -> int:
        return 0 if entry.expires_at is None else max(0, entry.expires_at - int(self._clock.now()))

    def _granted(self, token: str, entry: TokenEntry, *, wanted: int, warnings: list[str]) -> Response:
        ttl = self._ttl_left(entry)
        if wanted > ttl:
            warnings.append(
                f"TTL of {format_duration(wanted)} was more than is left to this token; it has {format_duration(ttl)}"
            )
        grant = AuthGrant(
            client_token=token,
            accessor=entry.accessor,
            policies=list(entry.policies),
            token_policies=list(entry.policies),
            metadata=entry.metadata,
            lease_duration=ttl,
            renewable=entry.renewable,
            entity_id=entry.entity_id,
            token_type=entry.type,
            orphan=entry.orphan,
            num_uses=entry.num_uses,
        )
        return Response(auth=grant, warnings=warnings or None)
