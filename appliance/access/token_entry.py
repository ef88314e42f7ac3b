"""What is known of a token, what one is made of, and how it is stored as a record."""

from dataclasses import replace

import msgspec

from appliance.access.subject import ROOT_NAMESPACE
from appliance.access.token_hash import TokenHasher
from core.protocols import Record

KIND = "token"
SERVICE = "service"
BATCH = "batch"
WRAPPING_POLICY = "response-wrapping"  # of wrapping tokens; no other token, role, user or entity can have it


class TokenEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of a token, all but the token itself. Times are epoch seconds, durations seconds.

    A batch token is not stored: it has neither record id nor accessor.
    """

    record_id: str
    accessor: str
    policies: tuple[str, ...]  # sorted
    path: str  # what created it: "auth/token/create"
    issue_time: int
    ttl: int = 0  # as created; 0: does not expire
    expires_at: int | None = None
    metadata: dict[str, str] | None = None
    display_name: str = ""
    parent: str = ""  # record id; "" for an orphan
    depth: int = 0  # ancestors
    explicit_max_ttl: int = 0
    max_ttl: int = 0  # of the login that granted it; 0: the system's
    period: int = 0
    num_uses: int = 0  # uses left; 0: without limit
    renewable: bool = False
    last_renewal: int = 0
    revoked: bool = False  # refused, and waiting to be deleted with its tree
    spares: bool = False  # of a revoked one: its children live on as orphans
    type: str = SERVICE
    entity_id: str = ""
    namespace: str = ROOT_NAMESPACE  # id
    mount: str = ""  # uuid of the login mount that granted it
    renewal: dict[str, str] = {}  # what the login method wants to see at a renewal
    role: str = ""
    bound_cidrs: tuple[str, ...] = ()
    format: int = 1

    @property
    def is_root(self) -> bool:
        """Whether it may do everything."""
        return "root" in self.policies

    @property
    def is_batch(self) -> bool:
        """Whether it is sealed in itself and stored nowhere."""
        return self.type == BATCH

    @property
    def orphan(self) -> bool:
        """Whether nothing but itself can end it."""
        return not self.parent


class TokenSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What to create; who may ask for it is decided before. A duration of 0 is not set."""

    policies: tuple[str, ...]
    path: str
    display_name: str = "token"
    metadata: dict[str, str] | None = None
    ttl: int = 0
    explicit_max_ttl: int = 0
    max_ttl: int = 0  # of login method and mount together; 0: the system's
    default_ttl: int = 0  # of the mount; 0: the system's
    period: int = 0
    num_uses: int = 0
    renewable: bool = True
    token_id: str = ""  # chosen by the caller; "" for a random one
    entity_id: str = ""
    role: str = ""
    type: str = SERVICE
    namespace: str = ROOT_NAMESPACE
    mount: str = ""
    renewal: dict[str, str] = {}
    bound_cidrs: tuple[str, ...] = ()


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a role or a login method says at a renewal; 0: nothing, except that a period of 0 ends one."""

    ttl: int = 0
    max_ttl: int = 0
    period: int = 0
    explicit_max_ttl: int = 0


_decoder = msgspec.json.Decoder(TokenEntry)


def decode(record: Record) -> TokenEntry:
    """The entry in a record."""
    return _decoder.decode(record.body)


def as_record(entry: TokenEntry, hashes: TokenHasher) -> Record:
    """The record to store for a service token."""
    return Record(
        record_id=entry.record_id,
        body=msgspec.json.encode(entry),
        expires_at=entry.expires_at,
        parent=entry.parent,
        alias=hashes.alias(entry.accessor),
        path=f"{entry.namespace}/{entry.path}/{entry.record_id}",
    )


def rewritten(record: Record, entry: TokenEntry) -> Record:
    """The record with a changed entry; accessor and path are the same."""
    return replace(record, body=msgspec.json.encode(entry), expires_at=entry.expires_at, parent=entry.parent)
