"""URLs that certificates name: absolute ones that a client can fetch, and templates whose parts are known."""

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from core.errors import InvalidRequestError
from pki.authority import ClusterPaths, Urls

MEMBERS = ("issuing_certificates", "crl_distribution_points", "delta_crl_distribution_points", "ocsp_servers")
_LONGEST = 1024  # characters
_MOST = 32
_SCHEMES = ("http", "https", "ldap", "ldaps")
_PART = re.compile(r"\{\{[^{}]*\}\}")
_ISSUER_ID, _PATH, _AIA_PATH = "{{issuer_id}}", "{{cluster_path}}", "{{cluster_aia_path}}"
_MEMBER_OF = {_PATH: "path", _AIA_PATH: "aia_path"}  # of config/cluster
_SAMPLE = ClusterPaths(path="http://cluster.example.com", aia_path="http://cluster.example.com")


def check_urls(urls: Urls, cluster: ClusterPaths) -> list[str]:
    """Raise InvalidRequestError for one that cannot be one; answers what to warn of."""
    for member in MEMBERS:
        given: tuple[str, ...] = getattr(urls, member)
        if len(given) > _MOST:
            raise InvalidRequestError(f"{member} has at most {_MOST} URLs")
        for url in given:
            _check(member, url, is_template=urls.enable_templating)
    every = [url for member in MEMBERS for url in getattr(urls, member)]
    if urls.enable_templating:
        return [_not_yet(missing) for missing in missing_values(every, cluster)]
    if any("{{" in url for url in every):
        return ["a URL has braces as a template has, and templating is off: it stands in certificates as it is"]
    return []


def missing_values(urls: Iterable[str], cluster: ClusterPaths) -> list[str]:
    """The members of config/cluster that these templates need and that are not set."""
    needed = {part for url in urls for part in _PART.findall(url)}
    return [member for part, member in _MEMBER_OF.items() if part in needed and not getattr(cluster, member)]


def filled_url(template: str, issuer_id: str, cluster: ClusterPaths) -> str:
    """A URL. Raises InvalidRequestError when a value is missing."""
    missing = missing_values([template], cluster)
    if missing:
        raise InvalidRequestError(_lack(missing[0]) + ": write it to config/cluster, or change the URLs of the issuer")
    values = {_ISSUER_ID: issuer_id, _PATH: cluster.path, _AIA_PATH: cluster.aia_path}
    return _PART.sub(lambda part: values.get(part[0], part[0]), template)


def _lack(member: str) -> str:
    return f"unable to template AIA URLs as we lack local cluster address information ({member})"


def _not_yet(member: str) -> str:
    return f"issuance may fail: {_lack(member)}. Consider setting the cluster-local address if it is not already set."


def _check(member: str, url: str, *, is_template: bool) -> None:
    filled = url
    if is_template:
        known = (_ISSUER_ID, *_MEMBER_OF)
        if not set(_PART.findall(url)) <= set(known):
            raise InvalidRequestError(f"{member}: the parts of a template are {', '.join(known)}")
        filled = filled_url(url, "id", _SAMPLE)
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
