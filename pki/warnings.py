"""What an operator should know before it hurts: issuers that end, and roles that they can no longer serve in full."""

from collections.abc import Iterable
from typing import NamedTuple

from core.durations import people_duration
from pki.authority import Authority, Issuer

KINDS = ("issuer_ended", "issuer_ends", "role_cut_short", "crl_overdue")
_CA_SOON = 30 * 86400  # seconds


class Warned(NamedTuple):
    """One thing to look at. `since` and `until` are epoch seconds."""

    kind: str  # one of KINDS
    issuer_id: str
    role: str
    at: int  # when it happens, or happened
    sentence: str


class RoleNeed(NamedTuple):
    """What a role may promise: the longest validity in seconds, under the issuer that it names."""

    name: str
    issuer_ref: str
    longest: int


class CrlState(NamedTuple):
    """The CRL that is served of an issuer."""

    issuer_id: str
    next_update: int  # epoch seconds


def warnings_of(
    authority: Authority, roles: Iterable[RoleNeed], crls: Iterable[CrlState] = (), *, now: int
) -> list[Warned]:
    """The soonest first."""
    found = [warned for issuer in authority.issuers.values() for warned in _of_issuer(issuer, now)]
    for need in roles:
        issuer = _issuer_of(authority, need)
        if issuer is not None:
            found += _of_role(need, issuer, now)
    found += [_of_crl(crl, authority) for crl in crls if crl.next_update <= now]
    return sorted(found, key=lambda warned: (warned.at, warned.issuer_id, warned.role))


def _of_issuer(issuer: Issuer, now: int) -> list[Warned]:
    if issuer.key is None or issuer.row.revoked_at:
        return []
    name = label(issuer)
    if issuer.not_after <= now:
        sentence = f"the issuer {name} has ended: it issues nothing, and what it issued is no longer trusted"
        return [Warned("issuer_ended", issuer.issuer_id, "", issuer.not_after, sentence)]
    if issuer.not_after - now < _CA_SOON:
        left = span(issuer.not_after - now)
        sentence = f"the issuer {name} ends in {left}: make its successor now (root/rotate, intermediate/generate)"
        return [Warned("issuer_ends", issuer.issuer_id, "", issuer.not_after, sentence)]
    return []


def _of_crl(crl: CrlState, authority: Authority) -> Warned:
    issuer = authority.issuers.get(crl.issuer_id)
    name = crl.issuer_id if issuer is None else label(issuer)
    sentence = f"the CRL of the issuer {name} is out of date: its key or the housekeeper does not answer (see the log)"
    return Warned("crl_overdue", crl.issuer_id, "", crl.next_update, sentence)


def _of_role(need: RoleNeed, issuer: Issuer, now: int) -> list[Warned]:
    """The role's longest certificate must end before its issuer; warned of a quarter of its length ahead."""
    last_full = issuer.not_after - need.longest
    if now + need.longest // 4 < last_full or issuer.not_after <= now:
        return []
    what = "cuts them short" if issuer.row.leaf_not_after_behavior == "truncate" else "refuses them"
    if issuer.row.leaf_not_after_behavior == "permit":
        what = "lets them outlive it, and no verifier accepts that"
    when = "now" if last_full <= now else f"in {span(last_full - now)}"
    sentence = (
        f"the role {need.name} may grant {span(need.longest)}, and its issuer {label(issuer)} ends too soon"
        f" for that {when}: it {what}"
    )
    return [Warned("role_cut_short", issuer.issuer_id, need.name, last_full, sentence)]


def _issuer_of(authority: Authority, need: RoleNeed) -> Issuer | None:
    """None where there is none: requests say so themselves."""
    reference = authority.index.default_issuer if need.issuer_ref == "default" else need.issuer_ref
    return authority.issuers.get(reference) or authority.issuer_named(reference)


def label(issuer: Issuer) -> str:
    """The name if it has one, else the id."""
    return issuer.row.name or issuer.issuer_id


def span(seconds: int) -> str:
    """Roughly, for people: days from two days on, else hours and minutes."""
    if seconds >= 2 * 86400:
        return f"{seconds // 86400} days"
    return people_duration(max(seconds, 60) // 60 * 60)
