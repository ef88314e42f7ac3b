"""Which names a role allows: OpenBao's rules, the tricks that they must withstand, and a plain model of them."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pki.dns_names import is_dns_name, is_host_name, to_ascii
from pki.globs import Glob
from pki.name_rules import AddressRules, DomainRules, GlobRules
from pki.role import Role


class Ann:
    """An identity with a name, and a metadata value that somebody else chose."""

    def __init__(self, **values: str) -> None:
        self._values = {"{{identity.entity.name}}": "ann", **values}

    def render(self, template: str) -> str | None:
        for expression, value in self._values.items():
            template = template.replace(expression, value)
        return None if "{{" in template else template


BARE: dict[str, Any] = {"allowed_domains": ("example.com",), "allow_bare_domains": True}
SUB: dict[str, Any] = {"allowed_domains": ("example.com",), "allow_subdomains": True}
ANY: dict[str, Any] = {"allow_any_name": True}
LOOSE: dict[str, Any] = {"allow_any_name": True, "enforce_hostnames": False}
DOMAIN_OF_MAIL = {"allowed_domains": ("ann@example.com",), "allow_bare_domains": True}
LOCAL_SUB: dict[str, Any] = {"allow_subdomains": True}


def with_glob(*domains: str, **more: Any) -> dict[str, Any]:
    return {"allowed_domains": domains, "allow_glob_domains": True, **more}


ALLOWED = [
    (BARE, "example.com"),
    (BARE, "EXAMPLE.com"),
    (BARE, "ann@example.com"),
    (DOMAIN_OF_MAIL, "ann@example.com"),
    ({**BARE, "allowed_domains": ("Example.COM",)}, "example.com"),
    ({**BARE, "allowed_domains": ("*.example.com",)}, "*.example.com"),
    (SUB, "web.example.com"),
    (SUB, "a.b.c.example.com"),
    (SUB, "Web.Example.Com"),
    (SUB, "*.example.com"),
    (SUB, "*.web.example.com"),
    (SUB, "f*.example.com"),
    (SUB, "f*o.example.com"),
    (SUB, "*o.example.com"),
    (SUB, "ann@mail.example.com"),
    (SUB, "xn--bcher-kva.example.com"),
    ({**SUB, "enforce_hostnames": False}, "_sip._tcp.example.com"),
    (with_glob("ftp*.example.com"), "ftp1.example.com"),
    (with_glob("ftp*.example.com"), "ftp.a.example.com"),
    (with_glob("*.example.com"), "*.example.com"),
    (with_glob("*.*.example.com"), "*.web.example.com"),
    (with_glob("*.example.com"), "ann@mail.example.com"),
    (with_glob("*@example.com"), "ann@example.com"),
    ({}, "localhost"),
    ({}, "localdomain"),
    (LOCAL_SUB, "web.localhost"),
    (LOCAL_SUB, "*.localdomain"),
    (ANY, "a.b"),
    (ANY, "10.0.0.1"),
    (ANY, "*.com"),
    (LOOSE, "foo_bar"),
]

REFUSED = [
    ({}, "example.com"),
    ({"allow_localhost": False}, "localhost"),
    ({}, "*.localhost"),
    ({}, "web.localhost"),
    ({"allowed_domains": ("example.com",)}, "example.com"),
    ({"allowed_domains": ("example.com",)}, "web.example.com"),
    (BARE, "web.example.com"),
    (BARE, "*.example.com"),
    (BARE, "ann@mail.example.com"),
    (BARE, "eexample.com"),
    (DOMAIN_OF_MAIL, "bob@example.com"),
    (DOMAIN_OF_MAIL, "example.com"),
    (SUB, "example.com"),
    (SUB, "ann@example.com"),
    (SUB, "evilexample.com"),
    (SUB, "example.com.evil.org"),
    (SUB, ".example.com"),
    (SUB, "a..example.com"),
    (SUB, "web.example.com."),
    (SUB, "*.*.example.com"),
    (SUB, "web.*.example.com"),
    (SUB, "**.example.com"),
    (SUB, "*"),
    (SUB, "*.com"),
    (SUB, "*example.com"),
    (SUB, "xn--*.example.com"),
    (SUB, "-*.example.com"),
    (SUB, "*-.example.com"),
    (SUB, "_web.example.com"),
    (SUB, "-web.example.com"),
    (SUB, "web-.example.com"),
    (SUB, "w b.example.com"),
    (SUB, "web.example.com\n"),
    (SUB, "web\0.example.com"),
    (SUB, "evil.org\0.example.com"),
    (SUB, "https://web.example.com"),
    (SUB, "b\u00fccher.example.com"),
    (SUB, "xn--a.example.com"),
    (SUB, "*@mail.example.com@evil.org"),
    (SUB, "ann@*.example.com"),
    (SUB, "@mail.example.com"),
    (SUB, "ann@"),
    (SUB, f"{'a' * 64}.example.com"),
    (SUB, f"{'a.' * 122}example.com"),
    (SUB, f"*.{'a.' * 121}example.com"),
    ({**SUB, "allow_wildcard_certificates": False}, "*.example.com"),
    ({**ANY, "allow_wildcard_certificates": False}, "*.example.com"),
    ({**with_glob("*.example.com"), "allow_wildcard_certificates": False}, "*.example.com"),
    ({"allowed_domains": ("*.example.com",)}, "web.example.com"),
    ({"allowed_domains": ("*.example.com",), "allow_subdomains": True}, "web.example.com"),
    (with_glob("ftp*.example.com"), "www.example.com"),
    (with_glob("ftp*.example.com"), "ftp.example.org"),
    (with_glob("*.example.com"), "example.com"),
    (with_glob("*.example.com"), "*.com"),
    (with_glob("web*"), "web@evil.org"),
    (with_glob("example.*"), "example.com@evil.org"),
    (with_glob("foo.*.example.com", allow_subdomains=True), "bar.foo.baz.example.com"),
    (ANY, "*"),
    (ANY, "a_b.example.com"),
    (ANY, ""),
    (ANY, "a b"),
    (LOOSE, "*"),
    (LOOSE, "*.*.com"),
    (LOOSE, "a\nb"),
    (LOOSE, "caf\u00e9"),
    ({**BARE, "allowed_domains": ("k.com",), "enforce_hostnames": False}, "\u212a.com"),
]


def label(value: object) -> str:
    text = ",".join(f"{key}" for key in value) if isinstance(value, dict) else ascii(value)
    return text[:40]


@pytest.mark.parametrize(
    ("role", "name"), ALLOWED, ids=[f"{place}-{label(row[1])}" for place, row in enumerate(ALLOWED)]
)
def test_a_role_allows(role: dict[str, Any], name: str) -> None:
    assert DomainRules(Role(**role)).allow(name)


@pytest.mark.parametrize(
    ("role", "name"), REFUSED, ids=[f"{place}-{label(row[1])}" for place, row in enumerate(REFUSED)]
)
def test_a_role_refuses(role: dict[str, Any], name: str) -> None:
    assert not DomainRules(Role(**role)).allow(name)


# --- templates --------------------------------------------------------------------------------------------------------

TEMPLATED: dict[str, Any] = {
    "allowed_domains": ("{{identity.entity.name}}.example.com",),
    "allowed_domains_template": True,
    "allow_bare_domains": True,
}


def test_a_template_allows_the_callers_own_name() -> None:
    rules = DomainRules(Role(**TEMPLATED))
    assert rules.allow("ann.example.com", Ann())
    assert not rules.allow("bob.example.com", Ann())


def test_a_template_names_nobody_for_a_caller_without_identity() -> None:
    rules = DomainRules(Role(**TEMPLATED))
    assert not rules.allow("ann.example.com")
    assert not rules.allow("{{identity.entity.name}}.example.com")


def test_a_template_that_cannot_be_filled_in_names_nobody() -> None:
    role = Role(**{**TEMPLATED, "allowed_domains": ("{{identity.entity.metadata.x}}.example.com", "example.org")})
    assert not DomainRules(role).allow("ann.example.com", Ann())
    assert DomainRules(role).allow("example.org", Ann())


def test_braces_are_text_where_templates_are_off() -> None:
    role = Role(**{**TEMPLATED, "allowed_domains_template": False})
    assert not DomainRules(role).allow("ann.example.com", Ann())


def test_an_operators_asterisk_beside_a_template_is_a_pattern() -> None:
    role = Role(**with_glob("*.{{identity.entity.name}}.example.com", allowed_domains_template=True))
    assert DomainRules(role).allow("web.ann.example.com", Ann())
    assert not DomainRules(role).allow("web.bob.example.com", Ann())


@pytest.mark.parametrize("name", ["*.example.com", "web.example.com"])
def test_a_callers_own_asterisk_is_never_a_pattern(name: str) -> None:
    role = Role(**{**TEMPLATED, "allow_glob_domains": True})
    assert not DomainRules(role).allow(name, Ann(**{"{{identity.entity.name}}": "*"}))
    uris = GlobRules(["spiffe://example.org/{{identity.entity.name}}"], are_templates=True)
    assert not uris.allow("spiffe://example.org/root", Ann(**{"{{identity.entity.name}}": "*"}))


def test_uris_of_a_template_are_the_callers_own() -> None:
    rules = GlobRules(["spiffe://example.org/{{identity.entity.name}}/*"], are_templates=True)
    assert rules.allow("spiffe://example.org/ann/web", Ann())
    assert not rules.allow("spiffe://example.org/bob/web", Ann())
    assert not rules.allow("spiffe://example.org/ann/web")


# --- patterns, addresses, shapes -------------------------------------------------------------------------------------


def test_nothing_is_allowed_by_an_empty_list() -> None:
    assert not GlobRules([]).allow("")
    assert not GlobRules([""]).allow("")


def test_user_ids_are_the_same_in_any_case_and_serial_numbers_are_not() -> None:
    assert GlobRules(["Ann"], ignores_case=True).allow("aNN")
    assert not GlobRules(["Ann"]).allow("ann")


@settings(max_examples=200, deadline=None)
@given(st.text("ab*", max_size=8), st.text("ab", max_size=10))
def test_a_pattern_matches_as_a_regular_expression_would(pattern: str, text: str) -> None:
    expression = ".*".join(re.escape(part) for part in pattern.split("*"))
    assert Glob(pattern).matches(text) == (re.fullmatch(expression, text) is not None)


def test_a_pattern_of_many_asterisks_takes_no_time() -> None:
    """A regular expression of this would not end before the sun does."""
    assert not Glob("*a" * 100 + "b").matches("a" * 10_000)


@pytest.mark.parametrize(
    ("networks", "address", "is_allowed"),
    [
        ((), "10.0.0.1", True),
        ((), "2001:db8::1", True),
        (("10.0.0.0/8",), "10.1.2.3", True),
        (("10.0.0.0/8",), "11.0.0.1", False),
        (("10.0.0.0/8",), "2001:db8::1", False),
        (("10.0.0.0/8", "2001:db8::/32"), "2001:db8::1", True),
    ],
)
def test_addresses_lie_in_one_of_the_networks(networks: tuple[str, ...], address: str, is_allowed: bool) -> None:
    assert AddressRules(allowed=True, networks=networks).allow(ipaddress.ip_address(address)) == is_allowed
    assert not AddressRules(allowed=False, networks=networks).allow(ipaddress.ip_address(address))


@pytest.mark.parametrize("name", ["10.0.0.1", "1.2.3.4", "999.1.1.1", "*.", "*", "a.*.b", "a.", "", "a_b", "a" * 254])
def test_what_is_no_dns_name(name: str) -> None:
    assert not is_dns_name(name)


@pytest.mark.parametrize("name", ["a_b.example.com", "_dmarc.example.com", "*.a_b.example.com"])
def test_underscores_are_letters_where_host_names_are_not_enforced(name: str) -> None:
    assert is_dns_name(name, is_loose=True)
    assert not is_dns_name(name)


@pytest.mark.parametrize(
    ("name", "converted"),
    [
        ("b\u00fccher.example", "xn--bcher-kva.example"),
        ("B\u00dcCHER.example", "xn--bcher-kva.example"),
        ("stra\u00dfe.example", "xn--strae-oqa.example"),  # IDNA 2008, not "strasse" as in 2003
        ("*.b\u00fccher.example", "*.xn--bcher-kva.example"),
        ("ASCII.example", "ASCII.example"),
    ],
)
def test_u_labels_become_a_labels(name: str, converted: str) -> None:
    assert to_ascii(name) == converted


def test_a_homograph_stays_what_it_is() -> None:
    """Cyrillic a: another name than the Latin one, so it is not that of the domain."""
    converted = to_ascii("ex\u0430mple.com")
    assert converted.startswith("xn--")
    assert not DomainRules(Role(**BARE)).allow(converted)


def test_full_width_letters_and_stops_are_those_of_the_name_that_is_checked() -> None:
    converted = to_ascii("\uff45xample\u3002com")
    assert converted == "example.com"
    assert is_host_name(converted)


# --- the model --------------------------------------------------------------------------------------------------------

LABELS = st.lists(st.sampled_from(["a", "b", "*", "a*", "ab", "*b", "a-", "a@b", "a@a"]), max_size=4)
NAMES = st.one_of(st.text(alphabet="ab*.@-", max_size=9), LABELS.map(".".join))
DOMAINS = st.lists(st.sampled_from(["a.b", "b", "a*.b", "*.a", "a@b", "b.a"]), max_size=2)


def model(role: Role, name: str) -> bool:
    """The rules as OpenBao's documentation tells them, one after the other, for names of a, b, *, ., @ and -."""
    local_part, at, after = name.partition("@")
    host = after if at else name
    if at and (not local_part or "@" in after or "*" in host):
        return False
    labels = host.split(".")
    if not all(re.fullmatch(r"[ab]([ab-]*[ab])?", part) for part in labels[1:]):
        return False
    if "*" in labels[0]:
        before, _, behind = labels[0].partition("*")
        is_whole = re.fullmatch(r"([ab][ab-]*)?", before) and re.fullmatch(r"([ab-]*[ab])?", behind)
        if not is_whole or len(labels) < 2 or not role.allow_wildcard_certificates:
            return False
    elif not re.fullmatch(r"[ab]([ab-]*[ab])?", labels[0]):
        return False
    return role.allow_any_name or any(by_domain(role, name, labels, at, domain) for domain in role.allowed_domains)


def by_domain(role: Role, name: str, labels: list[str], at: str, domain: str) -> bool:
    host = ".".join(labels)
    if role.allow_bare_domains and domain in {name, host if at else name}:
        return True
    if role.allow_subdomains and (host.endswith("." + domain) and "*" not in domain and "@" not in domain):
        return True
    if not role.allow_glob_domains or "*" not in domain:
        return False
    expression = ".*".join(re.escape(part) for part in domain.split("*"))
    return all(re.fullmatch(expression, text) for text in ((name, host) if at and "@" not in domain else (name,)))


@settings(max_examples=400, deadline=None)
@given(NAMES, DOMAINS, st.tuples(*[st.booleans()] * 5))
def test_a_role_allows_what_the_model_allows(name: str, domains: list[str], flags: tuple[bool, ...]) -> None:
    role = Role(
        allowed_domains=tuple(domains),
        allow_bare_domains=flags[0],
        allow_subdomains=flags[1],
        allow_glob_domains=flags[2],
        allow_wildcard_certificates=flags[3],
        allow_any_name=flags[4] and not any(flags[:3]),
        allow_localhost=False,
    )
    assert DomainRules(role).allow(name) == model(role, name)
