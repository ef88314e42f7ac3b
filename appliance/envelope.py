"""What an engine answered, as Vault writes it on the wire."""

from typing import Any

import msgspec

from appliance.pipeline.exchange import StreamResponse
from appliance.wire import WireReply
from core.requests import NO_CONTENT, AuthGrant, PreparedData, Response, WrapInfo

_encode = msgspec.json.Encoder(decimal_format="number").encode
_EMPTY = WireReply(204)


def reply(response: Response, *, request_id: str, mount_type: str) -> WireReply:
    """The HTTP response: 204 when there is nothing to say, the raw body as it is, everything else in the envelope."""
    if response is NO_CONTENT:
        return _EMPTY
    if response.raw is not None:
        raw = response.raw
        headers = tuple(raw.headers.items()) if raw.headers else ()
        return WireReply(response.status or 200, raw.body, raw.content_type, headers)
    if response.wrap is not None:
        return WireReply(200, _full(response, request_id=request_id, mount_type=mount_type))
    if response.auth is None and response.lease is None and not response.warnings and not response.repeat_data:
        if response.data is None:
            return _without_data(response)
        return WireReply(response.status or 200, _plain(response, request_id=request_id, mount_type=mount_type))
    return WireReply(response.status or 200, _full(response, request_id=request_id, mount_type=mount_type))


def _without_data(response: Response) -> WireReply:
    if isinstance(response, StreamResponse):
        return WireReply(200, headers=response.headers, stream=response.stream)
    return WireReply(response.status or 204)


def _plain(response: Response, *, request_id: str, mount_type: str) -> bytes:
    """The common shape, around `data`: request ids and mount types hold nothing that JSON escapes."""
    data = response.data
    return b'{"request_id":"%b","lease_id":"","renewable":false,"lease_duration":%d,"data":%b,%b"%b"}\n' % (
        request_id.encode(),
        response.keep_for,
        data.encoded if type(data) is PreparedData else _encode(data),
        b'"wrap_info":null,"warnings":null,"auth":null,"mount_type":',
        mount_type.encode(),
    )


def _full(response: Response, *, request_id: str, mount_type: str) -> bytes:
    repeated = response.data if response.repeat_data and response.data else {}
    lease = response.lease
    envelope = {
        **repeated,
        "request_id": request_id,
        "lease_id": lease.lease_id if lease else "",
        "renewable": lease.renewable if lease else False,
        "lease_duration": lease.ttl if lease else response.keep_for,
        "data": response.data,
        "wrap_info": wrap_block(response.wrap) if response.wrap else None,
        "warnings": response.warnings or None,
        "auth": auth_block(response.auth) if response.auth else None,
        "mount_type": mount_type,
    }
    return _encode(envelope) + b"\n"


def wrap_block(wrap: WrapInfo) -> dict[str, Any]:
    """Vault's `wrap_info` member; `wrapped_accessor` is there only for a wrapped login."""
    block = msgspec.structs.asdict(wrap)
    if not wrap.wrapped_accessor:
        del block["wrapped_accessor"]
    return block


def auth_block(grant: AuthGrant) -> dict[str, Any]:
    """Vault's `auth` member."""
    return {
        "client_token": grant.client_token,
        "accessor": grant.accessor,
        "policies": sorted(grant.policies),
        "token_policies": sorted(grant.token_policies),
        "identity_policies": sorted(grant.identity_policies) or None,
        "metadata": grant.metadata,
        "lease_duration": grant.lease_duration,
        "renewable": grant.renewable,
        "entity_id": grant.entity_id,
        "token_type": grant.token_type,
        "orphan": grant.orphan,
        "mfa_requirement": None,
        "num_uses": grant.num_uses,
    }
