"""What others say of our certificates, CRLs and OCSP answers: pkilint, OpenSSL, GnuTLS and cryptography's verifier.

Each check answers what is wrong, in its own words; nothing wrong is an empty list.
"""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

Main = Callable[[list[str]], int]


@contextlib.contextmanager
def _files(*contents: bytes) -> Iterator[list[str]]:
    with tempfile.TemporaryDirectory(prefix="mimir-checks-") as directory:
        paths = [Path(directory) / f"{place}.pem" for place in range(len(contents))]
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content)
        yield [str(path) for path in paths]


def _pem(certificates: Sequence[x509.Certificate]) -> bytes:
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


# what pkilint finds wrong that is not: wildcards (RFC 9525, 6.3, allows them where RFC 5280 is silent), schemes not
# on its list (RFC 3986, 3.1), policies with qualifiers, which somebody asked for, and keys it does not know
_KNOWN = re.compile(
    r"pkix\.invalid_domain_name_syntax \(ERROR\): Invalid domain name syntax: \"\*\.[a-z0-9.-]+\""
    r"|pkix\.invalid_uri_syntax \(ERROR\): Invalid URI syntax: \"spiffe://[^\"]*\""
    r"|pkix\.certificate_policies_policy_has_qualifier \(NOTICE\)"
    r"|pkix\.unsupported_algorithm \(NOTICE\)"
)


# --- pkilint: the program's own entry points, so that it is run as published ------------------------------------------


def _pkilint(main: Main, options: Sequence[str], *contents: bytes) -> list[str]:
    said = io.StringIO()
    with (
        _files(*contents) as names,
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
        warnings.catch_warnings(action="ignore", category=ResourceWarning),  # it leaves closing its files to Python
    ):
        main(["lint", "-s", "NOTICE", *options, *names])
    lines = (line.strip() for line in said.getvalue().splitlines())
    return [line for line in lines if line and " @ " not in line and not _KNOWN.match(line)]


def lint(certificate: x509.Certificate) -> list[str]:
    """A certificate by RFC 5280 and its kin."""
    from pkilint.bin import lint_pkix_cert

    return _pkilint(lint_pkix_cert.main, [], _pem([certificate]))


def lint_pair(issuer: x509.Certificate, subject: x509.Certificate) -> list[str]:
    """A certificate beside that of its issuer."""
    from pkilint.bin import lint_pkix_signer_signee_cert_chain as pair

    return _pkilint(pair.main, [], _pem([issuer]), _pem([subject]))


def lint_crl(crl: x509.CertificateRevocationList) -> list[str]:
    """A CRL by RFC 5280, 5."""
    from pkilint.bin import lint_crl as program

    return _pkilint(program.main, ["-t", "CRL", "-p", "PKIX"], crl.public_bytes(Encoding.PEM))


def lint_ocsp(response: bytes) -> list[str]:
    """An OCSP answer (DER) by RFC 6960."""
    from pkilint.bin import lint_ocsp_response

    return _pkilint(lint_ocsp_response.main, [], response)


# --- verifiers --------------------------------------------------------------------------------------------------------


def _run(*command: str) -> list[str]:
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    return [] if done.returncode == 0 else [f"{command[0]}: {done.stdout}{done.stderr}".strip()]


def openssl_says(
    leaf: x509.Certificate,
    intermediates: Sequence[x509.Certificate],
    root: x509.Certificate,
    *,
    crls: Sequence[x509.CertificateRevocationList] = (),
    purpose: str = "",
) -> list[str]:
    """`openssl verify -x509_strict`, with CRL checks of the leaf when there are CRLs."""
    crl_file = b"".join(crl.public_bytes(Encoding.PEM) for crl in crls)
    with _files(_pem([leaf]), _pem(intermediates), _pem([root]), crl_file) as (leaf_file, chain, root_file, crl_name):
        options = ["-crl_check", "-CRLfile", crl_name] if crls else []
        options += ["-purpose", purpose] if purpose else []
        untrusted = ["-untrusted", chain] if intermediates else []
        return _run("openssl", "verify", "-x509_strict", "-CAfile", root_file, *untrusted, *options, leaf_file)


def gnutls_says(leaf: x509.Certificate, intermediates: Sequence[x509.Certificate], root: x509.Certificate) -> list[str]:
    """`certtool --verify`."""
    with _files(_pem([leaf, *intermediates]), _pem([root])) as (chain, root_file):
        return _run("certtool", "--verify", "--infile", chain, "--load-ca-certificate", root_file)


def cryptography_says(
    leaf: x509.Certificate,
    intermediates: Sequence[x509.Certificate],
    root: x509.Certificate,
    *,
    server_name: str = "",
    at: datetime | None = None,
) -> list[str]:
    """Its verifier for servers of that DNS name, or for clients."""
    builder = PolicyBuilder().store(Store([root]))
    if at is not None:
        builder = builder.time(at)
    try:
        if server_name:
            builder.build_server_verifier(x509.DNSName(server_name)).verify(leaf, list(intermediates))
        else:
            builder.build_client_verifier().verify(leaf, list(intermediates))
    except VerificationError as exc:
        return [f"cryptography: {exc}"]
    return []


def all_say(
    leaf: x509.Certificate,
    intermediates: Sequence[x509.Certificate],
    root: x509.Certificate,
    *,
    server_name: str = "",
    at: datetime | None = None,
) -> list[str]:
    """Every verifier that takes the algorithms: not ML-DSA OpenSSL 3.0 and GnuTLS 3.7, nor Ed25519 cryptography's."""
    certificates = (leaf, *intermediates, root)
    found: list[str] = []
    if not any(certificate.public_key_algorithm_oid == _ED25519 for certificate in certificates):
        found += cryptography_says(leaf, intermediates, root, server_name=server_name, at=at)
    if all(_is_classic(certificate) for certificate in certificates):
        found += openssl_says(leaf, intermediates, root) + gnutls_says(leaf, intermediates, root)
    return found


_ED25519 = x509.ObjectIdentifier("1.3.101.112")


def _is_classic(certificate: x509.Certificate) -> bool:
    oids = {certificate.signature_algorithm_oid.dotted_string, certificate.public_key_algorithm_oid.dotted_string}
    return not any(oid.startswith("2.16.840.1.101.3.4.3.") and int(oid.rsplit(".", 1)[1]) >= 17 for oid in oids)
