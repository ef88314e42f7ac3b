"""What holds for one issuer: how a request changes it, and how it is answered."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from core.bodies import StringList
from core.errors import InvalidRequestError, NotFoundError
from pki.authority import Authority, ClusterPaths, Issuer, IssuerRow, Urls
from pki.chains import chain_of
from pki.issuer_usages import check_usage, effective_usage, parse_usage, possible_usage
from pki.moments import format_moment
from pki.reference_names import check_issuer_name
from pki.signature_words import revocation_algorithm, shown_algorithm
from pki.url_rules import MEMBERS, check_urls

BEHAVIOURS = ("err", "truncate", "permit", "always_enforce_err")
_SWITCHES = (
    "disable_critical_extension_checks",
    "disable_path_length_checks",
    "disable_name_constraint_checks",
)


class IssuerBody(msgspec.Struct, kw_only=True):
    """Members that are given; None: not given. A write sets those that are not back, a patch leaves them."""

    issuer_name: str | None = None
    leaf_not_after_behavior: str | None = None
    manual_chain: StringList | None = None
    usage: StringList | None = None
    revocation_signature_algorithm: str | None = None
    issuing_certificates: StringList | None = None
    crl_distribution_points: StringList | None = None
    delta_crl_distribution_points: StringList | None = None
    ocsp_servers: StringList | None = None
    enable_aia_url_templating: bool | None = None
    disable_critical_extension_checks: bool | None = None
    disable_path_length_checks: bool | None = None
    disable_name_constraint_checks: bool | None = None


def patch_of(body: IssuerBody, data: Mapping[str, Any], issuer: Issuer) -> IssuerBody:
    """With what a member that is null in `data` is set back to (RFC 7396)."""
    row = _unset(issuer)
    unset: dict[str, Any] = {
        "issuer_name": row.name,
        "leaf_not_after_behavior": row.leaf_not_after_behavior,
        "manual_chain": list(row.manual_chain),
        "usage": list(row.usage),
        "revocation_signature_algorithm": row.revocation_signature_algorithm,
        "enable_aia_url_templating": row.urls.enable_templating,
        **{member: list(getattr(row.urls, member)) for member in MEMBERS},
        **{member: getattr(row, member) for member in _SWITCHES},
    }
    return replace(body, **{name: value for name, value in unset.items() if name in data and data[name] is None})


def changed_row(
    issuer: Issuer, body: IssuerBody, authority: Authority, *, is_patch: bool
) -> tuple[IssuerRow, list[str]]:
    """The row that a write or a patch makes, and what to warn of. Raises InvalidRequestError."""
    row = issuer.row
    before = row if is_patch else _unset(issuer)
    name = before.name if body.issuer_name is None else body.issuer_name
    check_issuer_name(name, authority, but=row.issuer_id)
    algorithm = before.revocation_signature_algorithm
    if body.revocation_signature_algorithm is not None:
        algorithm = body.revocation_signature_algorithm
    urls, warnings = _urls(body, before.urls, authority.index.cluster)
    changed = replace(
        row,
        name=name,
        leaf_not_after_behavior=_behaviour(body.leaf_not_after_behavior or before.leaf_not_after_behavior),
        manual_chain=before.manual_chain if body.manual_chain is None else _chain(body.manual_chain, issuer, authority),
        usage=_usage(body.usage, before, issuer),
        revocation_signature_algorithm=revocation_algorithm(algorithm, issuer),
        urls=urls,
        **{member: _given(getattr(body, member), getattr(before, member)) for member in _SWITCHES},
    )
    return changed, warnings


def _unset(issuer: Issuer) -> IssuerRow:
    """As it is when nothing was ever said of it."""
    usage = possible_usage(issuer.certificate)
    blank = IssuerRow(issuer_id=issuer.issuer_id, certificate=issuer.row.certificate, revoked_at=issuer.row.revoked_at)
    return replace(blank, usage=effective_usage(replace(blank, usage=usage)))


def _given(value: Any, otherwise: Any) -> Any:
    return otherwise if value is None else value


def _behaviour(word: str) -> str:
    if word not in BEHAVIOURS:
        raise InvalidRequestError(
            f"Unknown value for field `leaf_not_after_behavior`. Possible values are {', '.join(BEHAVIOURS)}."
        )
    return word


def _usage(words: StringList | None, before: IssuerRow, issuer: Issuer) -> tuple[str, ...]:
    if words is None:
        return before.usage
    usage = parse_usage(words)
    if usage != effective_usage(issuer.row):
        check_usage(usage, issuer.row, issuer.certificate)
    return usage


def _urls(body: IssuerBody, before: Urls, cluster: ClusterPaths) -> tuple[Urls, list[str]]:
    given = {member: tuple(value) for member in MEMBERS if (value := getattr(body, member)) is not None}
    templating = _given(body.enable_aia_url_templating, before.enable_templating)
    urls = replace(before, **given, enable_templating=templating)
    return urls, check_urls(urls, cluster)


def _chain(references: list[str], issuer: Issuer, authority: Authority) -> tuple[str, ...]:
    found = []
    for reference in references:
        if reference == "self":
            found.append(issuer.issuer_id)
            continue
        try:
            found.append(authority.issuer(reference).issuer_id)
        except NotFoundError:
            raise InvalidRequestError(f"manual_chain names the issuer {reference[:64]!r}, which there is not") from None
    if found and found[0] != issuer.issuer_id:
        raise InvalidRequestError('manual_chain begins with the issuer itself: write "self" first')
    if len(set(found)) != len(found):
        raise InvalidRequestError("manual_chain names an issuer twice")
    return tuple(found)


def issuer_data(issuer: Issuer, authority: Authority) -> dict[str, Any]:
    """As Vault answers it, and where its key is."""
    row = issuer.row
    data: dict[str, Any] = {
        "issuer_id": row.issuer_id,
        "issuer_name": row.name,
        "key_id": row.key_id,
        "certificate": issuer.pem,
        "manual_chain": list(row.manual_chain) or None,
        "ca_chain": [member.pem for member in chain_of(issuer, authority)],
        "leaf_not_after_behavior": row.leaf_not_after_behavior,
        "usage": ",".join(sorted(effective_usage(row))),
        "revocation_signature_algorithm": shown_algorithm(issuer),
        "revoked": bool(row.revoked_at),
        **{member: list(getattr(row.urls, member)) for member in MEMBERS},
        **{member: True for member in _SWITCHES if getattr(row, member)},
    }
    if row.revoked_at:
        data |= {"revocation_time": row.revoked_at, "revocation_time_rfc3339": format_moment(row.revoked_at)}
    if not row.urls.is_empty:
        data["enable_aia_url_templating"] = row.urls.enable_templating
    if issuer.key is not None:
        data["custody"] = issuer.key.key.custody.value
    return data
