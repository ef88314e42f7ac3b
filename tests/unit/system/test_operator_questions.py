"""Tools, host, versions, counters, plugins, and what user interfaces ask."""

import base64
import hashlib
import time
from pathlib import Path
from typing import Any

import pytest

from appliance.access.acl import Acl
from appliance.access.rules import PathRule, Policy
from appliance.config import Config
from appliance.in_flight import InFlightRequests
from appliance.system.config_state import sanitized
from appliance.system.host import InFlight
from appliance.system.rotation import rotate_if_due
from appliance.system.versions import VersionHistory
from core.errors import InvalidRequestError, NotFoundError
from tests.unit.pipeline.conftest import empty_store, fresh, make, rig
from tests.unit.pipeline.rig import Rig, wire
from tests.unit.system.conftest import TEAM, Desk

__all__ = ["empty_store", "fresh", "make", "rig"]  # fixtures


@pytest.mark.parametrize(
    ("path", "body", "length"),
    [
        ("tools/random", {}, 32),
        ("tools/random", {"bytes": "16"}, 16),
        ("tools/random/64", {}, 64),
        ("tools/random/all", {"bytes": 8}, 8),
        ("tools/random/platform/131072", {}, 131072),
    ],
)
async def test_random_bytes(desk: Desk, path: str, body: dict[str, Any], length: int) -> None:
    data = (await desk.call("update", path, body)).data
    assert data is not None
    assert len(base64.b64decode(data["random_bytes"])) == length
    data = (await desk.call("update", path, body | {"format": "hex"})).data
    assert data is not None
    assert len(bytes.fromhex(data["random_bytes"])) == length


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("tools/random/0", {}),
        ("tools/random", {"bytes": 0}),
        ("tools/random", {"bytes": -1}),
        ("tools/random/131073", {}),
        ("tools/random/9999999999999999999999", {}),
        ("tools/random/٣", {}),
        ("tools/random/moon", {}),
        ("tools/random/all/x", {}),
        ("tools/random", {"format": "binary"}),
        ("tools/random", {"source": "dice"}),
        ("tools/hash", {}),
        ("tools/hash", {"input": "not base64!"}),
        ("tools/hash/md5", {"input": ""}),
        ("tools/hash", {"input": "", "algorithm": "sha1"}),
        ("tools/hash", {"input": "", "format": "octal"}),
    ],
)
async def test_tools_refuse(desk: Desk, path: str, body: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError):
        await desk.call("update", path, body)


async def test_hashes(desk: Desk) -> None:
    body = {"input": base64.b64encode(b"abc").decode()}
    for path, expected in (("tools/hash", "sha256"), ("tools/hash/sha3-512", "sha3_512")):
        assert (await desk.call("update", path, body)).data == {"sum": hashlib.new(expected, b"abc").hexdigest()}


async def test_host_info_has_vaults_parts(desk: Desk) -> None:
    data = await desk.read("host-info")
    assert {"cpu", "cpu_times", "disk", "host", "memory", "timestamp"} == set(data)
    assert data["memory"]["total"] > 0


async def test_in_flight_requests(desk: Desk) -> None:
    desk.flying.append(InFlight(request_id="a-b", method="GET", path="sys/x", started_at=0, client_address="::1"))
    data = await desk.read("in-flight-req")
    assert data["a-b"]["request_path"] == "sys/x"
    assert data["a-b"]["start_time"] == "1970-01-01T00:00:00.000000Z"


def test_what_is_served_is_shown_without_tokens() -> None:
    board = InFlightRequests()
    token = "hvs." + "A" * 24
    board.began("r-1", wire("POST", f"auth/token/renew/{token}?x=secret"), time.perf_counter())
    board.began("r-2", wire("GET", "sys/mounts"), time.perf_counter())
    board.ended("r-2")
    (shown,) = board()
    assert (shown.request_id, shown.method, shown.client_address) == ("r-1", "POST", "127.0.0.1")
    assert time.time() - 60 < shown.started_at <= time.time()
    assert shown.path.startswith("auth/token/renew/")
    assert token not in shown.path
    board.ended("r-1")
    board.ended("r-1")
    assert list(board()) == []


async def test_each_version_is_written_down_once(desk: Desk) -> None:
    desk.clock.advance(100)
    for version in ("0.1.0", "0.2.0", "0.2.0"):
        await VersionHistory(desk.storage, desk.clock, version=version).open()
    data = (await desk.call("list", "version-history")).data
    assert data is not None
    assert data["keys"] == ["0.1.0", "0.2.0"]
    assert data["key_info"]["0.1.0"]["previous_version"] is None
    assert data["key_info"]["0.2.0"]["previous_version"] == "0.1.0"


async def test_counters(desk: Desk) -> None:
    assert await desk.read("internal/counters/tokens") == {"counters": {"service_tokens": {"total": 3}}}
    assert await desk.read("internal/counters/entities") == {"counters": {"entities": {"total": 3}}}


async def test_plugins_are_what_is_installed(desk: Desk) -> None:
    data = await desk.read("plugins/catalog")
    assert {"cubbyhole", "identity"} <= set(data["secret"])
    assert "token" in (await desk.call("list", "plugins/catalog/auth")).data["keys"]  # type: ignore[index]
    assert (await desk.read("plugins/catalog/auth/token"))["builtin"]
    with pytest.raises(NotFoundError):
        await desk.call("read", "plugins/catalog/auth/none")
    with pytest.raises(InvalidRequestError):
        await desk.call("list", "plugins/catalog/none")


GRANTED = Acl(
    [
        (
            "",
            Policy(
                name="p",
                text="",
                rules=(
                    PathRule(path="secret/a", capabilities=("list",)),
                    PathRule(path="secret/a", capabilities=("read",)),
                    PathRule(path="secret/b/*", capabilities=("read",)),
                    PathRule(path="secret/b/*", capabilities=("deny",)),
                    PathRule(path="secret/+/c", capabilities=("read",)),
                    PathRule(path="team-a/kv", capabilities=("read",)),
                    PathRule(path="team-*", capabilities=("update",)),
                    PathRule(path="+/d", capabilities=("list",)),
                    PathRule(path="+/kv/*", capabilities=("patch",)),
                    PathRule(path="team", capabilities=("delete",)),
                ),
            ),
        )
    ]
)


async def test_resultant_acl(desk: Desk) -> None:
    assert (await desk.read("internal/ui/resultant-acl"))["root"] is True
    data = await desk.read("internal/ui/resultant-acl", acl=GRANTED)
    assert data["exact_paths"] == {
        "secret/a": {"capabilities": ["list", "read"]},
        "team-a/kv": {"capabilities": ["read"]},
        "team": {"capabilities": ["delete"]},
    }
    assert data["glob_paths"]["secret/b/"] == {"capabilities": ["deny"]}
    assert data["glob_paths"]["secret/+/c"] == {"capabilities": ["read"]}


async def test_resultant_acl_in_a_namespace(desk: Desk) -> None:
    """What cannot match in it is not shown, what can is as it reads there."""
    data = await desk.read("internal/ui/resultant-acl", acl=GRANTED, within=TEAM)
    assert data["exact_paths"] == {"kv": {"capabilities": ["read"]}, "d": {"capabilities": ["list"]}}
    assert data["glob_paths"] == {"": {"capabilities": ["update"]}, "kv/": {"capabilities": ["patch"]}}


async def test_small_answers(desk: Desk) -> None:
    assert await desk.read("internal/ui/namespaces", within=TEAM) == {"keys": ["team-a/", "team-b/"]}
    assert await desk.read("internal/ui/version") == {"version": "0.1.0"}
    assert await desk.read("experiments") == {"available": [], "enabled": []}
    raw = (await desk.call("read", "internal/ui/feature-flags")).raw
    assert raw is not None
    assert raw.body == b'{"feature_flags":[]}\n'


def test_the_sanitized_configuration_shows_no_secret(tmp_path: Path) -> None:
    config = Config.parse(
        {
            "hsm": {"module": "/lib/x.so", "token_label": "t", "pin_file": "/secret/pin"},
            "store": {"url": "postgresql://user:hunter2@db/mimir"},
            "listener": [{"address": "127.0.0.1:8200"}],
        },
        source=str(tmp_path / "mimir.toml"),
    )
    shown = sanitized(config)
    assert "hunter2" not in repr(shown)
    assert "/secret" not in repr(shown)
    assert shown["storage"]["type"] == "postgresql"


async def test_the_keyring_rotates_when_its_term_is_old(rig: Rig, desk: Desk) -> None:
    await desk.call("update", "rotate/config", {"interval": "24h"})
    before = (await rig.barrier.key_status()).term
    assert not await rotate_if_due(rig.barrier, desk.settings, rig.clock)
    rig.clock.advance(24 * 3600)
    assert await rotate_if_due(rig.barrier, desk.settings, rig.clock)
    assert not await rotate_if_due(rig.barrier, desk.settings, rig.clock)
    assert (await rig.barrier.key_status()).term == before + 1
    rig.clock.advance(48 * 3600)
    await desk.call("update", "rotate/config", {"enabled": False})
    assert not await rotate_if_due(rig.barrier, desk.settings, rig.clock)
