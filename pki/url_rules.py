"""URLs that certificates name: absolute ones that a client can fetch, and templates whose parts are known."""

import re
from urllib.parse import urlsplit

from core.errors import InvalidRequestError
from pki.authority import ClusterPaths, Urls

_LONGEST = 1024  # characters
_MOST = 32
_SCHEMES = ("http", "https", "ldap", "ldaps")
_PART = re.compile(r"\{\{[^{}]*\}\}")
_IN_PLACE = {  # of what is not known yet
    "{{issuer_id}}": "id",
    "{{cluster_path}}": "https://cluster.invalid",
    "{{cluster_aia_path}}": "http://cluster.invalid",
}


def check_urls(urls: Urls, cluster: ClusterPaths) -> list[str]:
    """Raise InvalidRequestError for one that cannot be one; answers what to warn of."""
    for member in ("issuing_certificates", "crl_distribution_points", "delta_crl_distribution_points", "ocsp_servers"):
        given: tuple[str, ...] = getattr(urls, member)
        if len(given) > _MOST:
            raise InvalidRequestError(f"{member} has at most {_MOST} URLs")
        for url in given:
            _check(member, url, cluster, is_template=urls.enable_templating)
    if urls.enable_templating:
        return _about_cluster(urls, cluster)
    if any("{{" in url for url in _all(urls)):
        return ["a URL has braces as a template has, and templating is off: it stands in certificates as it is"]
    return []


def _about_cluster(urls: Urls, cluster: ClusterPaths) -> list[str]:
    """config/cluster may be written later, as in Vault; until then nothing is issued."""
    parts = {"{{cluster_path}}": cluster.path, "{{cluster_aia_path}}": cluster.aia_path}
    lacking = [part for part, path in parts.items() if not path and any(part in url for url in _all(urls))]
    if not lacking:
        return []
    return [f"issuance fails until config/cluster is written, for URLs use {' and '.join(lacking)}"]


def _all(urls: Urls) -> tuple[str, ...]:
    return (
        *urls.issuing_certificates,
        *urls.crl_distribution_points,
        *urls.delta_crl_distribution_points,
        *urls.ocsp_servers,
    )


def _check(member: str, url: str, cluster: ClusterPaths, *, is_template: bool) -> None:
    filled = url
    if is_template:
        values = {**_IN_PLACE, "{{cluster_path}}": cluster.path, "{{cluster_aia_path}}": cluster.aia_path}
        for part in _PART.findall(url):
            if part not in values:
                raise InvalidRequestError(f"{member}: the parts of a template are {', '.join(_IN_PLACE)}")
            filled = filled.replace(part, values[part] or _IN_PLACE[part])
    if not is_absolute_url(filled):
        raise InvalidRequestError(f"invalid URL found in {member}: it must be absolute, like http://ca.example.com/crl")


def is_absolute_url(url: str) -> bool:
    """Whether a client can fetch it."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    is_text = url.isascii() and url.isprintable() and " " not in url and len(url) <= _LONGEST
    return is_text and parts.scheme in _SCHEMES and bool(parts.hostname)
