"""Events of kv over HTTP: two workers, server-sent events and WebSockets, crashes and stops."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import pytest

from tests.support.appliance import Appliance

SUBSCRIBERS = 6  # the kernel spreads their connections over both workers
LIMIT = 20.0  # seconds
VALUE = "correct horse battery staple"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    running = Appliance(tmp_path_factory.mktemp("events") / "data").start()
    running.client().sys.enable_secrets_engine("kv", path="vaulted", options={"version": "2"})
    yield running
    assert running.stop() == 0


class Source:
    """The messages of one answer."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._content = response.content

    async def next(self) -> dict[str, str]:
        """The fields of the next message; comments keep the connection open and are none."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(LIMIT):
            while True:
                line = (await self._content.readline()).decode()
                if not line:
                    raise EOFError(fields)
                if line == "\n" and fields.keys() - {"retry"}:
                    return fields
                name, _, value = line.rstrip("\n").partition(":")
                if name and line != "\n":
                    fields[name] = value.strip()

    async def event(self) -> dict[str, Any]:
        """What the next message tells."""
        return dict(json.loads((await self.next())["data"]))


@asynccontextmanager
async def subscribed(server: Appliance, types: str = "*", *, token: str = "", last: str = "") -> AsyncIterator[Source]:
    headers = {"X-Vault-Token": token or server.root_token} | ({"Last-Event-ID": last} if last else {})
    url = f"{server.address}/v1/sys/events/subscribe/{types}"
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        assert (response.status, response.content_type) == (200, "text/event-stream"), await response.text()
        yield Source(response)


def write(server: Appliance, name: str) -> None:
    assert server.request("POST", f"vaulted/data/{name}", {"data": {"password": VALUE}}).status == 200


async def test_a_write_reaches_the_subscribers_of_every_worker(server: Appliance) -> None:
    async with AsyncExitStack() as stack:
        sources = [await stack.enter_async_context(subscribed(server, "kv-v2/data-*")) for _ in range(SUBSCRIBERS)]
        await asyncio.to_thread(write, server, "apps/web")
        messages = [await source.next() for source in sources]
    assert len({message["id"] for message in messages}) == 1
    assert {message["event"] for message in messages} == {"kv-v2/data-write"}
    told = json.loads(messages[0]["data"])
    assert told["data"]["event"]["metadata"]["data_path"] == "vaulted/data/apps/web"
    assert told["data"]["plugin_info"]["version"] == "2"
    assert VALUE not in str(messages)


async def test_a_web_socket_is_told_the_same(server: Appliance) -> None:
    headers = {"X-Vault-Token": server.root_token}
    url = f"{server.address}/v1/sys/events/subscribe/*?json=true"
    async with aiohttp.ClientSession() as session, session.ws_connect(url, headers=headers) as socket:
        await asyncio.to_thread(write, server, "apps/socket")
        told = json.loads(await asyncio.wait_for(socket.receive_str(), LIMIT))
    assert told["data"]["event"]["metadata"]["path"] == "vaulted/data/apps/socket"


async def test_events_come_in_the_order_in_which_they_were_written(server: Appliance) -> None:
    async with subscribed(server) as source:
        for number in range(20):
            await asyncio.to_thread(write, server, f"ordered/{number}")
        paths = [(await source.event())["data"]["event"]["metadata"]["path"] for _ in range(20)]
    assert paths == [f"vaulted/data/ordered/{number}" for number in range(20)]


async def test_one_that_does_not_read_holds_up_nobody(server: Appliance) -> None:
    with socket.socket() as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.connect(("127.0.0.1", server.port))
        head = f"GET /v1/sys/events/subscribe/* HTTP/1.1\r\nHost: x\r\nX-Vault-Token: {server.root_token}\r\n\r\n"
        lazy.sendall(head.encode())
        async with AsyncExitStack() as stack:
            sources = [await stack.enter_async_context(subscribed(server)) for _ in range(SUBSCRIBERS)]
            await _write_many(server, 200)
            for source in sources:
                paths = {(await source.event())["data"]["event"]["metadata"]["path"] for _ in range(200)}
                assert paths == {f"vaulted/data/many/{number}" for number in range(200)}


async def _write_many(server: Appliance, count: int) -> None:
    """Over a few connections at once, which share commits."""
    headers = {"X-Vault-Token": server.root_token}
    connector = aiohttp.TCPConnector(limit=20)
    async with aiohttp.ClientSession(f"{server.address}/v1/", headers=headers, connector=connector) as session:

        async def write_one(number: int) -> None:
            async with session.post(f"vaulted/data/many/{number}", json={"data": {"password": VALUE}}) as response:
                assert response.status == 200

        await asyncio.gather(*(write_one(number) for number in range(count)))


async def test_who_may_only_see_metadata_hears_of_it_and_of_nothing_else(server: Appliance) -> None:
    policy = """
    path "sys/events/subscribe/*" { capabilities = ["read"] }
    path "vaulted/metadata/apps/*" { capabilities = ["list"] }
    """
    token = _token(server, policy)
    async with subscribed(server, token=token) as source:
        await asyncio.to_thread(write, server, "other/secret")
        await asyncio.to_thread(write, server, "apps/visible")
        event = await source.event()
    assert event["data"]["event"]["metadata"]["path"] == "vaulted/data/apps/visible"


async def test_revoking_the_token_ends_the_stream(server: Appliance) -> None:
    token = _token(server, 'path "sys/events/subscribe/*" { capabilities = ["read"] }')
    async with subscribed(server, token=token) as source:
        revoked = await asyncio.to_thread(server.request, "POST", "auth/token/revoke", {"token": token})
        assert revoked.status == 204
        last = await source.next()
        assert (last["event"], "revoked" in last["data"]) == ("end", True)
        with pytest.raises(EOFError):
            await source.next()


def _token(server: Appliance, policy: str) -> str:
    assert server.request("PUT", "sys/policies/acl/watcher", {"policy": policy}).status == 204
    made = server.request("POST", "auth/token/create", {"policies": ["watcher"]})
    return str(made.json["auth"]["client_token"])


async def test_what_was_acknowledged_is_told_after_a_crash(server: Appliance) -> None:
    """At least once: the event is committed with the write, and delivered by whoever reads the log next."""
    async with subscribed(server) as source:
        await asyncio.to_thread(write, server, "apps/seen")
        last = (await source.next())["id"]
    await asyncio.to_thread(write, server, "apps/crashed")
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)
    async with subscribed(server, last=last) as source:
        assert "crashed" in str(await source.event())


async def test_open_streams_do_not_hold_up_a_stop(server: Appliance) -> None:
    """The last test of the module: nothing runs afterwards."""
    async with subscribed(server) as source:
        begun = time.monotonic()
        assert await asyncio.to_thread(server.stop) == 0
        assert time.monotonic() - begun < 10
        message = await source.next()
    assert message["event"] == "end"
