"""Where certificates say that more is to be found: an issuer's own URLs or the mount's, templates filled in."""

from pki.authority import Authority, Issuer, Urls


def urls_for(issuer: Issuer, authority: Authority) -> Urls:
    """What stands in certificates of this issuer."""
    urls = authority.index.urls if issuer.row.urls.is_empty else issuer.row.urls
    if not urls.enable_templating:
        return urls
    cluster = authority.index.cluster
    values = {
        "{{issuer_id}}": issuer.issuer_id,
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
        template = template.replace(part, value)
    return template
