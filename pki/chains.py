"""Chains: an issuer's certificate, then who signed it, and so on, as far as the mount knows.

Parents are found as RFC 5280, 6.1, goes up a path: the subject is the issuer's name, key identifiers agree where both
say one, and the signature verifies. A certificate that was signed by several (cross-signing) has several parents. Each
way up is followed to its end before the next one begins, roots first, so that the chain begins with a whole path: each
certificate certifies the one before it, as TLS wants it (RFC 8446, 4.4.2). Cycles end where they begin.

What was found is kept with the authority, which is another one after each change: whoever reads chains without a
token makes nobody verify signatures again and again.
"""

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from pki.authority import Authority, Issuer


def chain_of(issuer: Issuer, authority: Authority) -> list[Issuer]:
    """The issuer first. One with a manual chain has that and no more; so has, from there on, whoever is below it."""
    known = authority.chains.get(issuer.issuer_id)
    if known is None:
        known = authority.chains[issuer.issuer_id] = _chain(issuer, authority)
    return list(known)


def _chain(issuer: Issuer, authority: Authority) -> list[Issuer]:
    found: dict[str, Issuer] = {}
    ahead = [issuer]  # the next one last
    while ahead:
        member = ahead.pop()
        if member.issuer_id in found:
            continue
        found[member.issuer_id] = member
        manual = _manual_chain(member, authority)
        found |= {other.issuer_id: other for other in manual if other.issuer_id not in found}
        if not manual:
            ahead += reversed(parents_of(member, authority))
    return list(found.values())


def _manual_chain(issuer: Issuer, authority: Authority) -> list[Issuer]:
    """Its members that are still here; none when the issuer has no manual chain."""
    return [authority.issuers[known] for known in issuer.row.manual_chain if known in authority.issuers]


def constrained_above(issuer: Issuer, authority: Authority) -> tuple[Issuer, ...]:
    """Who further up has name constraints: they hold for all below (RFC 5280, 6.1.4 (g)).

    As far as there is one way up: where an issuer was signed by several, a verifier may take the other.
    """
    known = authority.constrained_above.get(issuer.issuer_id)
    if known is None:
        known = tuple(above for above in _only_way_up(issuer, authority) if above.name_constraints is not None)
        authority.constrained_above[issuer.issuer_id] = known
    return known


def _only_way_up(issuer: Issuer, authority: Authority) -> list[Issuer]:
    found = [issuer]
    while len(parents := parents_of(found[-1], authority)) == 1 and parents[0] not in found:
        found.append(parents[0])
    return found[1:]


def parents_of(issuer: Issuer, authority: Authority) -> tuple[Issuer, ...]:
    """Who signed it, itself left out; of several roots first, then those with a key here, then the youngest."""
    known = authority.parents.get(issuer.issuer_id)
    if known is None:
        signers = _signers(issuer, authority)
        known = tuple(sorted(signers, key=lambda one: (not one.is_self_signed, one.key is None, -one.row.created_at)))
        authority.parents[issuer.issuer_id] = known
    return known


def _signers(child: Issuer, authority: Authority) -> list[Issuer]:
    """A key is tried once, however many issuers have it in common."""
    tried: dict[bytes, bool] = {}
    found = []
    for other in authority.issuers.values():
        if other is child or other.subject != child.certificate.issuer or not _agree(other, child.certificate):
            continue
        if other.public_key not in tried:
            tried[other.public_key] = _has_signed(other, child)
        if tried[other.public_key]:
            found.append(other)
    return found


def _has_signed(parent: Issuer, child: Issuer) -> bool:
    """Whether a parent's key made a child's signature."""
    try:
        child.certificate.verify_directly_issued_by(parent.certificate)
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return True


def _agree(parent: Issuer, child: x509.Certificate) -> bool:
    """Whether the key identifiers name the same key; one that is not there agrees with all."""
    try:
        named = child.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except x509.ExtensionNotFound:
        return True
    return named is None or named == parent.authority_key_identifier.key_identifier
