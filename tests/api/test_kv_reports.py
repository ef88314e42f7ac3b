"""Stages, reports, search and read records over HTTP, against two workers."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from tests.support.appliance import Appliance

PROMOTERS = 24
POLICY = """
path "kv/report" { capabilities = ["read"] }
path "kv/search" { capabilities = ["read"] }
path "kv/metadata/apps/*" { capabilities = ["read"] }
path "kv/metadata/ops/" { capabilities = ["list"] }
path "kv/data/home" { capabilities = ["read"] }
path "kv/metadata/apps/denied" { capabilities = ["deny"] }
path "kv/metadata/apps/conditional" {
  capabilities = ["read"]
  required_parameters = ["ticket"]
}
"""
NAMES = ["apps/a", "apps/b", "apps/conditional", "apps/denied", "home", "ops/c", "ops/deep/d"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    running = Appliance(tmp_path_factory.mktemp("reports") / "data").start()
    client = running.client()
    client.sys.enable_secrets_engine("kv", path="kv", options={"version": "2"})
    client.sys.create_or_update_policy("apps", POLICY)
    client.sys.create_or_update_policy("nobody", 'path "kv/data/*" { capabilities = ["read"] }')
    for name in NAMES:
        assert running.request("POST", f"kv/data/{name}", {"data": {"value": "needle"}}).status == 200
    yield running
    assert running.stop() == 0


def token_for(server: Appliance, policy: str) -> str:
    made = server.client().auth.token.create(policies=[policy], display_name=f"by-{policy}", no_default_policy=True)
    return str(made["auth"]["client_token"])


def names(server: Appliance, path: str, token: str = "") -> list[str]:
    reply = server.request("GET", path, token=token)
    assert reply.status == 200, reply.body
    return [row["name"] for row in reply.json["data"]["secrets"]]


def test_of_promotions_at_once_one_wins(server: Appliance) -> None:
    for number in range(2):
        server.request("POST", "kv/data/raced", {"data": {"n": number}})

    async def promote_all() -> list[tuple[int, dict[str, Any]]]:
        headers = {"X-Vault-Token": server.root_token}
        connector = aiohttp.TCPConnector(limit=PROMOTERS)  # the kernel spreads them over the workers
        async with aiohttp.ClientSession(f"{server.address}/v1/", connector=connector, headers=headers) as session:

            async def promote() -> tuple[int, dict[str, Any]]:
                body = {"stage": "current", "version": 1, "cas": 2}
                async with session.post("kv/stages/raced", json=body) as response:
                    return response.status, json.loads(await response.text())

            return await asyncio.gather(*(promote() for _ in range(PROMOTERS)))

    answers = asyncio.run(promote_all())
    assert Counter(status for status, _ in answers) == {200: 1, 400: PROMOTERS - 1}
    assert server.request("GET", "kv/stages/raced").json["data"] == {"stages": {"current": 1, "previous": 2}}
    assert server.request("GET", "kv/data/raced").json["data"]["data"] == {"n": 0}
    assert server.request("DELETE", "kv/metadata/raced").status == 204


def test_labels_and_states_over_http(server: Appliance) -> None:
    path = "kv/stages/apps/a"
    assert server.request("PUT", path, {"stage": "golden", "version": "1"}).status == 200
    assert server.request("DELETE", path + "?stage=golden").status == 204
    assert server.request("DELETE", path + "?stage=golden").status == 404
    assert server.request("DELETE", path + "?stage=current").status == 400
    reply = server.request("POST", "kv/states/apps/a", {"versions": [1], "state": "disabled"})
    assert reply.json["data"] == {"states": {"1": "disabled"}}
    assert server.request("GET", "kv/data/apps/a").status == 404
    assert server.request("POST", "kv/states/apps/a", {"versions": [1], "state": "enabled"}).status == 200


def test_report_and_search_show_what_the_policies_grant(server: Appliance) -> None:
    token = token_for(server, "apps")
    assert names(server, "kv/report") == NAMES
    assert names(server, "kv/report", token) == ["apps/a", "apps/b"]
    assert names(server, "kv/search?q=a", token) == ["apps/a", "apps/b"]
    assert names(server, "kv/search?q=o", token) == ["home", "ops/c"]
    assert names(server, "kv/search?q=needle") == []


@pytest.mark.parametrize("path", ["kv/report", "kv/search?q=a"], ids=["report", "search"])
def test_neither_is_granted_by_what_grants_values(server: Appliance, path: str) -> None:
    assert server.request("GET", path, token=token_for(server, "nobody")).status == 403
    assert server.request("GET", path, token=None).status == 403


def test_pages_follow_each_other_over_both_workers(server: Appliance) -> None:
    token, found, after = token_for(server, "apps"), [], ""
    for _ in range(5):
        data = server.request("GET", f"kv/report?limit=1&after={after}", token=token).json["data"]
        found += [row["name"] for row in data["secrets"]]
        after = data["next"]
        if not after:
            break
    assert found == ["apps/a", "apps/b"]


@pytest.mark.parametrize("path", ["kv/report?", "kv/search?q=a&"], ids=["report", "search"])
@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1e3", "after=apps/a", "after=%ff", "prefix=a%00b", "prefix=%ed%a0%80"], ids=str
)
def test_a_page_that_is_none_is_answered_400(server: Appliance, path: str, query: str) -> None:
    assert server.request("GET", path + query).status == 400


def test_a_stop_writes_who_has_read(server: Appliance) -> None:
    """Runs last: the appliance is started anew."""
    token = token_for(server, "nobody")
    for _ in range(8):  # on several connections, so in both workers
        assert server.request("GET", "kv/data/apps/b", token=token).status == 200
    assert server.stop() == 0
    server.start()
    rows = {row["name"]: row for row in server.request("GET", "kv/report?no_owner=true").json["data"]["secrets"]}
    read = rows["apps/b"]["last_read"]
    assert (read["by"], read["from"], read["days"]) == ("token-by-nobody", "127.0.0.1", 1)
    assert rows["ops/c"]["last_read"] is None
    assert "apps/b" not in names(server, "kv/report?never_read=true")
