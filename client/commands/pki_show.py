"""`mimir pki show`: a certificate or CSR for people."""

from typing import TYPE_CHECKING

import click

from client.errors import LocalError
from client.output import show_value
from client.pki_options import file_bytes, is_file, mount_option, name_part, pki_command, pki_path, plain_client
from client.session import Session, pass_session
from client.table import key_values

if TYPE_CHECKING:
    from client.api import JsonObject


@pki_command(
    "show",
    examples=(
        "mimir pki show /etc/app/tls/cert.pem",
        "mimir pki show 39:dd:2e:90:b7:23:1f:8d:d3:7d:31:c5:1b:da:84:d0",
        "mimir pki show default",
        "openssl s_client -connect app.example.internal:443 </dev/null | mimir pki show -",
    ),
)
@click.argument("what", metavar="FILE|SERIAL|ISSUER|-", default="default")
@mount_option
@pass_session
def show_(session: Session, what: str, mount: str) -> None:
    """Show certificates or a CSR: names, validity, key, usages, where CRL and OCSP are, and if it is revoked.

    A file is read on this machine and nobody is asked; a serial number or an issuer (default, a name, an id) is fetched
    from the appliance. The issuer named `default` is what is shown when nothing is named.
    """
    found = _of_file(session, what) if is_file(what) else _of_appliance(session, what, mount)
    text = "\n\n".join(key_values(_rows(part)) for part in found)
    show_value(session, found[0] if len(found) == 1 else {"certificates": found}, text)


def _rows(part: "JsonObject") -> list[tuple[str, object]]:
    return [(name, value) for name, value in part.items() if name not in {"certificate", "ca_chain"}]


def _of_file(session: Session, name: str) -> "list[JsonObject]":
    from cryptography import x509

    from client.pki_certificate import certificates_in, pem_blocks
    from client.pki_extensions import describe, describe_csr, now_utc

    content = file_bytes(session, name)
    _ = session.format
    labels = {label for label, _ in pem_blocks(content)}
    where = "standard input" if name == "-" else name
    if labels & {"CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"}:
        try:
            return [describe_csr(x509.load_pem_x509_csr(content))]
        except ValueError as exc:
            raise LocalError(f"the CSR in {where} cannot be read") from exc
    if labels and all("KEY" in label for label in labels):
        raise LocalError(f"{where} holds a key and no certificate: name the file of its certificate")
    now = now_utc()
    return [describe(certificate, now) for certificate in certificates_in(content, what=where)]


def _of_appliance(session: Session, what: str, mount: str) -> "list[JsonObject]":
    from client.pki_certificate import certificate_of, is_serial
    from client.pki_extensions import describe, now_utc

    client = plain_client(session, "show")
    if is_serial(what):
        data = client.read(pki_path(mount, "cert", what)).data
    elif "/" in what or "." in what:
        raise LocalError(f"there is no file {what!r}; an issuer has a name without slashes and dots")
    else:
        data = client.read(pki_path(mount, "issuer", name_part(what, "issuer"))).data
    found = describe(certificate_of(data.get("certificate"), what="certificate"), now_utc())
    return [found | _known(data)]


def _known(data: "JsonObject") -> "JsonObject":
    """What the appliance knows besides: whether it is revoked, and of an issuer what it may do."""
    from client.pki_certificate import certificates_in, subject_text

    known: JsonObject = {"revoked": _revocation(data)}
    known |= {name: data[name] for name in ("issuer_id", "issuer_name", "key_id", "usage") if data.get(name)}
    chain = data.get("ca_chain")
    if isinstance(chain, list) and chain:
        certificates = [ca for text in chain for ca in certificates_in(str(text).encode(), what="ca_chain")]
        known["chain"] = [subject_text(ca.subject) for ca in certificates]
    return known | {name: data[name] for name in ("certificate", "ca_chain") if data.get(name)}


def _revocation(data: "JsonObject") -> str:
    when = data.get("revocation_time_rfc3339")
    if data.get("revoked") is True or data.get("revocation_time"):
        reason = data.get("revocation_reason") or data.get("reason")
        return f"yes, {when or data.get('revocation_time')}" + (f" ({reason})" if reason else "")
    return "no"
