"""Where certificates say that more is to be found: an issuer's own URLs or the mount's, templates filled in."""

from core.errors import InvalidRequestError
from pki.authority import Authority, ClusterPaths, Issuer, Urls


def urls_for(issuer: Issuer, authority: Authority) -> Urls:
    """What stands in certificates of this issuer. Raises InvalidRequestError if that cannot be said yet."""
    urls = authority.index.urls if issuer.row.urls.is_empty else issuer.row.urls
    return filled_urls(urls, issuer.issuer_id, authority.index.cluster)


def filled_urls(urls: Urls, issuer_id: str, cluster: ClusterPaths) -> Urls:
    """With its templates filled in, if they are to be. Raises InvalidRequestError if config/cluster lacks a path."""
    if not urls.enable_templating:
        return urls
    values = {
        "{{issuer_id}}": issuer_id,
        "{{cluster_path}}": cluster.path,
        "{{cluster_aia_path}}": cluster.aia_path,
    }

    def filled(templates: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_filled(template, values) for template in templates)

    return Urls(
        issuing_certificates=filled(urls.issuing_certificates),
        crl_distribution_points=filled(urls.crl_distribution_points),
        delta_crl_distribution_points=filled(urls.delta_crl_distribution_points),
        ocsp_servers=filled(urls.ocsp_servers),
    )


def _filled(template: str, values: dict[str, str]) -> str:
    for part, value in values.items():
        if not value and part in template:
            raise InvalidRequestError(f"the URLs of this issuer use {part}: write config/cluster first")
        template = template.replace(part, value)
    return template
