"""Which secrets somebody should look after: overdue, without an owner, never read, or not for long. No I/O."""

from typing import NamedTuple

from core.durations import format_duration
from kv.reads import ReadRecord
from kv.secret import Secret
from kv.times import SECOND, show_time

DEFAULT_UNREAD = 90 * 86400  # seconds

Row = dict[str, object]


class Wanted(NamedTuple):
    """The kinds of trouble that are asked for."""

    overdue: bool
    no_owner: bool
    never_read: bool
    unread_for: int  # seconds; 0: not asked for

    @property
    def asks_reads(self) -> bool:
        """Whether the read record decides."""
        return self.never_read or self.unread_for > 0


def reasons(secret: Secret, last: ReadRecord | None, wanted: Wanted, now: int) -> list[str]:
    """Why the secret is in the report; empty when it is not. `now` in nanoseconds.

    One that was never read is unread since it was made. `last` is only looked at when the report asks for reads.
    """
    found = []
    if wanted.overdue and is_overdue(secret, now):
        found.append("overdue")
    if wanted.no_owner and not secret.owner:
        found.append("no_owner")
    if wanted.never_read and last is None:
        found.append("never_read")
    if wanted.unread_for:
        since = secret.created_at if last is None else last.at
        if since + wanted.unread_for * SECOND <= now:
            found.append("unread")
    return found


def is_overdue(secret: Secret, now: int) -> bool:
    """Whether it has expired, or its current version is older than versions of it should be."""
    if secret.expires_at and secret.expires_at <= now:
        return True
    version = secret.versions.get(secret.current)
    return bool(secret.rotate_every and version and version.created_at + secret.rotate_every * SECOND <= now)


def row_of(name: str, secret: Secret, why: list[str], last: ReadRecord | None) -> Row:
    """How it is shown."""
    return {
        "name": name,
        "reasons": why,
        "owner": secret.owner,
        "classification": secret.classification,
        "rotate_every": format_duration(secret.rotate_every),
        "expires_at": show_time(secret.expires_at),
        "current_version": secret.current,
        "updated_time": show_time(secret.updated_at),
        "last_read": None if last is None else _shown(last),
    }


def _shown(last: ReadRecord) -> Row:
    return {
        "at": show_time(last.at),
        "by": last.by,
        "entity_id": last.entity_id,
        "from": last.address,
        "first_at": show_time(last.first_at),
        "days": last.days,
    }
