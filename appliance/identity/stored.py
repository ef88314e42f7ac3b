"""What is stored of entities and groups, and under which paths of a namespace.

    identity/entity/<id>                     the entity with its aliases and the groups it is in
    identity/entity-name/<key>               its id
    identity/alias/<alias id>                the id of its entity
    identity/alias-name/<accessor>/<key>     the id of its entity
    identity/merged/<id>                     the id of the entity that this one was merged into
    identity/group/<id>                      the group; parents and children name each other
    identity/group-name/<key>                its id
    identity/group-member/<group>/<entity>   empty; the other half of what the entity says
    identity/group-alias/<alias id>          the id of its group
    identity/group-alias-name/<acc.>/<key>   the id of its group
    identity/group-epoch                     rewritten with every group: views that name groups hang on it

A key is the hash of a name without regard to case: names hold any character, and paths are stored in clear.
An entity's home (its namespace) is noted under "core/identity-home/<id>", as tokens name it by its id alone; the root
namespace's need none.
"""

import hashlib
from typing import TypeVar

import msgspec

from appliance.namespaces import ROOT, data_prefix

T = TypeVar("T")


class StoredAlias(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An entity's name at a login method. Times are epoch seconds."""

    id: str
    name: str
    mount_accessor: str
    created: float
    updated: float
    metadata: dict[str, str] = msgspec.field(default_factory=dict)  # of the login method
    custom_metadata: dict[str, str] = msgspec.field(default_factory=dict)  # of operators
    merged_from: tuple[str, ...] = ()  # ids of the entities that it came from


class StoredEntity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One person, machine or program.

    `groups` maps each group it is in directly to what vouched for it: "" where an operator did (internal groups), else
    the `source` of the group's alias. When that changes the membership is void, without a write.
    """

    id: str
    name: str
    created: float
    updated: float
    metadata: dict[str, str] = msgspec.field(default_factory=dict)
    policies: tuple[str, ...] = ()
    disabled: bool = False
    aliases: tuple[StoredAlias, ...] = ()
    groups: dict[str, str] = msgspec.field(default_factory=dict)
    merged: tuple[str, ...] = ()  # ids of entities that became part of this one
    format: int = 1

    def alias_at(self, accessor: str) -> StoredAlias | None:
        """Its alias at that mount; it has one at most."""
        return next((alias for alias in self.aliases if alias.mount_accessor == accessor), None)

    def alias(self, alias_id: str) -> StoredAlias | None:
        """Its alias of that id."""
        return next((alias for alias in self.aliases if alias.id == alias_id), None)


class StoredGroupAlias(msgspec.Struct, frozen=True, kw_only=True):
    """The name by which a login method knows an external group."""

    id: str
    name: str
    mount_accessor: str
    created: float
    updated: float

    @property
    def source(self) -> str:
        """What memberships that it vouched for are marked with."""
        return f"{self.mount_accessor}/{name_key(self.name)}/{self.id}"


class StoredGroup(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A group; its entities are listed apart, so that one more member is a small write."""

    id: str
    name: str
    type: str
    created: float
    updated: float
    metadata: dict[str, str] | None = None
    policies: tuple[str, ...] | None = None
    members: tuple[str, ...] = ()  # groups
    parents: tuple[str, ...] = ()
    alias: StoredGroupAlias | None = None
    modify_index: int = 1
    format: int = 1

    @property
    def is_external(self) -> bool:
        """Whether a login method says who is in it."""
        return self.type == "external"

    @property
    def source(self) -> str:
        """What a valid membership is marked with."""
        return self.alias.source if self.alias else ""


class Paths:
    """The paths of one namespace."""

    __slots__ = ("epoch", "root")

    def __init__(self, namespace: str) -> None:
        self.root = data_prefix(namespace) + "identity/"
        self.epoch = self.root + "group-epoch"

    def entity(self, entity_id: str) -> str:
        """Of an entity."""
        return f"{self.root}entity/{entity_id}"

    def group(self, group_id: str) -> str:
        """Of a group."""
        return f"{self.root}group/{group_id}"

    def member(self, group_id: str, entity_id: str = "") -> str:
        """Of a membership; without an entity the prefix of all."""
        return f"{self.root}group-member/{group_id}/{entity_id}"

    def index(self, kind: str, name: str) -> str:
        """Of an entity-name or group-name: the key of `name`."""
        return f"{self.root}{kind}/{name_key(name)}"

    def alias_index(self, kind: str, accessor: str, name: str) -> str:
        """Of an alias-name or group-alias-name."""
        return self.alias_index_root(kind, accessor) + name_key(name)

    def alias_index_root(self, kind: str, accessor: str) -> str:
        """What all of one mount's begin with."""
        return f"{self.root}{kind}/{accessor}/"

    def by_id(self, kind: str, item_id: str) -> str:
        """Of an alias, group-alias or merged entity."""
        return f"{self.root}{kind}/{item_id}"


def name_key(name: str) -> str:
    """The name without regard to case, as the store knows it."""
    return hashlib.sha256(name.lower().encode("utf-8", "surrogatepass")).hexdigest()


def home_path(entity_id: str) -> str:
    """Where the namespace of an entity is noted."""
    return f"core/identity-home/{entity_id}"


def needs_home(namespace: str) -> bool:
    """Whether its entities' homes are noted."""
    return namespace != ROOT.id


encode = msgspec.json.encode
decode_entity = msgspec.json.Decoder(StoredEntity).decode
decode_group = msgspec.json.Decoder(StoredGroup).decode
