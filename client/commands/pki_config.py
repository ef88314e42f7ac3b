"""`mimir pki urls|cluster`: where others find CRL, OCSP and issuers."""

from client.output import show
from client.pki_options import body_of, members_argument, mount_option, pki_command, pki_path
from client.session import Session, pass_session
from client.table import duration, key_values, sorted_items

_TIMES = ("_buffer", "_duration", "_period", "_interval")


def read_or_write(session: Session, mount: str, name: str, members: tuple[str, ...]) -> None:
    """A configuration: shown when nothing is given, changed otherwise."""
    path = pki_path(mount, "config", name)
    body = body_of(session, members)
    client = session.client()
    answer = client.request("POST", path, body=body) if body else client.read(path)
    show(session, answer, lambda found: key_values(_rows(found.data)) if found.data else "Success! It is changed.")


def _rows(data: dict[str, object]) -> list[tuple[str, object]]:
    return [(name, duration(value) if name.endswith(_TIMES) else value) for name, value in sorted_items(data)]


@pki_command(
    "urls",
    examples=(
        "mimir pki urls",
        "mimir pki urls ocsp_servers=http://pki.example.internal:8200/v1/pki/ocsp",
        "mimir pki urls enable_templating=true issuing_certificates='{{cluster_aia_path}}/issuer/{{issuer_id}}/der'",
    ),
)
@members_argument
@mount_option
@pass_session
def urls(session: Session, members: tuple[str, ...], mount: str) -> None:
    """Show or change the URLs that certificates carry: issuing_certificates, crl_distribution_points, ocsp_servers."""
    read_or_write(session, mount, "urls", members)


@pki_command(
    "cluster",
    examples=(
        "mimir pki cluster",
        "mimir pki cluster path=https://mimir.example.internal:8200/v1/pki aia_path=http://pki.example.internal/v1/pki",
    ),
)
@members_argument
@mount_option
@pass_session
def cluster(session: Session, members: tuple[str, ...], mount: str) -> None:
    """Show or change where this mount is reached; templates of `mimir pki urls` stand on it."""
    read_or_write(session, mount, "cluster", members)
