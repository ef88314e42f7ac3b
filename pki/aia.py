"""Where certificates say that more is to be found: an issuer's own URLs or the mount's, templates filled in.

A template is filled in when something is signed, never before, so that it follows `config/cluster`. One whose value is
missing by then is an error: a certificate with half a URL in it could not be mended any more.
"""

from pki.authority import Authority, ClusterPaths, Issuer, Urls
from pki.url_rules import filled_url, missing_values


def urls_for(issuer: Issuer, authority: Authority) -> Urls:
    """What stands in certificates of this issuer. Raises InvalidRequestError as `filled_urls` does."""
    return filled_urls(_templates(issuer, authority), issuer.issuer_id, authority.index.cluster)


def delta_points_for(issuer: Issuer, authority: Authority) -> tuple[str, ...]:
    """Where its delta CRLs are. Those of which a part is missing are left out: a CRL must come out all the same."""
    urls, cluster = _templates(issuer, authority), authority.index.cluster
    given = urls.delta_crl_distribution_points
    if not urls.enable_templating:
        return given
    whole = [url for url in given if not missing_values([url], cluster)]
    return tuple(filled_url(url, issuer.issuer_id, cluster) for url in whole)


def filled_urls(urls: Urls, issuer_id: str, cluster: ClusterPaths) -> Urls:
    """With its templates filled in, if they are to be. Raises InvalidRequestError when config/cluster lacks a part."""
    if not urls.enable_templating:
        return urls

    def filled(templates: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(filled_url(template, issuer_id, cluster) for template in templates)

    return Urls(
        issuing_certificates=filled(urls.issuing_certificates),
        crl_distribution_points=filled(urls.crl_distribution_points),
        delta_crl_distribution_points=filled(urls.delta_crl_distribution_points),
        ocsp_servers=filled(urls.ocsp_servers),
    )


def _templates(issuer: Issuer, authority: Authority) -> Urls:
    return authority.index.urls if issuer.row.urls.is_empty else issuer.row.urls
