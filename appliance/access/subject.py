"""Who an access list is made for, and what a request's conditions are checked against: the words of access control."""

from collections.abc import Mapping
from typing import Any

import msgspec

ROOT_NAMESPACE = "root"  # the id of the root namespace, whose path is ""


class AliasView(msgspec.Struct, frozen=True, kw_only=True):
    """An entity's name at one login method."""

    id: str
    name: str
    mount_accessor: str
    metadata: dict[str, str] = msgspec.field(default_factory=dict)
    custom_metadata: dict[str, str] = msgspec.field(default_factory=dict)


class GroupView(msgspec.Struct, frozen=True, kw_only=True):
    """A group that an entity is in, directly or through other groups."""

    id: str
    name: str
    metadata: dict[str, str] = msgspec.field(default_factory=dict)


class EntityView(msgspec.Struct, frozen=True, kw_only=True):
    """An entity with all that access control asks of it. A changed entity or group makes a new view."""

    id: str
    name: str
    namespace: str = ROOT_NAMESPACE  # id
    metadata: dict[str, str] = msgspec.field(default_factory=dict)
    disabled: bool = False
    aliases: tuple[AliasView, ...] = ()
    groups: tuple[GroupView, ...] = ()
    policies: tuple[str, ...] = ()  # the entity's and those of all its groups, sorted; of the entity's namespace


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """Whom an access list is for: the token's policies (of the token's namespace), and the entity behind it."""

    namespace: str  # id of the token's
    policies: tuple[str, ...]  # the token's own, sorted
    entity: EntityView | None = None


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What conditions and parameter rules look at, of one request."""

    now: float  # epoch seconds
    address: str  # the client's IP; "" on a unix socket
    headers: Mapping[str, str]  # case-insensitive
    data: Mapping[str, Any]  # the body
    wrap_ttl: int = 0  # seconds asked for; 0: not wrapped
