"""URLs that certificates name: absolute ones that a client can fetch, and templates whose parts are known."""

import re
from urllib.parse import urlsplit

from core.errors import InvalidRequestError
from pki.authority import ClusterPaths, Urls

_LONGEST = 1024  # characters
_MOST = 32
_SCHEMES = ("http", "https", "ldap", "ldaps")
_PART = re.compile(r"\{\{[^{}]*\}\}")
_KNOWN = {"{{issuer_id}}": "id", "{{cluster_path}}": "", "{{cluster_aia_path}}": ""}


def check_urls(urls: Urls, cluster: ClusterPaths) -> list[str]:
    """Raise InvalidRequestError for one that cannot be one; answers what to warn of."""
    for member in ("issuing_certificates", "crl_distribution_points", "delta_crl_distribution_points", "ocsp_servers"):
        given: tuple[str, ...] = getattr(urls, member)
        if len(given) > _MOST:
            raise InvalidRequestError(f"{member} has at most {_MOST} URLs")
        for url in given:
            _check(member, url, cluster, is_template=urls.enable_templating)
    if not urls.enable_templating and any("{{" in url for url in _all(urls)):
        return ["a URL has braces as a template has, and templating is off: it stands in certificates as it is"]
    return []


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
        values = {**_KNOWN, "{{cluster_path}}": cluster.path, "{{cluster_aia_path}}": cluster.aia_path}
        for part in _PART.findall(url):
            if part not in values:
                raise InvalidRequestError(f"{member}: the parts of a template are {', '.join(_KNOWN)}")
            if not values[part]:
                raise InvalidRequestError(f"{member} uses {part}: write config/cluster first")
            filled = filled.replace(part, values[part])
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
