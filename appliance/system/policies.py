"""`sys/policies/acl` and `sys/policy`: the same policies in Vault's newer and older form."""

import base64
import binascii
from datetime import datetime
from typing import Any

import msgspec

from appliance.access.policies import PolicyRecord, PolicyStore
from appliance.access.policy_versions import Author
from appliance.access.request import AccessRequest, as_access_request
from core.bodies import Duration
from core.clock import Clock, rfc3339
from core.engine import Handler, Method, Route
from core.errors import InvalidRequestError, NotFoundError, PermissionDeniedError
from core.requests import NO_CONTENT, Operation, Request, Response


class PolicyBody(msgspec.Struct):
    """The text, as HCL or JSON, plain or in base64; `rules` is what older clients call it.

    `cas` is the version that must be in force, 0 or -1: none. `expiration` is a time (RFC 3339, or epoch seconds).
    """

    policy: str = ""
    rules: str = ""
    cas: int | None = None
    cas_required: bool = False
    expiration: str | int = ""
    ttl: Duration = Duration()


class PolicyPatchBody(msgspec.Struct):
    """What to change; what is absent stays. An `expiration` of "" takes it away."""

    policy: str | None = None
    cas: int | None = None
    cas_required: bool | None = None
    expiration: str | int | None = None
    ttl: Duration | None = None


class PageBody(msgspec.Struct):
    """Which part of a list: the names behind `after`, `limit` of them (0 and less: all)."""

    after: str = ""
    limit: int = 0


class PolicyRoutes:
    """Reads and writes policies."""

    def __init__(self, policies: PolicyStore, clock: Clock) -> None:
        self._policies = policies
        self._clock = clock

    def routes(self) -> list[Route]:
        """Below sys/."""
        return [
            _collection("policies/acl", self.list_names),
            _collection("policies/detailed/acl", self.list_detailed),
            self._single("policies/acl/{name}", self.read, patch=True),
            _collection("policy", self.list_both),
            self._single("policy/{name}", self.read_rules),
        ]

    def _single(self, pattern: str, read: Handler, *, patch: bool = False) -> Route:
        methods = {
            Operation.READ: Method(handler=read, mutates=False, summary="The text, byte for byte."),
            Operation.UPDATE: Method(handler=self.write, body=PolicyBody, summary="Write the policy."),
            Operation.DELETE: Method(handler=self.delete, summary="Delete the policy; its versions are kept."),
        }
        if patch:
            methods[Operation.PATCH] = Method(handler=self.change, body=PolicyPatchBody, summary="Change parts of it.")
            methods[Operation.LIST] = Method(
                handler=self.list_below, body=PageBody, mutates=False, summary="The names that begin with it."
            )
        return Route(pattern=pattern, methods=methods, help="One access policy.")

    # --- looking --------------------------------------------------------------------------------------------------

    async def _names(self, request: Request, page: PageBody, *, prefix: str = "") -> list[str]:
        names = await self._policies.names(
            namespace=as_access_request(request).within.id, prefix=prefix, after=page.after, limit=page.limit
        )
        if not names:
            raise NotFoundError("")
        return names

    async def list_names(self, request: Request, body: PageBody) -> Response:
        """The names."""
        return Response(data={"keys": await self._names(request, body)})

    async def list_below(self, request: Request, body: PageBody) -> Response:
        """The names that begin with what the path ends in."""
        return Response(data={"keys": await self._names(request, body, prefix=request.params["name"].strip().lower())})

    async def list_both(self, request: Request, body: PageBody) -> Response:
        """The names, under both of the members that clients look for."""
        names = await self._names(request, body)
        return Response(data={"keys": names, "policies": names}, repeat_data=True)

    async def list_detailed(self, request: Request, body: PageBody) -> Response:
        """The names, with what is known of each; the texts of those alone that the caller may read."""
        access = as_access_request(request)
        details: dict[str, Any] = {}
        for name in await self._names(request, body):
            record = await self._policies.record(name, namespace=access.within.id)
            if record is not None and is_allowed(access, f"sys/policies/acl/{name}", "read"):
                details[name] = self._view(record, text="policy")
        return Response(data={"keys": list(details), "key_info": details})

    async def read(self, request: Request, _body: object) -> Response:
        """The text, as the newer form names it."""
        return Response(data=self._view(await self._find(request), text="policy"))

    async def read_rules(self, request: Request, _body: object) -> Response:
        """The text, as the older form names it."""
        return Response(data=self._view(await self._find(request), text="rules"), repeat_data=True)

    async def _find(self, request: Request) -> PolicyRecord:
        name = stored_name(request)
        record = await self._policies.record(name, namespace=as_access_request(request).within.id)
        if record is None:
            raise NotFoundError("")
        return record

    def _view(self, record: PolicyRecord, *, text: str) -> dict[str, Any]:
        policy = record.policy
        data: dict[str, Any] = {
            "name": policy.name,
            text: policy.text,
            "version": policy.version,
            "modified": rfc3339(record.modified_at) if record.modified_at else None,
            "cas_required": record.cas_required,
        }
        if policy.expires_at is not None:
            data["expiration"] = rfc3339(policy.expires_at)
            data["expired"] = policy.expires_at <= self._clock.now()
        return data

    # --- changing -------------------------------------------------------------------------------------------------

    async def write(self, request: Request, body: PolicyBody) -> Response:
        """Store the text; it is in force on every worker when this returns."""
        text = body.policy or body.rules
        if not text:
            raise InvalidRequestError("'policy' parameter not supplied or empty")
        access = as_access_request(request)
        await self._policies.put(
            stored_name(request),
            plain_text(text),
            namespace=access.within.id,
            author=author_of(access),
            cas=body.cas,
            cas_required=body.cas_required,
            expires_at=self._expiry(body.expiration, body.ttl),
        )
        return NO_CONTENT

    async def change(self, request: Request, body: PolicyPatchBody) -> Response:
        """Store the present text or another with what else changes. Who writes meanwhile makes this one fail."""
        record, access = await self._find(request), as_access_request(request)
        expires_at = record.policy.expires_at
        if body.expiration is not None or body.ttl is not None:
            expires_at = self._expiry(body.expiration or "", body.ttl or 0)
        if body.cas is None and record.cas_required:
            raise InvalidRequestError("check-and-set parameter required for this call")
        await self._policies.put(
            record.policy.name,
            plain_text(body.policy) if body.policy is not None else record.policy.text,
            namespace=access.within.id,
            author=author_of(access),
            cas=record.policy.version if body.cas is None else body.cas,
            cas_required=record.cas_required if body.cas_required is None else body.cas_required,
            expires_at=expires_at,
        )
        return NO_CONTENT

    def _expiry(self, expiration: str | int, ttl: int) -> float | None:
        """Epoch seconds; None: never."""
        if expiration and ttl:
            raise InvalidRequestError("give expiration or ttl, not both")
        return _within_range(self._clock.now() + ttl, "ttl") if ttl else parse_time(expiration, field="expiration")

    async def delete(self, request: Request, _body: object) -> Response:
        """Absent is as good."""
        access = as_access_request(request)
        await self._policies.delete(stored_name(request), namespace=access.within.id, author=author_of(access))
        return NO_CONTENT


def _collection(pattern: str, handler: Handler) -> Route:
    method = Method(handler=handler, body=PageBody, mutates=False, summary="The names of all policies.")
    return Route(pattern=pattern, methods={Operation.READ: method, Operation.LIST: method}, help="All policies.")


def author_of(access: AccessRequest) -> Author:
    """The caller, as the history of a policy names it."""
    entry = access.entry
    return Author(display_name=entry.display_name, accessor=entry.accessor, entity_id=entry.entity_id)


def stored_name(request: Request) -> str:
    """The name as it is stored. Who asks by another spelling ("Admin") must be allowed to by this one, too."""
    given = request.params["name"]
    name = given.strip().lower()
    if name != given:
        segments = (request.mount_path + request.path).rstrip("/").split("/")
        segments[segments.index(given)] = name  # no literal segment of these routes has blanks or capitals
        check_allowed(as_access_request(request), "/".join(segments), request.operation.value)
    return name


def is_allowed(access: AccessRequest, path: str, capability: str) -> bool:
    """Whether the caller may do so at a path of the request's namespace."""
    return access.acl.allows(access.within.path + path, capability, facts=access.facts)


def check_allowed(access: AccessRequest, path: str, capability: str) -> None:
    """As `is_allowed`. Raises PermissionDeniedError."""
    if not is_allowed(access, path, capability):
        raise PermissionDeniedError("permission denied")


def plain_text(text: str) -> str:
    """Some clients send base64. No policy in HCL or JSON is: both need braces."""
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        return text


def parse_time(value: str | int, *, field: str) -> float | None:
    """Epoch seconds from a number, or from RFC 3339 with its offset; None from nothing."""
    if isinstance(value, int) or value.isdecimal():
        return _within_range(value if isinstance(value, int) else float(value), field) or None
    if not value:
        return None
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        parsed = None
    if parsed is None or parsed.tzinfo is None:
        raise InvalidRequestError(f'{field} must be a time like "2026-11-22T13:00:00Z", with its offset from UTC')
    return _within_range(parsed.timestamp(), field)


def _within_range(seconds: float, field: str) -> float:
    if not 0 <= seconds < 253402300800:  # the year 10000, which RFC 3339 cannot write
        raise InvalidRequestError(f"{field} is too far away")
    return float(seconds)
