"""OCSP over HTTP against two workers, asked by OpenSSL and GnuTLS: for anybody, at once, and never a parse of JSON."""

from __future__ import annotations

import asyncio
import base64
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from tests.support.appliance import Appliance, Reply
from tests.support.certificate_checks import lint_ocsp

MALFORMED = b"\x30\x03\x0a\x01\x01"
DER = {"Content-Type": "application/ocsp-request"}


@dataclass
class Made:
    """A leaf and what asks about it."""

    pem: str
    serial: str
    question: bytes


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    running = Appliance(tmp_path_factory.mktemp("appliance") / "data").start()
    client = running.client()
    client.sys.enable_audit_device("file", path="file", options={"file_path": str(running.data_dir / "audit.log")})
    client.sys.enable_secrets_engine("pki", config={"max_lease_ttl": "87600h"})
    client.write_data("pki/root/generate/internal", data={"common_name": "Root", "key_type": "ec", "ttl": "8760h"})
    client.write_data("pki/roles/web", data={"allow_any_name": True, "key_type": "ec", "ttl": "1h"})
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def root(server: Appliance, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files") / "root.pem"
    path.write_bytes(server.request("GET", "pki/ca/pem", token=None).body)
    return path


@pytest.fixture
def leaf(server: Appliance, root: Path) -> Made:
    made = server.request("POST", "pki/issue/web", {"common_name": "a.example.com"}).json["data"]
    certificate = x509.load_pem_x509_certificate(made["certificate"].encode())
    issuer = x509.load_pem_x509_certificate(root.read_bytes())
    digest = hashes.SHA1()  # noqa: S303 - RFC 5019, 2.1.1 has clients name issuers by it
    question = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, digest).build()
    return Made(made["certificate"], made["serial_number"], question.public_bytes(Encoding.DER))


def post(server: Appliance, body: bytes) -> Reply:
    return server.request("POST", "pki/ocsp", raw=body, token=None, headers=DER)


def status_of(body: bytes) -> ocsp.OCSPCertStatus:
    return ocsp.load_der_ocsp_response(body).certificate_status


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def test_openssl_believes_it(server: Appliance, root: Path, leaf: Made, tmp_path: Path) -> None:
    """With a nonce, which is its default."""
    file = tmp_path / "leaf.pem"
    file.write_text(leaf.pem)
    said = run(
        "openssl", "ocsp", "-issuer", root, "-cert", file, "-CAfile", root, "-url", f"{server.address}/v1/pki/ocsp"
    )
    assert "Response verify OK" in said
    assert f"{file}: good" in said


def test_gnutls_believes_it(server: Appliance, root: Path, leaf: Made, tmp_path: Path) -> None:
    """It finds no responder that is named by its key, unless its certificate comes with the answer."""
    file = tmp_path / "leaf.pem"
    file.write_text(leaf.pem)
    files = ("--load-cert", file, "--load-issuer", root, "--load-trust", root)
    said = run("ocsptool", f"--ask={server.address}/v1/pki/ocsp", *files)
    assert "Certificate Status: good" in said
    assert "Verifying OCSP Response: Success" in said


def test_pkilint_finds_nothing(server: Appliance, leaf: Made) -> None:
    assert lint_ocsp(post(server, leaf.question).body) == []


@pytest.mark.parametrize("slashes", ["/", "//"])
def test_get_takes_what_clients_make_of_the_url(server: Appliance, leaf: Made, slashes: str) -> None:
    """A responder's URL may end in a slash (RFC 6960, A.1)."""
    text = base64.b64encode(leaf.question).decode().replace("+", "%2B").replace("=", "%3D")
    reply = server.request("GET", f"pki/ocsp{slashes}{text}", token=None)
    assert (reply.status, status_of(reply.body)) == (200, ocsp.OCSPCertStatus.GOOD)
    assert reply.headers["content-type"] == "application/ocsp-response"


def test_get_may_be_cached_and_post_may_not(server: Appliance, leaf: Made) -> None:
    """RFC 5019, 6.2."""
    path = "pki/ocsp/" + base64.b64encode(leaf.question).decode()
    headers = server.request("GET", path, token=None).headers
    assert headers["cache-control"].endswith(", public, no-transform, must-revalidate")
    assert {"etag", "expires", "last-modified"} <= headers.keys()
    # each worker signs an answer of its own: the one that gave this tag is reached sooner or later
    again = [server.request("GET", path, token=None, headers={"If-None-Match": headers["etag"]}) for _ in range(32)]
    assert (304, b"") in [(reply.status, reply.body) for reply in again]
    assert post(server, leaf.question).headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "body",
    [b"{", b"{}", b'{"list": true}', b"[", b"null", b"\xff", b"0\x80", b"x" * 3000],
    ids=["brace", "object", "member", "bracket", "null", "no utf-8", "endless", "oversized"],
)
def test_whatever_the_body_is_it_is_bytes(server: Appliance, body: bytes) -> None:
    reply = post(server, body)
    assert (reply.status, reply.body) == (400, MALFORMED)


def test_trailing_octets_are_malformed(server: Appliance, leaf: Made) -> None:
    assert post(server, leaf.question + b"\0").body == MALFORMED


def test_a_token_changes_nothing(server: Appliance, leaf: Made) -> None:
    reply = server.request("POST", "pki/ocsp", raw=leaf.question, token="no-such-token", headers=DER)
    assert status_of(reply.body) is ocsp.OCSPCertStatus.GOOD


def test_the_audit_line_has_neither_body_nor_answer(server: Appliance, leaf: Made) -> None:
    log = server.data_dir / "audit.log"
    before = log.stat().st_size
    post(server, leaf.question)
    lines = log.read_bytes()[before:]
    assert lines.count(b"\n") == 2
    assert lines.count(b'"path":"pki/ocsp"') == 2
    assert b'"data"' not in lines
    assert leaf.serial.encode() not in lines


async def test_a_revocation_shows_at_once_at_every_worker(server: Appliance, leaf: Made) -> None:
    """Sixteen connections are spread over both; each has the old answer in memory."""
    connector = aiohttp.TCPConnector(limit=16)
    async with aiohttp.ClientSession(f"{server.address}/v1/", connector=connector) as session:

        async def ask() -> ocsp.OCSPCertStatus:
            async with session.post("pki/ocsp", data=leaf.question) as reply:
                return status_of(await reply.read())

        async def ask_all() -> Counter[ocsp.OCSPCertStatus]:
            return Counter(await asyncio.gather(*(ask() for _ in range(32))))

        assert await ask_all() == {ocsp.OCSPCertStatus.GOOD: 32}
        await asyncio.to_thread(server.request, "POST", "pki/revoke", {"serial_number": leaf.serial})
        assert await ask_all() == {ocsp.OCSPCertStatus.REVOKED: 32}


def test_openssl_and_gnutls_believe_a_responder(server: Appliance, root: Path, leaf: Made, tmp_path: Path) -> None:
    """Which the housekeeper makes within seconds; nobody was told of its certificate."""
    server.request("POST", "pki/config/crl", {"ocsp_delegated": True})
    issuer = x509.load_pem_x509_certificate(root.read_bytes())
    deadline = time.monotonic() + 30
    while ocsp.load_der_ocsp_response(post(server, leaf.question).body).certificates == [issuer]:
        assert time.monotonic() < deadline, server.log[-2000:]
        time.sleep(0.05)
    test_openssl_believes_it(server, root, leaf, tmp_path)
    test_gnutls_believes_it(server, root, leaf, tmp_path)


def test_sealed_answers_nothing(server: Appliance, leaf: Made) -> None:
    """The last test of this server."""
    assert post(server, leaf.question).status == 200
    assert server.request("PUT", "sys/seal").status == 204
    assert post(server, leaf.question).status == 503
