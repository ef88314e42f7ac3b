"""Audit records as Vault writes them: one JSON object a line, members in Vault's order, empty ones left out."""

import itertools
import json
from collections.abc import Sequence
from typing import Any

import msgspec

from audit.hashing import Hasher
from audit.records import AuditAuth, AuditRequest, AuditResponse
from core.clock import rfc3339
from core.requests import PreparedData

_encode = msgspec.json.Encoder(enc_hook=str).encode


class _Line(msgspec.Struct, omit_defaults=True):
    """A member that holds its default is not written."""


class _Policy(_Line):
    name: str = ""
    namespace_id: str = ""
    type: str = ""


class _PolicyResults(_Line):
    allowed: bool
    granting_policies: list[_Policy] = []


class _Auth(_Line):
    client_token: str = ""
    accessor: str = ""
    display_name: str = ""
    policies: list[str] | tuple[str, ...] = ()
    token_policies: list[str] | tuple[str, ...] = ()
    identity_policies: list[str] | tuple[str, ...] = ()
    policy_results: _PolicyResults | None = None
    metadata: dict[str, str] | None = None
    num_uses: int = 0
    remaining_uses: int = 0
    entity_id: str = ""
    token_type: str = ""
    token_ttl: int = 0
    token_issue_time: str = ""


class _Namespace(_Line):
    id: str
    path: str = ""


class _RequestHead(_Line):
    """What stands between `id` and `path`: the same for all requests of one caller to one mount."""

    client_id: str = ""
    operation: str = ""
    mount_point: str = ""
    mount_type: str = ""
    mount_accessor: str = ""
    client_token: str = ""
    client_token_accessor: str = ""
    namespace: _Namespace | None = None


class _RequestTail(_Line):
    """What stands behind `data`."""

    remote_address: str = ""
    remote_port: int = 0
    wrap_ttl: int = 0
    headers: dict[str, list[str]] | None = None


class _LeasedSecret(_Line):
    lease_id: str


class _Response(_Line):
    auth: _Auth | None = None
    mount_point: str = ""
    mount_type: str = ""
    mount_accessor: str = ""
    secret: _LeasedSecret | None = None
    data: Any = None
    warnings: list[str] | None = None
    wrap_info: dict[str, Any] | None = None


_ROOT_NAMESPACE = _Namespace(id="root")
_KNOWN = 2048  # callers whose constant parts are remembered: about 2 MB
_serial = itertools.count(1)


class LineFormat:
    """How one device writes: under its key, with its options."""

    def __init__(self, hasher: Hasher, *, hmac_accessor: bool) -> None:
        self._hash = hasher
        self._accessor = hasher.recurring if hmac_accessor else str
        self._serial = next(_serial)  # unlike id(), never given twice: what is kept in a record is ours
        self._second = -1
        self._stamp = b""
        self._parts: dict[tuple[str, ...], tuple[bytes, bytes]] = {}
        self._mounts: dict[tuple[str, ...], bytes] = {}

    def request(self, now: float, request: AuditRequest, auth: AuditAuth | None, error: str) -> bytes:
        """The line of a request, without its end: the chain closes the object."""
        second = int(now)
        if second != self._second:
            self._begin_second(second)
        return b'%b%06d000Z","type":"request",%b%b' % (
            self._stamp,
            (now - second) * 1e6,
            self._shared(request, auth),
            _error(error) if error else b"",
        )

    def response(
        self, now: float, request: AuditRequest, auth: AuditAuth | None, response: AuditResponse | None, error: str
    ) -> bytes:
        """The line of a response, which repeats what was asked; without its end."""
        second = int(now)
        if second != self._second:
            self._begin_second(second)
        return b'%b%06d000Z","type":"response",%b,"response":%b%b' % (
            self._stamp,
            (now - second) * 1e6,
            self._shared(request, auth),
            self._response(response) if response is not None else b"{}",
            _error(error) if error else b"",
        )

    def _begin_second(self, second: int) -> None:
        """The beginning of every line of this second."""
        self._second, self._stamp = second, b'{"time":"%b.' % rfc3339(second)[:19].encode()

    def _shared(self, request: AuditRequest, auth: AuditAuth | None) -> bytes:
        """The auth and request members. A response repeats those of its request, so they are kept.

        The id is ours and needs no escapes.
        """
        kept = request.formatted.get(self._serial)
        if kept is not None and kept[0] is auth:
            return kept[1]
        head, tail = self._around_data(request)
        made = b'"auth":%b,"request":{"id":"%b"%b%b%b%b}' % (
            self._auth_once(auth),
            request.request_id.encode(),
            head,
            b',"data":' if request.data else b"",
            _json(self._data(request.data, request.clear)) if request.data else b"",
            tail,
        )
        request.formatted[self._serial] = (auth, made)
        return made

    def _auth_once(self, auth: AuditAuth | None) -> bytes:
        if auth is None:
            return b"{}"
        found = auth.formatted.get(self._serial)
        if found is None:
            found = auth.formatted[self._serial] = _json(self._auth(auth))
        return found

    def _auth(self, auth: AuditAuth) -> _Auth:
        results = None
        if auth.allowed is not None:
            granting = [_Policy(name, "root", "acl") for name in auth.granting_policies]
            results = _PolicyResults(auth.allowed, granting)
        return _Auth(
            client_token=self._hash.recurring(auth.client_token),
            accessor=self._accessor(auth.accessor),
            display_name=auth.display_name,
            policies=auth.policies,
            token_policies=auth.token_policies,
            identity_policies=auth.identity_policies,
            policy_results=results,
            metadata=auth.metadata,
            num_uses=auth.num_uses,
            remaining_uses=auth.remaining_uses,
            entity_id=auth.entity_id,
            token_type=auth.token_type,
            token_ttl=auth.token_ttl,
            token_issue_time=auth.token_issue_time,
        )

    def _data(self, data: dict[str, Any], clear: Sequence[str]) -> Any:
        """Hashed, but for the members that the mount wants in clear."""
        if not clear:
            return self._hash.members(data)
        return {name: value if name in clear else self._hash.data(value) for name, value in data.items()}

    def _around_data(self, request: AuditRequest) -> tuple[bytes, bytes]:
        """The members before and after `data`, remembered for what comes again and again."""
        if request.headers or request.secret_headers or request.wrap_ttl or request.client_id:
            head, tail = self._encode_but_path(request)
            return _with_path(head, request.path), tail
        around = request.around
        if around is None:
            return self._around_known(request)
        known = around.get(self._serial)
        if known is None:
            known = around[self._serial] = self._around_known(request)
        return known

    def _around_known(self, request: AuditRequest) -> tuple[bytes, bytes]:
        """As `_around_data`, of a caller who is known at the mount, as a rule."""
        key = (
            request.client_token,
            request.operation,
            request.mount_accessor,
            request.mount_point,
            request.namespace,
            request.remote_address,
            str(request.remote_port) if request.remote_port else "",
            request.client_token_accessor,
        )
        known = self._parts.get(key)
        if known is None:
            if len(self._parts) >= _KNOWN:
                self._parts.clear()
            known = self._parts[key] = self._encode_but_path(request)
        return _with_path(known[0], request.path), known[1]

    def _encode_but_path(self, request: AuditRequest) -> tuple[bytes, bytes]:
        """The path comes last of the members before `data`: all before it is the same for one caller at a mount."""
        namespace = request.namespace
        head = _RequestHead(
            request.client_id,
            request.operation,
            request.mount_point,
            request.mount_type,
            request.mount_accessor,
            self._hash.recurring(request.client_token),
            self._accessor(request.client_token_accessor),
            _Namespace(request.namespace_id, namespace) if namespace else _ROOT_NAMESPACE,
        )
        headers = self._headers(request)
        tail = _RequestTail(request.remote_address, request.remote_port, request.wrap_ttl, headers)
        return _members(head), _members(tail)

    def _headers(self, request: AuditRequest) -> dict[str, list[str]] | None:
        if not request.secret_headers:
            return request.headers
        hashed = {
            name: [self._hash.recurring(value) for value in values] for name, values in request.secret_headers.items()
        }
        return {**(request.headers or {}), **hashed}

    def _response(self, response: AuditResponse) -> bytes:
        if response.auth is None and not (response.lease_id or response.warnings or response.wrap_info):
            return self._plain_response(response)
        return _json(
            _Response(
                self._auth(response.auth) if response.auth is not None else None,
                response.mount_point,
                response.mount_type,
                response.mount_accessor,
                _LeasedSecret(response.lease_id) if response.lease_id else None,
                self._data(response.data, response.clear) if response.data else None,
                response.warnings,
                self._wrap_info(response.wrap_info) if response.wrap_info else None,
            )
        )

    def _plain_response(self, response: AuditResponse) -> bytes:
        """Mount and data: what nearly every response is."""
        key = (response.mount_point, response.mount_type, response.mount_accessor)
        mount = self._mounts.get(key)
        if mount is None:
            if len(self._mounts) >= _KNOWN:
                self._mounts.clear()
            mount = self._mounts[key] = _json(_Response(None, *key))[:-1]
        if not response.data:
            return mount + b"}"
        comma = b"," if len(mount) > 1 else b""
        data = response.data
        if type(data) is PreparedData:
            hashed = self._prepared(data, response.clear)
        else:
            hashed = _json(self._data(data, response.clear))
        return b'%b%b"data":%b}' % (mount, comma, hashed)

    def _prepared(self, data: PreparedData, clear: Sequence[str]) -> bytes:
        """Of an answer that is given again and again; kept with it, since hashing takes longer than all the rest."""
        key = (self._serial, tuple(clear)) if clear else self._serial
        made = data.audited.get(key)
        if made is None:
            made = data.audited[key] = _json(self._data(data, clear))
        return made

    def _wrap_info(self, wrap_info: dict[str, Any]) -> dict[str, Any]:
        hidden = dict(wrap_info)
        if token := hidden.get("token"):
            hidden["token"] = self._hash.text(token)
        for name in ("accessor", "wrapped_accessor"):
            if accessor := hidden.get(name):
                hidden[name] = self._accessor(accessor)
        return hidden


def _error(sentence: str) -> bytes:
    return b',"error":' + _json(sentence) if sentence else b""


def _with_path(head: bytes, path: str) -> bytes:
    return b'%b,"path":%b' % (head, _json(path)) if path else head


def _members(part: _Line) -> bytes:
    """The members of an object, each after a comma; nothing for an empty one."""
    inside = _json(part)[1:-1]
    return b"," + inside if inside else b""


def _json(value: object) -> bytes:
    """One line of JSON. A path may hold what is not Unicode (a lone surrogate): it is then written in escapes."""
    try:
        return _encode(value)
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(value, enc_hook=str), separators=(",", ":")).encode()
