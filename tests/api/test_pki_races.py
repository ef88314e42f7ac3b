"""Certificates are issued, revoked and listed at once by many, over two workers, on both stores: nothing is lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from cryptography import x509

from tests.support.appliance import Appliance


@pytest.fixture(scope="module")
def pki(appliance: Appliance) -> Appliance:
    """With a root and a role."""
    client = appliance.client()
    client.sys.enable_secrets_engine("pki", config={"max_lease_ttl": "87600h"})
    client.write("pki/root/generate/internal", common_name="Root", key_type="ec", issuer_name="root", ttl="8760h")
    client.write("pki/roles/web", allowed_domains="example.com", allow_subdomains=True, key_type="ec", ttl="1h")
    return appliance


Ask = Callable[..., Any]


@asynccontextmanager
async def connected(server: Appliance, connections: int = 16) -> AsyncIterator[Ask]:
    """Asks over so many connections, which the kernel spreads over the workers."""
    connector = aiohttp.TCPConnector(limit=connections)
    headers = {"X-Vault-Token": server.root_token}
    async with aiohttp.ClientSession(f"{server.address}/v1/", connector=connector, headers=headers) as session:

        async def ask(method: str, path: str, body: object = None) -> tuple[int, Any]:
            async with session.request(method, path, json=body) as response:
                text = await response.read()
                is_json = response.content_type == "application/json" and text
                return response.status, json.loads(text) if is_json else text

        yield ask


async def test_revocations_issues_and_crls_at_once_lose_nothing(pki: Appliance) -> None:
    """Every serial number is new, and every revoked one is on the CRL in the end, on both workers."""
    async with connected(pki) as ask:

        async def live(place: int) -> tuple[str, bool]:
            status, made = await ask("POST", "pki/issue/web", {"common_name": f"n{place}.example.com"})
            assert status == 200, made
            serial = made["data"]["serial_number"]
            if place % 2:
                status, answer = await ask("POST", "pki/revoke", {"serial_number": serial})
                assert status == 200, answer
            if place % 8 == 0:
                status, answer = await ask("GET", "pki/crl/rotate")
                assert status == 200, answer
            return serial, bool(place % 2)

        lives = await asyncio.gather(*(live(place) for place in range(64)))
        assert len({serial for serial, _ in lives}) == len(lives)
        revoked = {int(serial.replace(":", ""), 16) for serial, is_revoked in lives if is_revoked}
        for _ in range(200):
            listed = [await on_the_crl(ask) for _ in range(4)]
            if all(revoked <= found for found in listed):
                break
            await asyncio.sleep(0.1)
        else:
            raise AssertionError(f"{[len(revoked - found) for found in listed]} revocations are missing")
        kept = {int(serial.replace(":", ""), 16) for serial, is_revoked in lives if not is_revoked}
        assert not kept & listed[0]


async def on_the_crl(ask: Ask) -> set[int]:
    status, body = await ask("GET", "pki/crl")
    assert status == 200
    return {row.serial_number for row in x509.load_der_x509_crl(body)}


async def test_one_certificate_revoked_by_many_is_revoked_once(pki: Appliance) -> None:
    async with connected(pki) as ask:
        _, made = await ask("POST", "pki/issue/web", {"common_name": "many.example.com"})
        body = {"serial_number": made["data"]["serial_number"]}
        answers = await asyncio.gather(*(ask("POST", "pki/revoke", body) for _ in range(12)))
        assert {status for status, _ in answers} == {200}
        assert len({answer["data"]["revocation_time"] for _, answer in answers}) == 1


async def test_one_name_for_many_roots_goes_to_one(pki: Appliance) -> None:
    body = {"common_name": "Named", "key_type": "ec", "issuer_name": "sought-after", "ttl": "10h"}
    async with connected(pki) as ask:
        answers = await asyncio.gather(*(ask("POST", "pki/root/generate/internal", body) for _ in range(6)))
    assert sorted(status for status, _ in answers) == [200, 400, 400, 400, 400, 400]


async def test_32_at_once_issue_revoke_and_change_roles_without_an_error(pki: Appliance) -> None:
    """On PostgreSQL all of these are serialisable transactions that touch the same rows."""
    async with connected(pki, 32) as ask:

        async def work(place: int) -> None:
            status, made = await ask("POST", "pki/issue/web", {"common_name": f"w{place}.example.com"})
            assert status == 200, made
            if place % 4 == 0:
                body = {"allowed_domains": "example.com", "allow_subdomains": True, "key_type": "ec", "ttl": "2h"}
                status, answer = await ask("POST", "pki/roles/other", body)
            else:
                status, answer = await ask("POST", "pki/revoke", {"serial_number": made["data"]["serial_number"]})
            assert status == 200, answer

        await asyncio.gather(*(work(place) for place in range(128)))
