"""pki over HTTP against two workers: revoking, issuing and reading CRLs at the same time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
from cryptography import x509

from tests.support.appliance import Appliance

SOON = 15.0  # seconds; the aim is about one, but this machine may be busy


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    running = Appliance(tmp_path_factory.mktemp("appliance") / "data").start()
    running.client().sys.enable_secrets_engine("pki", config={"max_lease_ttl": "87600h"})
    write(running, "pki/root/generate/internal", common_name="Root", key_type="ec", ttl="8760h")
    write(running, "pki/roles/web", allowed_domains="example.com", allow_subdomains=True, key_type="ec", ttl="1h")
    yield running
    assert running.stop() == 0


def write(server: Appliance, path: str, **body: object) -> dict[str, Any]:
    reply = server.request("POST", path, body)
    assert reply.status in {200, 204}, (path, reply.body)
    return dict(reply.json["data"]) if reply.body else {}


async def crl_of(session: aiohttp.ClientSession, path: str = "crl") -> x509.CertificateRevocationList | None:
    async with session.get(f"v1/pki/{path}") as answer:
        assert answer.status in {200, 204}
        return x509.load_der_x509_crl(await answer.read()) if answer.status == 200 else None


def number_of(crl: x509.CertificateRevocationList) -> int:
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


async def issue_and_revoke(session: aiohttp.ClientSession, token: str, name: str) -> int:
    headers = {"X-Vault-Token": token}
    async with session.post("v1/pki/issue/web", json={"common_name": name}, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        serial = (await answer.json())["data"]["serial_number"]
    body = {"serial_number": serial}

    async def revoke() -> tuple[int, int]:
        async with session.post("v1/pki/revoke", json=body, headers=headers) as answer:
            data = (await answer.json())["data"]
            return answer.status, data["revocation_time"]

    first, second = await asyncio.gather(revoke(), revoke())
    assert first == second
    assert first[0] == 200
    return int(serial.replace(":", ""), 16)


async def test_what_is_revoked_while_others_issue_and_read_is_on_the_crl_soon_and_numbers_only_grow(
    server: Appliance,
) -> None:
    numbers: list[int] = []
    async with aiohttp.ClientSession(f"{server.address}/") as session:
        work = asyncio.gather(
            *(issue_and_revoke(session, server.root_token, f"w{number}.example.com") for number in range(20))
        )
        while not work.done():
            crl = await crl_of(session)
            if crl is not None:
                numbers.append(number_of(crl))
            await asyncio.sleep(0.02)
        revoked = set(await work)
        limit = time.monotonic() + SOON
        while True:
            crl = await crl_of(session)
            listed = set() if crl is None else {entry.serial_number for entry in crl}
            if revoked <= listed:
                break
            assert time.monotonic() < limit, "the CRL lacks what was revoked"
            await asyncio.sleep(0.05)
    assert crl is not None
    assert numbers == sorted(numbers)
    root = x509.load_pem_x509_certificate(server.request("GET", "pki/cert/ca").json["data"]["certificate"].encode())
    assert crl.is_signature_valid(root.public_key())  # type: ignore[arg-type]  # an EC key


async def test_everybody_reads_crls_and_nobody_revokes_without_a_token(server: Appliance) -> None:
    assert server.request("GET", "pki/crl/rotate").status == 200  # there is one from here on
    for path in (
        "crl",
        "crl/pem",
        "cert/crl",
        "issuer/default/crl",
        "issuer/default/crl/der",
        "issuer/default/crl/pem",
    ):
        assert server.request("GET", f"pki/{path}", token=None).status == 200, path
    for path in ("revoke", "revoke-with-key", "tidy", "config/crl"):
        assert server.request("POST", f"pki/{path}", {}, token=None).status == 403, path
    assert server.request("GET", "pki/crl/rotate", token=None).status == 403


async def test_an_ordered_tidy_ends(server: Appliance) -> None:
    assert server.request("POST", "pki/tidy", {"tidy_cert_store": True}).status == 202
    limit = time.monotonic() + SOON
    while server.request("GET", "pki/tidy-status").json["data"]["state"] != "Finished":
        assert time.monotonic() < limit
        await asyncio.sleep(0.1)
