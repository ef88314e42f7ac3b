"""From when until when a certificate is valid: what was asked, within the role, the mount and the issuer."""

from typing import NamedTuple

from core.durations import format_duration
from core.engine import MountInfo
from core.errors import InvalidRequestError
from pki.asked import Asked
from pki.authority import Issuer
from pki.moments import format_moment, parse_moment
from pki.plan import NO_EXPIRY
from pki.role import Role


class Validity(NamedTuple):
    """Epoch seconds, and what to warn of."""

    not_before: int
    not_after: int
    warnings: list[str]


def validity_of(role: Role, asked: Asked, *, issuer: Issuer, now: int, mount: MountInfo) -> Validity:
    """Raises InvalidRequestError for what the role or the issuer does not allow."""
    not_before = _not_before(role, asked, now)
    not_after, warnings = _not_after(role, asked, now=now, mount=mount)
    not_after = within_issuer(not_after, issuer, now=now)
    if not_before >= not_after:
        raise InvalidRequestError(
            f"the certificate would begin ({format_moment(not_before)}) when it has ended ({format_moment(not_after)})"
        )
    if not_after <= now:
        raise InvalidRequestError(f"the certificate would have ended already ({format_moment(not_after)})")
    return Validity(not_before, not_after, warnings)


def _not_before(role: Role, asked: Asked, now: int) -> int:
    if role.not_before:
        return parse_moment(role.not_before, "not_before")
    usual = max(now - role.not_before_duration, 0)
    if not asked.not_before:
        return usual
    found = parse_moment(asked.not_before, "not_before")
    if role.not_before_bound == "forbid":
        raise InvalidRequestError("the role's not_before_bound is forbid: leave not_before out")
    if role.not_before_bound == "duration" and found < usual:
        raise InvalidRequestError(
            f"the role's not_before_bound is duration: not_before may not be earlier than {format_moment(usual)}"
        )
    return found


def _not_after(role: Role, asked: Asked, *, now: int, mount: MountInfo) -> tuple[int, list[str]]:
    wanted = role.not_after or asked.not_after
    if asked.ttl and wanted:
        raise InvalidRequestError(
            "Either ttl or not_after should be provided. Both should not be provided in the same request."
        )
    ttl, warnings = _ttl(role, asked.ttl, mount)
    if not wanted:
        return min(now + ttl, NO_EXPIRY), warnings
    found = parse_moment(wanted, "not_after")
    if not role.not_after:
        _check_bound(role, found, last=min(now + ttl, NO_EXPIRY))
    return found, []


def _ttl(role: Role, asked: int, mount: MountInfo) -> tuple[int, list[str]]:
    ttl = asked or role.ttl or mount.default_lease_ttl
    longest = role.max_ttl or mount.max_lease_ttl
    if ttl <= longest:
        return ttl, []
    warning = (
        f'TTL "{format_duration(ttl)}" is longer than permitted maxTTL "{format_duration(longest)}", so maxTTL is being'
        " used"
    )
    return longest, [warning]


def _check_bound(role: Role, not_after: int, *, last: int) -> None:
    """`not_after` of the request against the role's not_after_bound."""
    bound = role.not_after_bound
    if bound == "forbid":
        raise InvalidRequestError("the role's not_after_bound is forbid: leave not_after out, and ask for a ttl")
    if bound == "ttl-limited" and not_after > last:
        raise InvalidRequestError(
            f"the role's not_after_bound is ttl-limited: not_after may not be later than {format_moment(last)}"
        )
    if bound not in {"permit", "ttl-limited"} and not_after > parse_moment(bound, "not_after_bound"):
        raise InvalidRequestError(f"the role's not_after_bound allows no not_after later than {bound}")


def within_issuer(not_after: int, issuer: Issuer, *, now: int) -> int:
    """As the issuer's leaf_not_after_behavior says. Raises InvalidRequestError."""
    behaviour = issuer.row.leaf_not_after_behavior
    if issuer.not_after <= now and behaviour != "permit":
        raise InvalidRequestError(
            f"the issuer {issuer.row.name or issuer.issuer_id} has ended at {format_moment(issuer.not_after)}"
        )
    if not_after <= issuer.not_after or behaviour == "permit":
        return not_after
    if behaviour == "truncate":
        return issuer.not_after
    raise InvalidRequestError(
        f"cannot satisfy request, as TTL would result in notAfter of {format_moment(not_after)} that is beyond the"
        f" expiration of the CA certificate at {format_moment(issuer.not_after)}"
    )
