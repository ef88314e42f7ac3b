"""`mimir pki init`: what a mount has, what it still needs, and how each step is done.

One mount holds the root and the intermediate. The root signs the intermediate and is then restricted to CRLs and OCSP;
the intermediate is the default issuer. Each step looks at what is there and does what is missing, so a run that was
interrupted is gone on with by the next, and a run where nothing is missing changes nothing.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from client.errors import AbsentError, LocalError
from client.pages import detailed_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from client.api import Client, JsonObject

ROOT, INTERMEDIATE = "root", "intermediate"
_AFTER_SIGNING = "read-only,crl-signing,ocsp-signing"
_MAY_SIGN = "issuing-certificates"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What was asked for; times as the API takes them."""

    mount: str
    domain: str
    role: str
    name: str  # what the CAs are called: "<name> Root CA", "<name> Issuing CA"
    url: str  # of the mount, for those who look for CRL and OCSP; "" for none
    key_type: str
    root_bits: int
    intermediate_bits: int
    root_ttl: str = "87600h"
    intermediate_ttl: str = "26280h"
    ttl: str = "24h"
    max_ttl: str = "72h"


@dataclass(slots=True, kw_only=True)
class Found:
    """What is there."""

    mounted: bool = False
    issuers: "dict[str, JsonObject]" = field(default_factory=dict)  # by id, as read
    keys: dict[str, str] = field(default_factory=dict)  # ids by name
    default: str = ""
    has_urls: bool = False
    tidies: bool = False
    has_role: bool = False
    has_certificate: bool = False

    def issuer(self, name: str) -> "JsonObject | None":
        """By its name, or, before it was given one, by the key made for it."""
        key_id = self.keys.get(name)
        for issuer in self.issuers.values():
            if issuer.get("issuer_name") == name or (key_id and issuer.get("key_id") == key_id):
                return issuer
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One of them: what it makes, whether that is there."""

    name: str
    says: str
    is_there: bool
    do: "Callable[[Client, Wishes, Found], None]"


def look(client: "Client", wishes: Wishes) -> Found:
    """Read what is there. LocalError when something else is mounted under that name."""
    found = Found()
    mounts = client.read("sys/mounts").data
    known = mounts.get(f"{wishes.mount}/")
    if not isinstance(known, dict):
        return found
    if known.get("type") != "pki":
        raise LocalError(f"{wishes.mount}/ is of type {known.get('type')}, not pki: name another --mount")
    found.mounted = True
    found.issuers = {name: _read(client, wishes, f"issuer/{name}") for name, _ in _listed(client, wishes, "issuers")}
    found.keys = {str(info.get("key_name")): key_id for key_id, info in _listed(client, wishes, "keys")}
    found.default = str(_read(client, wishes, "config/issuers").get("default") or "")
    found.has_urls = any(_read(client, wishes, "config/urls").get(name) for name in _URLS)
    found.tidies = bool(_read(client, wishes, "config/auto-tidy").get("enabled"))
    found.has_role = bool(_read(client, wishes, f"roles/{wishes.role}"))
    found.has_certificate = _has_certificate(client, wishes)
    return found


def _has_certificate(client: "Client", wishes: Wishes) -> bool:
    query = {"role": wishes.role, "state": "all", "limit": "1"}
    try:
        return bool(client.read(f"{wishes.mount}/inventory", query).data.get("certificates"))
    except AbsentError:
        return False


def _read(client: "Client", wishes: Wishes, path: str) -> "JsonObject":
    try:
        return client.read(f"{wishes.mount}/{path}").data
    except AbsentError:
        return {}


def _listed(client: "Client", wishes: Wishes, path: str) -> "list[tuple[str, JsonObject]]":
    try:
        return list(detailed_rows(client.list(f"{wishes.mount}/{path}")))
    except AbsentError:
        return []


def check_ours(found: Found, wishes: Wishes) -> None:
    """LocalError if the mount has CAs that were made otherwise: those are not touched."""
    if found.issuers and found.issuer(ROOT) is None:
        raise LocalError(
            f"{wishes.mount}/ has issuers already, and none of them is called {ROOT}: they are left alone. "
            f"Name another --mount, or go on by hand with `mimir pki issuer list -mount={wishes.mount}`"
        )


def steps(found: Found, wishes: Wishes) -> list[Step]:
    """All of them in their order."""
    root, below = found.issuer(ROOT), found.issuer(INTERMEDIATE)
    where = f"{wishes.url or 'none'}"
    return [
        Step(name="mount", says=f"a pki engine at {wishes.mount}/", is_there=found.mounted, do=_mount),
        Step(
            name="urls", says=f"CRL, OCSP and issuers at {where}", is_there=found.has_urls or not wishes.url, do=_urls
        ),
        Step(name="tidy", says="certificates are dropped 30 days after their end", is_there=found.tidies, do=_tidy),
        Step(name="root", says=f"{wishes.name} Root CA, {wishes.root_ttl}", is_there=root is not None, do=_root),
        Step(
            name="intermediate",
            says=f"{wishes.name} Issuing CA, {wishes.intermediate_ttl}, signs no CAs",
            is_there=below is not None and below.get("issuer_name") == INTERMEDIATE,
            do=_intermediate,
        ),
        Step(
            name="default",
            says="the intermediate signs when no issuer is named",
            is_there=below is not None and found.default == below.get("issuer_id"),
            do=_default,
        ),
        Step(
            name="usage",
            says="the root signs CRLs and OCSP alone from now on",
            is_there=root is not None and _MAY_SIGN not in str(root.get("usage")),
            do=_usage,
        ),
        Step(
            name="role",
            says=f"{wishes.role}: {wishes.domain} and below, {wishes.ttl}, at most {wishes.max_ttl}",
            is_there=found.has_role,
            do=_role,
        ),
    ]


_URLS = ("issuing_certificates", "crl_distribution_points", "ocsp_servers")


def _post(client: "Client", path: str, body: "JsonObject") -> "JsonObject":
    return client.request("POST", path, body=body).data


def _mount(client: "Client", wishes: Wishes, _found: Found) -> None:
    config = {"max_lease_ttl": wishes.root_ttl}  # the root lives no longer than the mount allows
    _post(client, f"sys/mounts/{wishes.mount}", {"type": "pki", "config": config})


def _urls(client: "Client", wishes: Wishes, _found: Found) -> None:
    _post(client, f"{wishes.mount}/config/cluster", {"path": wishes.url, "aia_path": wishes.url})
    body = {
        "enable_templating": True,
        "issuing_certificates": "{{cluster_aia_path}}/issuer/{{issuer_id}}/der",
        "crl_distribution_points": "{{cluster_aia_path}}/issuer/{{issuer_id}}/crl/der",
        "ocsp_servers": "{{cluster_aia_path}}/ocsp",
    }
    _post(client, f"{wishes.mount}/config/urls", body)


def _tidy(client: "Client", wishes: Wishes, _found: Found) -> None:
    body = {"enabled": True, "tidy_cert_store": True, "tidy_revoked_certs": True, "safety_buffer": "720h"}
    _post(client, f"{wishes.mount}/config/auto-tidy", body)


def _root(client: "Client", wishes: Wishes, _found: Found) -> None:
    body = {
        "common_name": f"{wishes.name} Root CA",
        "issuer_name": ROOT,
        "key_name": ROOT,
        "key_type": wishes.key_type,
        "key_bits": wishes.root_bits,
        "ttl": wishes.root_ttl,
        "max_path_length": 1,
        "exclude_cn_from_sans": True,
    }
    _post(client, f"{wishes.mount}/root/generate/internal", body)


def _intermediate(client: "Client", wishes: Wishes, found: Found) -> None:
    """Key and CSR, certificate, import, name: whichever of them is missing."""
    if found.issuer(INTERMEDIATE) is None:
        csr = _intermediate_csr(client, wishes, found)
        signed = _post(client, f"{wishes.mount}/issuer/{ROOT}/sign-intermediate", _intermediate_body(wishes, csr))
        _post(client, f"{wishes.mount}/intermediate/set-signed", {"certificate": signed.get("certificate")})
        found.issuers, found.keys = _again(client, wishes)
    below = found.issuer(INTERMEDIATE)
    if below is None:
        raise LocalError("the intermediate is signed, but is not among the issuers: see `mimir pki issuer list`")
    client.merge(f"{wishes.mount}/issuer/{below['issuer_id']}", {"issuer_name": INTERMEDIATE})


def _intermediate_csr(client: "Client", wishes: Wishes, found: Found) -> object:
    body: JsonObject = {"common_name": f"{wishes.name} Issuing CA", "exclude_cn_from_sans": True}
    if INTERMEDIATE in found.keys:  # an earlier run came so far
        body |= {"key_ref": INTERMEDIATE}
        return _post(client, f"{wishes.mount}/intermediate/generate/existing", body).get("csr")
    body |= {"key_name": INTERMEDIATE, "key_type": wishes.key_type, "key_bits": wishes.intermediate_bits}
    return _post(client, f"{wishes.mount}/intermediate/generate/internal", body).get("csr")


def _intermediate_body(wishes: Wishes, csr: object) -> "JsonObject":
    return {
        "csr": csr,
        "common_name": f"{wishes.name} Issuing CA",
        "ttl": wishes.intermediate_ttl,
        "max_path_length": 0,
        "exclude_cn_from_sans": True,
    }


def _again(client: "Client", wishes: Wishes) -> "tuple[dict[str, JsonObject], dict[str, str]]":
    found = look(client, wishes)
    return found.issuers, found.keys


def _default(client: "Client", wishes: Wishes, _found: Found) -> None:
    _post(client, f"{wishes.mount}/config/issuers", {"default": INTERMEDIATE})


def _usage(client: "Client", wishes: Wishes, _found: Found) -> None:
    client.merge(f"{wishes.mount}/issuer/{ROOT}", {"usage": _AFTER_SIGNING})


def _role(client: "Client", wishes: Wishes, _found: Found) -> None:
    body = {
        "allowed_domains": [wishes.domain],
        "allow_bare_domains": True,
        "allow_subdomains": True,
        "allow_localhost": False,
        "allow_ip_sans": False,  # an address says nothing of who has it tomorrow
        "allow_wildcard_certificates": False,
        "server_flag": True,
        "client_flag": True,
        "key_type": "any",  # what clients make themselves; P-256 where nothing is asked for
        "key_usage": ["DigitalSignature"],
        "require_cn": False,
        "ttl": wishes.ttl,
        "max_ttl": wishes.max_ttl,
    }
    _post(client, f"{wishes.mount}/roles/{wishes.role}", body)
