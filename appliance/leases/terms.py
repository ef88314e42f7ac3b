"""How long a lease lives: Vault's rules, on whole seconds, as pure functions."""

from dataclasses import dataclass

import msgspec

from appliance.leases.entries import LeaseEntry
from core.durations import format_duration
from core.engine import MountInfo
from core.errors import InvalidRequestError, PermissionDeniedError
from core.requests import LeaseGrant


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a lease gets: seconds from now, and from its issue."""

    ttl: int
    max_ttl: int
    warnings: tuple[str, ...] = ()


def granted_terms(grant: LeaseGrant, mount: MountInfo, *, now: int, not_after: int = 0) -> Terms:
    """What an engine's new lease gets: its own wishes, the mount's defaults for what it left open, and the limits.

    `not_after` is the end of a batch token, which its leases never pass; 0 for none.
    """
    max_ttl = _lesser(grant.max_ttl, mount.max_lease_ttl)
    ttl = min(grant.ttl or mount.default_lease_ttl, max_ttl)
    if not_after:
        ttl = min(ttl, not_after - now)
        if ttl <= 0:
            raise PermissionDeniedError("permission denied")  # the token ended while the engine worked
    return Terms(ttl=ttl, max_ttl=max_ttl)


def room_left(entry: LeaseEntry, mount: MountInfo, *, now: int) -> int:
    """Seconds that a renewal can give at most. Raises InvalidRequestError when there are none."""
    end = entry.issue_time + _lesser(entry.max_ttl, mount.max_lease_ttl)
    if entry.not_after:
        end = min(end, entry.not_after)
    if end <= now:
        raise InvalidRequestError("past the max TTL, cannot renew")
    return end - now


def renewed_terms(entry: LeaseEntry, mount: MountInfo, answer: LeaseGrant, *, increment: int, now: int) -> Terms:
    """What a renewed lease gets: the lesser of what was asked for and what the engine says; else what it got at first.

    The engine can shorten the lease's max_ttl, and not lengthen it.
    """
    max_ttl = _lesser(answer.max_ttl, entry.max_ttl)
    room = room_left(msgspec.structs.replace(entry, max_ttl=max_ttl), mount, now=now)
    wanted = _lesser(answer.ttl, increment) if increment else answer.ttl or entry.first_ttl
    warnings = (_capped(increment, room),) if increment > room else ()
    return Terms(ttl=min(wanted, room), max_ttl=max_ttl, warnings=warnings)


def _lesser(limit: int, other: int) -> int:
    """The lesser limit; 0 is none."""
    return min(limit, other) if limit > 0 else other


def _capped(wanted: int, room: int) -> str:
    return (
        f'TTL of "{format_duration(wanted)}" exceeded the effective max_ttl of "{format_duration(room)}"; '
        "TTL value is capped accordingly"
    )
