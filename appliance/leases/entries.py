"""A lease as it is stored: one sealed record, found by its expiry, its token, or the path it was granted at."""

from enum import Enum
from typing import Any

import msgspec

from appliance.access.subject import ROOT_NAMESPACE
from core.engine import Lease
from core.ids import random_base62
from core.protocols import Record

KIND = "lease"
_ID_LENGTH = 24  # characters of base62: 143 bits, as Vault's


class LeaseState(Enum):
    """What is being done with it. Only a live lease can be renewed; nothing leads back to live."""

    LIVE = "live"
    REVOKING = "revoking"  # refused; the engine is asked until it has taken back what it granted
    IRREVOCABLE = "irrevocable"  # refused, and the engine failed too often: an operator must decide


class LeaseEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All that is known of a lease. Times are epoch seconds, durations seconds."""

    lease_id: str  # as clients see it: "database/creds/orders-api/x7Kq…", in a child namespace with ".<id>" behind it
    namespace: str  # id
    mount: str  # uuid; another engine at the same path later never sees this lease
    path: str  # below the mount: "creds/orders-api"
    issue_time: int
    first_ttl: int  # as granted first
    ttl: int  # as granted last
    max_ttl: int  # from issue_time
    expires_at: int
    renewable: bool = False
    internal: dict[str, Any] = msgspec.field(default_factory=dict)
    last_renewal: int = 0
    token: str = ""  # record id of the token that takes this lease with it
    not_after: int = 0  # end of the batch token that asked for it; 0: none
    generation: int = 0  # of the table of jobs when it was stored: later jobs below its path revoke it
    state: LeaseState = LeaseState.LIVE
    due: int | None = None  # when the housekeeper looks at it next; None: never
    attempts: int = 0  # at revoking it
    error: str = ""  # why the last one failed
    entity: str = ""  # id of the entity whose token asked for it
    target: str = ""  # what it opens, as its engine names it
    format: int = 1

    @property
    def record_id(self) -> str:
        """Its name among the records."""
        return record_id_of(self.lease_id)

    @property
    def request_path(self) -> str:
        """The path it was granted at, without the namespace: "database/creds/orders-api"."""
        return self.lease_id.rpartition("/")[0]

    @property
    def mount_path(self) -> str:
        """Where its engine stood then: "database/"."""
        return self.request_path.removesuffix(self.path)

    def is_live(self, now: float) -> bool:
        """Whether it is neither marked nor expired; jobs below its path are looked at elsewhere."""
        return self.state is LeaseState.LIVE and self.expires_at > now

    def for_engine(self) -> Lease:
        """As its engine sees it again."""
        return Lease(
            lease_id=self.lease_id,
            path=self.path,
            internal=self.internal,
            issued_at=self.issue_time,
            ttl=self.ttl,
            max_ttl=self.max_ttl,
        )

    def record(self) -> Record:
        """As it is stored. A marked lease hangs on no token any more: what is left below a token is to be marked."""
        return Record(
            record_id=self.record_id,
            body=msgspec.json.encode(self),
            expires_at=self.due,
            parent=self.token if self.state is LeaseState.LIVE else "",
            path=record_path(self.namespace, self.lease_id),
        )


_decoder = msgspec.json.Decoder(LeaseEntry)


def decode_lease(record: Record) -> LeaseEntry:
    """The lease in a record."""
    return _decoder.decode(record.body)


def new_lease_id(*, namespace: str, mount_path: str, path: str) -> str:
    """`<mount path><path>/<24 random characters>`, and the namespace's id behind a dot unless it is the root."""
    suffix = "" if namespace == ROOT_NAMESPACE else f".{namespace}"
    return f"{mount_path}{path.strip('/')}/{random_base62(_ID_LENGTH)}{suffix}"


def record_id_of(lease_id: str) -> str:
    """The random part of a lease id; "" when there is none."""
    return lease_id.rpartition("/")[2].partition(".")[0]


def record_path(namespace: str, path: str) -> str:
    """Where a lease, or a prefix of lease ids, stands in the tree of all namespaces."""
    return f"{namespace}/{path}"


def marked(entry: LeaseEntry, *, due: int) -> LeaseEntry:
    """Refused from now on, and to be revoked at `due`. One that is irrevocable stays so."""
    if entry.state is LeaseState.IRREVOCABLE:
        return entry
    return msgspec.structs.replace(entry, state=LeaseState.REVOKING, due=due)
