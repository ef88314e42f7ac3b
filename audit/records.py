"""What the pipeline tells the audit devices: plain values, secrets included; a device hashes them before it writes."""

from collections.abc import Sequence
from copy import copy
from typing import Any

import msgspec


class _Private(msgspec.Struct, kw_only=True):
    """A record whose repr shows no value: it may hold tokens and plaintexts."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class AuditAuth(_Private, kw_only=True):
    """Who asked, and what the policies said.

    One object may serve many requests of the same token: what a device has made of it is kept in `formatted`.
    """

    client_token: str = ""
    accessor: str = ""
    display_name: str = ""
    policies: list[str] | tuple[str, ...] = ()
    token_policies: list[str] | tuple[str, ...] = ()
    identity_policies: list[str] | tuple[str, ...] = ()
    metadata: dict[str, str] | None = None
    entity_id: str = ""
    token_type: str = ""
    token_ttl: int = 0  # seconds
    token_issue_time: str = ""  # RFC 3339
    num_uses: int = 0
    remaining_uses: int = 0
    allowed: bool | None = None  # None: no policy was asked
    granting_policies: list[str] | tuple[str, ...] = ()
    formatted: dict[int, bytes] = {}


class AuditRequest(_Private, kw_only=True):
    """One request.

    Only headers that may be shown in clear belong into `headers`; those in `secret_headers` are written beside them as
    keyed hashes.

    The parts that a request line and its response line share are formatted once and kept in `formatted`, so nothing
    may be changed between the two.
    """

    request_id: str
    operation: str
    path: str  # without "/v1/" and without the namespace
    namespace: str = ""  # path: "team-a/"
    namespace_id: str = "root"
    mount_point: str = ""
    mount_type: str = ""
    mount_accessor: str = ""
    client_token: str = ""
    client_token_accessor: str = ""
    client_id: str = ""
    data: dict[str, Any] | None = None
    remote_address: str = ""
    remote_port: int = 0
    headers: dict[str, list[str]] | None = None
    secret_headers: dict[str, list[str]] | None = None
    wrap_ttl: int = 0  # seconds
    clear: Sequence[str] = ()  # members of `data` that the mount wants to be logged as they are
    formatted: dict[int, tuple[AuditAuth | None, bytes]] = {}
    around: dict[int, tuple[bytes, bytes]] | None = None  # what devices made of all but id and data; of `again`

    def again(self, request_id: str, data: dict[str, Any] | None) -> "AuditRequest":
        """The record of a request that differs in nothing else, so that devices format the rest once for all."""
        if self.around is None:
            self.around = {}
        other = copy(self)
        other.request_id, other.data, other.formatted = request_id, data, {}
        return other


class AuditResponse(_Private, kw_only=True):
    """What is about to be answered. In `wrap_info` the members token, accessor and wrapped_accessor are hashed."""

    mount_point: str = ""
    mount_type: str = ""
    mount_accessor: str = ""
    data: dict[str, Any] | None = None
    auth: AuditAuth | None = None
    lease_id: str = ""
    wrap_info: dict[str, Any] | None = None
    warnings: list[str] | None = None
    clear: Sequence[str] = ()
