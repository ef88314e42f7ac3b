"""What an issuer's own certificate allows below it: path length (RFC 5280, 4.2.1.9) and names (4.2.1.10)."""

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import NameOID

from core.errors import InvalidRequestError
from pki.authority import Issuer

_NO_NAMES: tuple[x509.GeneralName, ...] = ()
_KNOWN = (x509.DNSName, x509.IPAddress, x509.RFC822Name, x509.UniformResourceIdentifier, x509.DirectoryName)
_MAIL_OF_SUBJECT = NameOID.EMAIL_ADDRESS


def check_path_length(draft: x509.Certificate, constraints: x509.BasicConstraints, issuer: Issuer) -> None:
    """Raise InvalidRequestError for a CA that the issuer's path length does not allow.

    A CA under the issuer's own name (a new key of it) does not count.
    """
    limit = issuer.path_length
    if limit is None or not constraints.ca or issuer.row.disable_path_length_checks:
        return
    most = limit if draft.subject == issuer.subject else limit - 1
    if most < 0:
        raise InvalidRequestError("the issuer's path length is zero, so it certifies no CA (RFC 5280, 4.2.1.9)")
    if constraints.path_length is None or constraints.path_length > most:
        raise InvalidRequestError(f"the path length of a CA below this issuer is {most} at most (RFC 5280, 4.2.1.9)")


def check_name_constraints(
    draft: x509.Certificate, issuer: Issuer, names: Iterable[x509.GeneralName], *, is_ca: bool
) -> None:
    """Raise InvalidRequestError for a name that the issuer's name constraints do not allow.

    `names` are the subject alternative names of `draft`. A CA under the issuer's own name is exempt (4.2.1.10).
    """
    constraints = issuer.name_constraints
    if constraints is None or issuer.row.disable_name_constraint_checks:
        return
    if is_ca and draft.subject == issuer.subject:
        return
    for name in _constrained(draft.subject, tuple(names), is_ca=is_ca):
        _check(name, constraints)


def _constrained(subject: x509.Name, names: tuple[x509.GeneralName, ...], *, is_ca: bool) -> Iterable[x509.GeneralName]:
    """The alternative names, the subject itself, and what stands in a subject instead of an alternative name."""
    yield from names
    if len(subject):
        yield x509.DirectoryName(subject)
    if not any(isinstance(name, x509.RFC822Name) for name in names):
        for found in subject.get_attributes_for_oid(_MAIL_OF_SUBJECT):
            yield x509.RFC822Name(str(found.value))
    if not is_ca and not any(isinstance(name, x509.DNSName) for name in names):
        for found in subject.get_attributes_for_oid(NameOID.COMMON_NAME):
            text = str(found.value)
            if "." in text and text.isascii() and " " not in text and "@" not in text:
                yield x509.DNSName(text)


def _check(name: x509.GeneralName, constraints: x509.NameConstraints) -> None:
    permitted = [one for one in constraints.permitted_subtrees or _NO_NAMES if type(one) is type(name)]
    excluded = [one for one in constraints.excluded_subtrees or _NO_NAMES if type(one) is type(name)]
    if not permitted and not excluded:
        return
    is_known = isinstance(name, _KNOWN)
    if (
        not is_known
        or any(_touches(name, one) for one in excluded)
        or (permitted and not any(_is_within(name, one) for one in permitted))
    ):
        raise InvalidRequestError(f"the name constraints of the issuer do not allow {_shown(name)}")


def _shown(name: x509.GeneralName) -> str:
    if isinstance(name, x509.DirectoryName):
        return f"the subject {name.value.rfc4514_string()}"
    return f"the name {name.value}" if isinstance(name, _KNOWN) else "a name of this form"


def _touches(name: x509.GeneralName, excluded: x509.GeneralName) -> bool:
    """Whether any name that `name` stands for is within a subtree: "*.example.com" stands for www.example.com, too."""
    if isinstance(name, x509.DNSName) and isinstance(excluded, x509.DNSName) and "*" in name.value:
        base = name.value.lower().partition(".")[2]
        if excluded.value.lower().partition(".")[2] == base and not excluded.value.startswith("."):
            return True
    if isinstance(name, x509.UniformResourceIdentifier) and not _host_of(name.value):
        return True  # 4.2.1.10: a URI without a host is refused where there are constraints
    return _is_within(name, excluded)


def _is_within(name: x509.GeneralName, subtree: x509.GeneralName) -> bool:
    """Both are of one form."""
    if isinstance(name, x509.DNSName) and isinstance(subtree, x509.DNSName):
        return _is_below(name.value, subtree.value)
    if isinstance(name, x509.IPAddress) and isinstance(subtree, x509.IPAddress):
        return _is_address_within(name, subtree)
    if isinstance(name, x509.RFC822Name) and isinstance(subtree, x509.RFC822Name):
        return _is_mail_within(name.value, subtree.value)
    if isinstance(name, x509.UniformResourceIdentifier) and isinstance(subtree, x509.UniformResourceIdentifier):
        return _is_host_within(_host_of(name.value), subtree.value)
    if isinstance(name, x509.DirectoryName) and isinstance(subtree, x509.DirectoryName):
        wanted, found = _folded(subtree.value), _folded(name.value)
        return found[: len(wanted)] == wanted
    return False


def _is_below(name: str, subtree: str) -> bool:
    """Labels may be added at the left; after a leading dot one must be (not in the RFC, and usual)."""
    name, subtree = name.lower().rstrip("."), subtree.lower().rstrip(".")
    if not subtree:
        return True
    if subtree.startswith("."):
        return name.endswith(subtree) and len(name) > len(subtree)
    return name == subtree or name.endswith(f".{subtree}")


def _is_address_within(name: x509.IPAddress, subtree: x509.IPAddress) -> bool:
    address, network = name.value, subtree.value
    if isinstance(network, ipaddress.IPv4Network) and isinstance(address, ipaddress.IPv4Address):
        return address in network
    if isinstance(network, ipaddress.IPv6Network) and isinstance(address, ipaddress.IPv6Address):
        return address in network
    return False


def _is_mail_within(name: str, subtree: str) -> bool:
    """A mailbox, a host, or with a leading dot the hosts of a domain; the local part is case-sensitive."""
    local_part, _, host = name.rpartition("@")
    wanted, at, wanted_host = subtree.rpartition("@")
    if at:
        return local_part == wanted and host.lower() == wanted_host.lower()
    return _is_host_within(host, subtree)


def _is_host_within(host: str, subtree: str) -> bool:
    """A host, or with a leading dot the hosts of a domain."""
    host, subtree = host.lower(), subtree.lower()
    if subtree.startswith("."):
        return host.endswith(subtree) and len(host) > len(subtree)
    return bool(host) and (host == subtree or not subtree)


def _host_of(uri: str) -> str:
    """The host, "" when there is none or it is an address."""
    try:
        host = urlsplit(uri).hostname or ""
    except ValueError:
        return ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host
    return ""


def _folded(name: x509.Name) -> list[frozenset[tuple[str, str]]]:
    """RDNs as they are compared: without regard to case and the number of blanks (RFC 5280, 7.1)."""
    return [
        frozenset((found.oid.dotted_string, " ".join(str(found.value).casefold().split())) for found in rdn)
        for rdn in name.rdns
    ]
