"""The certification authority that the scenarios of pki use: an EC root at pki/, and roles that store or do not."""

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from bench.http_api import Api

NAME = "web.example.com"
STORED, UNSTORED = "stored", "unstored"
_YEARS = "87600h"


def make_authority(api: Api) -> None:
    """The mount, its root and its roles, unless they are there. The key is in the HSM where the server has one."""
    if "pki/" in api.call("GET", "sys/mounts")["data"]:
        return
    api.call("POST", "sys/mounts/pki", {"type": "pki", "config": {"max_lease_ttl": _YEARS}})
    root = {"common_name": "bench root", "key_type": "ec", "key_bits": 256, "ttl": _YEARS}
    api.call("POST", "pki/root/generate/internal", root)
    for role in (STORED, UNSTORED):
        rules = {"allowed_domains": "example.com", "allow_subdomains": True, "key_type": "ec", "key_bits": 256}
        api.call("POST", f"pki/roles/{role}", {**rules, "max_ttl": "720h", "no_store": role == UNSTORED})


def new_csr() -> str:
    """A request for NAME with a P-256 key."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    )
    names = x509.SubjectAlternativeName([x509.DNSName(NAME)])
    csr = builder.add_extension(names, critical=False).sign(ec.generate_private_key(ec.SECP256R1()), SHA256())
    return csr.public_bytes(Encoding.PEM).decode()


def ocsp_question(api: Api) -> bytes:
    """Whether a certificate that was just issued still holds. Clients name issuers by SHA-1 (RFC 5019, 2.1.1)."""
    made = api.call("POST", f"pki/issue/{STORED}", {"common_name": NAME, "ttl": "24h"})["data"]
    leaf, issuer = (x509.load_pem_x509_certificate(made[name].encode()) for name in ("certificate", "issuing_ca"))
    question = ocsp.OCSPRequestBuilder().add_certificate(leaf, issuer, SHA1())  # noqa: S303 - see above
    return question.build().public_bytes(Encoding.DER)


def says_good(answer: bytes) -> bool:
    """Whether it is an OCSP answer that says so."""
    read = ocsp.load_der_ocsp_response(answer)
    successful = read.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL
    return successful and read.certificate_status is ocsp.OCSPCertStatus.GOOD
