"""A certificate that was named by file or serial number, and the CA here that signed it."""

from typing import TYPE_CHECKING

from client.errors import LocalError
from client.pki_certificate import certificate_of, certificates_in, is_serial, subject_text
from client.pki_options import file_bytes, is_file, pki_path
from client.pki_verify import check_link

if TYPE_CHECKING:
    from cryptography import x509

    from client.api import Client
    from client.session import Session


def find_certificate(session: "Session", client: "Client", mount: str, what: str) -> "x509.Certificate":
    """From a file, from standard input, or from the appliance."""
    if is_file(what):
        return certificates_in(file_bytes(session, what), what=what)[0]
    if not is_serial(what):
        raise LocalError(f"{what!r} is neither a file nor a serial number, which is written as 39:dd:2e:90:…")
    return certificate_of(client.read(pki_path(mount, "cert", what)).data.get("certificate"), what="certificate")


def find_issuer(client: "Client", mount: str, certificate: "x509.Certificate") -> "x509.Certificate":
    """The CA of the mount whose key signed it. LocalError if there is none."""
    for issuer_id in client.list(pki_path(mount, "issuers")).data.get("keys") or []:
        data = client.read(pki_path(mount, "issuer", str(issuer_id))).data
        found = certificate_of(data.get("certificate"), what="certificate")
        if found.subject != certificate.issuer:
            continue
        try:
            check_link(certificate, found)
        except LocalError:  # another key under the same name
            continue
        return found
    raise LocalError(f"no issuer of {mount}/ signed this certificate, which is of {subject_text(certificate.issuer)}")
