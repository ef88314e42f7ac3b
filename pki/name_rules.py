"""Which names a role allows. What is not allowed by one of the rules is refused; the order of the rules is Vault's.

A name goes through three gates: it is well-formed (`_reduced`), wildcards are allowed if it has one, and then one rule
of the role must name it: any name, localhost, or one of the allowed domains.
"""

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from core.requests import Identity
from pki.dns_names import LONGEST, is_host_name, is_wildcard_label
from pki.globs import Glob

if TYPE_CHECKING:
    from pki.role import Role

_LOCAL = ("localhost", "localdomain")
_compiled = lru_cache(maxsize=4096)(Glob)
# what no name in a certificate may hold, whatever a role allows
_CONTROL = re.compile(r"[\x00-\x20\x7f]")


class Reduced(NamedTuple):
    """A name, taken apart, in lower case."""

    name: str
    host: str  # without a wildcard label and without what stands before an @
    is_email: bool
    is_wildcard: bool


class DomainRules:
    """Host names and mail addresses of one role."""

    def __init__(self, role: "Role") -> None:
        self._role = role
        self._domains = tuple(domain.lower() for domain in role.allowed_domains if domain)
        self._has_templates = role.allowed_domains_template and any("{{" in domain for domain in self._domains)

    @classmethod
    def of(cls, role: "Role") -> "DomainRules":
        """Of a role."""
        return cls(role)

    def allow(self, name: str, identity: Identity | None = None) -> bool:
        """Whether a name may stand in a certificate; none but ASCII may (`pki.dns_names.to_ascii`)."""
        found = self._reduced(name)
        if found is None:
            return False
        if self._role.allow_any_name:
            return True
        return self._is_local(found) or any(self._is_of(found, domain) for domain in self._rendered(identity))

    def _reduced(self, name: str) -> Reduced | None:
        """None for what is not well-formed, or has a wildcard where none may be."""
        # beyond ASCII, other letters may become those of the domain in lower case (U+212A, the Kelvin sign)
        if not name or not name.isascii() or _CONTROL.search(name):
            return None
        local_part, at, host = name.lower().partition("@")
        if not at:
            local_part, host = "", local_part
        elif not local_part or not host or "@" in host:
            return None
        label = ""
        if "*" in host:
            if at or not self._role.allow_wildcard_certificates:
                return None
            label, _, host = host.partition(".")
            if not host or "*" in host or label.count("*") > 1:
                return None
        if self._role.enforce_hostnames and not _is_good_host(host, label):
            return None
        return Reduced(name.lower(), host, bool(at), bool(label))

    def _is_local(self, found: Reduced) -> bool:
        if not self._role.allow_localhost:
            return False
        if found.host in _LOCAL and not (found.is_wildcard and not self._role.allow_subdomains):
            return True
        return self._role.allow_subdomains and found.host.endswith((".localhost", ".localdomain"))

    def _is_of(self, found: Reduced, domain: str) -> bool:
        """Whether one allowed domain names it."""
        role = self._role
        if role.allow_bare_domains and (found.name == domain or (found.is_email and found.host == domain)):
            return True
        if role.allow_subdomains and (
            found.host.endswith(f".{domain}") or (found.is_wildcard and found.host == domain)
        ):
            return True
        return role.allow_glob_domains and "*" in domain and _matches(found, domain)

    def _rendered(self, identity: Identity | None) -> Iterable[str]:
        """The domains; those whose templates cannot be filled in name nobody."""
        if not self._has_templates:
            return self._domains
        filled = (_filled(domain, identity) for domain in self._role.allowed_domains)
        return (domain.lower() for domain in filled if domain)


def _matches(found: Reduced, pattern: str) -> bool:
    """Where the pattern has no @, it must also stand for the host of a mail address: "web*" is not for web@evil.com."""
    glob = _compiled(pattern)
    if not glob.matches(found.name):
        return False
    return not found.is_email or "@" in pattern or glob.matches(found.host)


def _filled(pattern: str, identity: Identity | None) -> str | None:
    """The pattern with the caller's own values in it; None where he has none, or one that would be a pattern itself."""
    if "{{" not in pattern:
        return pattern
    rendered = None if identity is None else identity.render(pattern)
    return rendered if rendered is not None and rendered.count("*") == pattern.count("*") else None


def _is_good_host(host: str, label: str) -> bool:
    if label and (not is_wildcard_label(label) or len(label) + 1 + len(host) > LONGEST):
        return False
    return is_host_name(host)


class GlobRules:
    """Texts of one kind that a role allows: as they stand, or by a pattern with asterisks."""

    def __init__(self, patterns: Iterable[str], *, are_templates: bool = False, ignores_case: bool = False) -> None:
        self._patterns = tuple(pattern.lower() if ignores_case else pattern for pattern in patterns if pattern)
        self._are_templates = are_templates
        self._ignores_case = ignores_case

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def allow(self, text: str, identity: Identity | None = None) -> bool:
        """Whether one of the patterns is that text or stands for it."""
        if self._ignores_case:
            text = text.lower()
        return any(
            pattern is not None and _compiled(pattern).matches(text)
            for pattern in (self._rendered(pattern, identity) for pattern in self._patterns)
        )

    def _rendered(self, pattern: str, identity: Identity | None) -> str | None:
        return _filled(pattern, identity) if self._are_templates else pattern


class AddressRules:
    """IP addresses that a role allows."""

    def __init__(self, *, allowed: bool, networks: Iterable[str]) -> None:
        self._allowed = allowed
        self._networks = tuple(ipaddress.ip_network(network, strict=False) for network in networks)

    def allow(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
        """Whether it may stand in a certificate; without networks each one may."""
        return self._allowed and (not self._networks or any(address in network for network in self._networks))
