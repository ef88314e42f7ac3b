"""The same requests to pki at a real OpenBao and at Mimir: statuses alike, and answers that say the same.

The requests are in pki_requests/, in the lines that `tests.clients.beside` reads; a reason is one of `ACCEPTED`. $M is
the mount. Certificates are compared by what they say (`tests.clients.x509_described`), refusals by their status.
"""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.clients.bao import Bao
from tests.clients.beside import Caller, Reply, faults_of, scripts
from tests.clients.x509_described import described

pytestmark = pytest.mark.heavy  # needs another server's program

SCRIPTS = scripts(Path(__file__).with_name("pki_requests"))
ACCEPTED = {
    "acme": "there is no ACME",
    "again": "what is imported again under its own name is answered as what is there",
    "aia": "templates of URLs hold for roots, too",
    "algorithm": "how CRLs are signed is shown even after a write that did not say it",
    "case": "names are compared without regard to letter case",
    "chain type": "a chain in PEM is called one (OpenBao: application/pkix-cert, which is DER)",
    "cross": "a request to cross-sign names the key as its present certificates do",
    "curves": "P-224 is none",
    "default": "a key or issuer cannot have the name default",
    "deleted": "what is deleted is 204 when there is nothing to warn of",
    "deltas": "there are none while they are not enabled; they reach back a little before the full CRL",
    "empty": "a word that is empty is the default, or not given",
    "formats": "what is no format is refused",
    "gone": "what is not there is as good as deleted, without a warning",
    "hosts": "a common name that is no host is no DNS name of a CA",
    "lists": "a list of names may be a list",
    "moments": "what is no moment is refused when it is written",
    "no urls": "a list of no URLs is empty, never null",
    "nobody": "a certificate without a subject and without names is refused",
    "null": "a member of a patch that is null has its default again, whatever its type",
    "outlive": "a CA never outlives its issuer",
    "path length": "a path length that the issuer does not allow is refused",
    "raw": "CRLs are to be had below cert/ as they are, too, as CA certificates",
    "revoked roots": "a revoked root is on no CRL, and not in the list of what is",
    "self issued": "the answer also tells the serial number and the end",
    "signature bits": "the curve decides, as Vault says; sizes of hashes that there are none of are refused",
    "subject": "a CA needs a subject",
    "twice": "no two keys have one name",
    "unknown": "what is unknown is 404",
    "vault": "Vault has it, OpenBao has not",
    "verbatim": "alternative names are those of the request",
    "warnings": "who revokes a root again is warned again; of unknown members, or a ttl never given, nobody is",
    "wildcards": "a wildcard that is allowed as common name is an alternative name, too",
}
OURS_ALONE = frozenset(
    {"custody", "enable_aia_url_templating", "issuer_id", "key_name", "kind", "not_before", "ocsp_delegated", "reason"}
)
UNSEEN = frozenset({"request_id", "mount_type", "lease_id"})


@pytest.mark.parametrize("script", SCRIPTS)
def test_requests_see_no_difference(ours: Bao, theirs: Bao, script: str) -> None:
    mount = f"beside-{script}"
    merge = "application/merge-patch+json"
    kept = {"M": mount, **requests(), **midnights()}
    callers = [Caller(server, mount, kept=dict(kept), patch_type=merge) for server in (theirs, ours)]
    for caller in callers:
        made = caller.ask(f'POST /sys/mounts/{mount} {{"type":"pki","config":{{"max_lease_ttl":"87600h"}}}}')
        assert made.status == 204, made.errors
    faults = faults_of(SCRIPTS[script], *callers, accepted=ACCEPTED, compare=differences)
    assert not faults, "\n".join(faults)


@cache
def requests() -> dict[str, str]:
    """CSRs by the letter that a line names them with."""
    plain, other = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1())
    names: list[x509.GeneralName] = [x509.DNSName("csr.example.com"), x509.IPAddress(ipaddress.ip_address("10.9.9.9"))]
    found = {
        "P": _csr(plain, "csr.example.com", names),
        "Q": _csr(other, "other.example.org", []),
        "R": _csr(rsa.generate_private_key(65537, 2048), "rsa.example.com", []),
        "W": _csr(rsa.generate_private_key(65537, 1024), "weak.example.com", []),  # noqa: S505 - to be refused
        "E": _csr(ed25519.Ed25519PrivateKey.generate(), "ed.example.com", [x509.DNSName("ed.example.com")]),
        "U": _csr(plain, "", [x509.UniformResourceIdentifier("spiffe://example.org/web")]),
    }
    broken = x509.load_pem_x509_csr(found["P"].encode()).public_bytes(Encoding.DER)
    from base64 import encodebytes

    mended = broken[:-1] + bytes([broken[-1] ^ 1])
    text = encodebytes(mended).decode()
    found["B"] = f"-----BEGIN CERTIFICATE REQUEST-----\n{text}-----END CERTIFICATE REQUEST-----\n"
    return found


def midnights() -> dict[str, str]:
    """Moments by the letters that lines name them with: sooner than a role's 72 hours, and later."""
    today = datetime.now(UTC)
    return {letter: f"{today + timedelta(days):%Y-%m-%dT00:00:00Z}" for letter, days in (("Y", 2), ("Z", 40))}


def _csr(key: Any, common_name: str, names: list[x509.GeneralName]) -> str:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else []
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, digest).public_bytes(Encoding.PEM).decode()


def differences(theirs: Reply, ours: Reply) -> list[str]:
    """What a client could notice; not that OpenBao calls some of its callers' mistakes its own (500)."""
    if theirs.status == 500 and ours.status in {400, 404}:
        return []
    found = [] if theirs.status == ours.status else [f"status {ours.status}, theirs {theirs.status}"]
    if theirs.content_type != ours.content_type:
        found.append(f"content type {ours.content_type}, theirs {theirs.content_type}")
    if theirs.status >= 400 and ours.status >= 400:
        return found
    if bool(theirs.warnings) != bool(ours.warnings):
        found.append(f"warnings {ours.warnings}, theirs {theirs.warnings}")
    return found + in_value(described(theirs.data), described(ours.data), "")


def in_value(theirs: Any, ours: Any, where: str) -> list[str]:
    """Members, their types and values."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        found = [f"{where}.{name} is missing: {theirs[name]!r}" for name in sorted(theirs.keys() - ours.keys())]
        more = sorted(ours.keys() - theirs.keys() - OURS_ALONE - UNSEEN)
        found += [f"{where}.{name} is more: {ours[name]!r}" for name in more]
        for name in sorted((theirs.keys() & ours.keys()) - UNSEEN):
            found += in_value(theirs[name], ours[name], f"{where}.{name}")
        return found
    if isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        pairs = enumerate(zip(theirs, ours, strict=True))
        return [fault for i, pair in pairs for fault in in_value(*pair, f"{where}[{i}]")]
    return [] if type(theirs) is type(ours) and theirs == ours else [f"{where} is {ours!r}, theirs {theirs!r}"]
