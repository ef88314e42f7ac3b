"""What of a PKI mount needs a look: CAs that end, CRLs that are old, roles that are too generous."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509

from client.errors import AbsentError
from client.pages import detailed_rows
from client.pki_certificate import certificate_of, distance
from client.pki_options import pki_path
from client.pki_verify import is_self_issued

if TYPE_CHECKING:
    from collections.abc import Iterator

    from client.api import Client, JsonObject

Finding = tuple[str, str, str]  # how bad, what, why and what to do
_ROOT_SOON, _BELOW_SOON = timedelta(days=365), timedelta(days=60)
_LONG = 90 * 86400  # seconds; longer than that is no short-lived certificate
_STRONG = 3072


def findings(client: "Client", mount: str, now: datetime) -> "Iterator[Finding]":
    """All of them, each as it is found."""
    yield from _issuers(client, mount, now)
    yield from _config(client, mount)
    yield from _roles(client, mount)


def _names(client: "Client", path: str) -> list[str]:
    try:
        return [name for name, _ in detailed_rows(client.list(path))]
    except AbsentError:
        return []


def _read(client: "Client", path: str) -> "JsonObject":
    try:
        return client.read(path).data
    except AbsentError:
        return {}


def _issuers(client: "Client", mount: str, now: datetime) -> "Iterator[Finding]":
    ids = _names(client, pki_path(mount, "issuers"))
    if not ids:
        yield "critical", mount, "there is no issuer: run `mimir pki init`"
    for issuer_id in ids:
        data = _read(client, pki_path(mount, "issuer", issuer_id))
        name = str(data.get("issuer_name") or issuer_id)
        certificate = certificate_of(data.get("certificate"), what="certificate")
        if data.get("revoked"):
            continue
        yield from about_issuer(name, certificate, str(data.get("usage") or ""), now)
        if "crl-signing" in str(data.get("usage") or ""):
            yield from _crl(client, mount, issuer_id, name, now)
    if ids and not _read(client, pki_path(mount, "config", "issuers")).get("default"):
        yield "warning", mount, "no issuer is the default: `mimir pki issuer default REF`"


def about_issuer(name: str, certificate: x509.Certificate, usage: str, now: datetime) -> "Iterator[Finding]":
    """Whether it ends soon, and whether a root signs more than it should."""
    end = certificate.not_valid_after_utc
    is_root = is_self_issued(certificate)
    what = f"issuer {name}"
    if end <= now:
        yield "critical", what, f"it ended {distance(end, now)}: make another one and delete this one"
    elif end - now < (_ROOT_SOON if is_root else _BELOW_SOON):
        step = "`mimir pki root rotate`" if is_root else "`mimir pki intermediate generate`"
        yield "warning", what, f"it ends {distance(end, now)}: make the next one now, with {step}"
    if is_root and "issuing-certificates" in usage:
        command = f"`mimir pki issuer write {name} usage=read-only,crl-signing,ocsp-signing`"
        yield "notice", what, f"a root that signs certificates: use an intermediate, and {command}"


def _crl(client: "Client", mount: str, issuer_id: str, name: str, now: datetime) -> "Iterator[Finding]":
    what = f"CRL of {name}"
    text = str(_read(client, pki_path(mount, "issuer", issuer_id, "crl")).get("crl") or "")
    try:
        crl = x509.load_pem_x509_crl(text.encode())
    except ValueError:
        yield "warning", what, "there is none: `mimir pki crl rotate`"
        return
    end = crl.next_update_utc
    if end is not None and end <= now:
        yield "critical", what, f"it ended {distance(end, now)}: `mimir pki crl rotate`"
    if len(crl) > 10_000:
        yield "notice", what, f"it lists {len(crl)} certificates: shorter lifetimes and `mimir pki tidy auto` shrink it"


def _config(client: "Client", mount: str) -> "Iterator[Finding]":
    crl = _read(client, pki_path(mount, "config", "crl"))
    if crl.get("disable"):
        yield "warning", "CRLs", "they are switched off: `mimir pki crl config disable=false`"
    urls = _read(client, pki_path(mount, "config", "urls"))
    if not urls.get("ocsp_servers") and not urls.get("crl_distribution_points"):
        yield "warning", "URLs", "certificates say nowhere how to see if they are revoked: see `mimir pki urls --help`"
    if not _read(client, pki_path(mount, "config", "auto-tidy")).get("enabled"):
        yield "notice", "tidy", "nothing is dropped on its own: `mimir pki tidy auto enabled=true tidy_cert_store=true`"


def _roles(client: "Client", mount: str) -> "Iterator[Finding]":
    for name in _names(client, pki_path(mount, "roles")):
        yield from about_role(name, _read(client, pki_path(mount, "roles", name)))


def about_role(name: str, role: "JsonObject") -> "Iterator[Finding]":
    """What a role allows and probably should not."""
    what = f"role {name}"
    if role.get("allow_any_name"):
        yield "warning", what, "it allows any name: name domains with allowed_domains and allow_any_name=false"
    if role.get("allow_localhost") and role.get("server_flag", True):
        yield "notice", what, "it allows localhost: allow_localhost=false"
    if role.get("allow_glob_domains") and any(
        str(domain).startswith("*") for domain in role.get("allowed_domains") or ()
    ):
        yield "warning", what, "an allowed domain begins with an asterisk: use allow_subdomains=true instead"
    if role.get("enforce_hostnames") is False:
        yield "notice", what, "names need not be host names: enforce_hostnames=true"
    longest = role.get("max_ttl") or role.get("ttl") or 0
    if isinstance(longest, int) and longest > _LONG:
        yield "notice", what, f"certificates may be valid for {longest // 86400} days: lower max_ttl"
    if role.get("no_store"):
        yield "notice", what, "its certificates are not stored, so they cannot be found, nor revoked by serial number"
    if role.get("key_type") == "rsa" and 0 < int(role.get("key_bits") or 0) < _STRONG:
        yield "notice", what, f"RSA keys of {role.get('key_bits')} bits: key_type=ec is faster and stronger"


def worst(found: list[Finding]) -> str:
    """The worst there is; "" for none."""
    return next((level for level in ("critical", "warning", "notice") if any(one[0] == level for one in found)), "")
