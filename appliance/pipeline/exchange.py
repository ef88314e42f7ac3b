"""One request while it is being served: what is known of it so far."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from appliance.access.acl import Acl
from appliance.access.subject import Facts
from appliance.access.token_hash import without_tokens
from appliance.access.verdicts import Refusal
from appliance.namespaces import ROOT, Namespace
from appliance.pipeline.identity import Identity
from appliance.pipeline.mounted import Mounted
from appliance.pipeline.parsing import Asked
from appliance.pipeline.veiled_headers import VeiledHeaders
from appliance.wire import MessageStream, WireRequest
from audit.records import AuditAuth, AuditRequest, AuditResponse
from core.engine import Route
from core.requests import AuthGrant, Request, Response

_ADDRESSES = 64  # clients whose records of one admitted request are kept


class Exchange(msgspec.Struct):
    """Filled from step to step; each step names what it needs."""

    wire: WireRequest
    asked: Asked
    mounted: Mounted | None
    request: Request
    namespace: Namespace = ROOT
    route: Route | None = None
    identity: Identity | None = None
    acl: Acl | None = None
    granting: tuple[str, ...] = ()  # the policies that allow it
    refusal: Refusal | None = None  # why the policies do not allow it
    is_conditional: bool = False  # whether more than token, operation and path decided
    has_no_namespace: bool = False  # the one that the header names does not exist
    now: float = 0.0  # epoch seconds
    records: dict[str, AuditRequest] | None = None  # by client address: those of the same request before this one
    audit: AuditRequest | None = None
    who: AuditAuth | None = None
    is_recorded: bool = False  # the response, too

    @property
    def facts(self) -> Facts:
        """What the conditions of policies look at."""
        return Facts(
            now=self.now,
            address=self.wire.client_address,
            headers=self.wire.headers,
            data=self.request.data,
            wrap_ttl=self.asked.wrap_ttl,
        )

    @property
    def shown_path(self) -> str:
        """The path within its namespace, without tokens; a header that names no namespace is not repeated."""
        path = self.asked.url_path if self.has_no_namespace else self.asked.path[len(self.namespace.path) :]
        return without_tokens(path)

    @property
    def mount_type(self) -> str:
        """The type of the engine that serves it."""
        return self.mounted.entry.type if self.mounted else ""


class LastResponse(Response, kw_only=True):
    """An answer whose deed comes after its audit record: sealing takes the audit trail away.

    Engines do not make these; the sys engine does, for `sys/seal`.
    """

    afterwards: Callable[[], Awaitable[None]]


class StreamResponse(Response, kw_only=True):
    """An answer that goes on after both records of its request are written; of the sys engine, too."""

    stream: MessageStream
    headers: tuple[tuple[str, str], ...] = ()


def audit_request(exchange: Exchange) -> AuditRequest:
    """The request as the audit devices get it."""
    request, records = exchange.request, exchange.records
    before = records.get(request.client_address) if records is not None else None
    if before is not None:
        return before.again(request.request_id, request.data or None)
    made = _audit_request(exchange)
    if records is not None and len(records) < _ADDRESSES:
        records[request.client_address] = made.again("", None)
    return made


def _audit_request(exchange: Exchange) -> AuditRequest:
    request, mounted, identity = exchange.request, exchange.mounted, exchange.identity
    entry = mounted.entry if mounted else None
    return AuditRequest(
        request_id=request.request_id,
        operation=request.operation.word,
        path=exchange.shown_path,
        namespace=exchange.namespace.path,
        namespace_id=exchange.namespace.id,
        mount_point=entry.full_path if entry else "",
        mount_type=entry.type if entry else "",
        mount_accessor=entry.accessor if entry else "",
        client_token=exchange.asked.token,
        client_token_accessor=identity.token.accessor if identity else "",
        data=request.data or None,
        remote_address=request.client_address,
        wrap_ttl=exchange.asked.wrap_ttl,
        clear=entry.audit_non_hmac_request_keys if entry else (),
    )


def split_request(
    wire: WireRequest,
    asked: Asked,
    mounted: Mounted | None,
    *,
    request_id: str,
    data: dict[str, Any],
    namespace: Namespace = ROOT,
) -> Request:
    """The request as the engine at `mounted` sees it."""
    mount_path = mounted.entry.path if mounted else ""
    return Request(
        request_id=request_id,
        operation=asked.operation,
        mount_path=mount_path,
        path=asked.path[len(namespace.path) + len(mount_path) :],
        query=asked.query,
        data=data,
        namespace=namespace.path,
        client_address=wire.client_address,
        headers=VeiledHeaders(wire.headers) if mounted and not mounted.is_built_in else wire.headers,
        body=wire.body,
    )


def audit_response(exchange: Exchange, response: Response) -> AuditResponse:
    """The answer as the audit devices get it."""
    entry = exchange.mounted.entry if exchange.mounted else None
    return AuditResponse(
        mount_point=entry.full_path if entry else "",
        mount_type=entry.type if entry else "",
        mount_accessor=entry.accessor if entry else "",
        data=response.data,
        auth=_granted(response.auth) if response.auth else None,
        lease_id=response.lease.lease_id if response.lease else "",
        warnings=response.warnings,
        wrap_info=msgspec.structs.asdict(response.wrap) if response.wrap else None,
        clear=entry.audit_non_hmac_response_keys if entry else (),
    )


def _granted(grant: AuthGrant) -> AuditAuth:
    return AuditAuth(
        client_token=grant.client_token,
        accessor=grant.accessor,
        policies=grant.policies,
        token_policies=grant.token_policies,
        identity_policies=grant.identity_policies,
        metadata=grant.metadata,
        entity_id=grant.entity_id,
        token_type=grant.token_type,
        token_ttl=grant.lease_duration,
        num_uses=grant.num_uses,
    )
