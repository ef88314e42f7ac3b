"""Chains: an issuer's certificate, then who signed it, and so on, as far as the mount knows.

Parents are found as RFC 5280, 6.1, goes up a path: the subject is the issuer's name, key identifiers agree where both
say one, and the signature verifies. A certificate that was signed by several (cross-signing) has several parents; all
of them stand in the chain, the nearest first. Cycles end where they begin.
"""

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from pki.authority import Authority, Issuer


def chain_of(issuer: Issuer, authority: Authority) -> list[Issuer]:
    """The issuer first. One with a manual chain has that.

    Worked out once for each state of the authority: anybody may ask, and signatures take their time.
    """
    known = authority.chains.get(issuer.issuer_id)
    if known is None:
        known = authority.chains[issuer.issuer_id] = _chain(issuer, authority)
    return list(known)


def _chain(issuer: Issuer, authority: Authority) -> list[Issuer]:
    if issuer.row.manual_chain:
        manual = [authority.issuers[known] for known in issuer.row.manual_chain if known in authority.issuers]
        return [issuer, *(other for other in manual if other is not issuer)]
    found: dict[str, Issuer] = {issuer.issuer_id: issuer}
    level = [issuer]
    while level:
        parents = [parent for child in level for parent in parents_of(child, authority)]
        level = []
        for parent in parents:
            if parent.issuer_id not in found:
                found[parent.issuer_id] = parent
                level.append(parent)
    return list(found.values())


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


def parents_of(issuer: Issuer, authority: Authority) -> list[Issuer]:
    """Who signed it, itself left out; of several the one with a key here first, then the youngest."""
    found = [other for other in authority.issuers.values() if other is not issuer and has_signed(other, issuer)]
    return sorted(found, key=lambda other: (other.key is None, -other.row.created_at))


def has_signed(parent: Issuer, child: Issuer) -> bool:
    """Whether a parent's key made a child's signature."""
    if parent.subject != child.certificate.issuer or not _agree(parent, child.certificate):
        return False
    if child.is_self_signed and parent.subject == child.subject and parent.public_key != child.public_key:
        return False
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
