"""Rate limits: which quota decides, that a rate holds for the node, and what floods can and cannot do."""

import subprocess
import sys
from pathlib import Path

import pytest

from appliance.quotas import Counts, RateLimitedError, client_of
from appliance.settings import RateLimit
from appliance.system.quotas import splitter
from core.errors import InvalidRequestError, NotFoundError, UnsupportedPathError
from tests.unit.system.conftest import TEAM, Desk

ROOT = Path(__file__).resolve().parents[3]
BASE = "quotas/rate-limit"


async def put(desk: Desk, name: str, **body: object) -> None:
    await desk.call("update", f"{BASE}/{name}", body)


def refused(desk: Desk, times: int, *, path: str = "data/x", **where: str) -> int:
    """How many of so many requests."""
    count = 0
    for _ in range(times):
        try:
            asked = {"namespace": "", "mount": "secret/", "path": path, "address": "10.0.0.1"} | where
            desk.quotas.check(**asked)
        except RateLimitedError:
            count += 1
    return count


async def test_without_quotas_there_is_nothing_to_ask(desk: Desk) -> None:
    assert not desk.quotas.active
    assert refused(desk, 100) == 0


async def test_a_rate_holds_for_both_workers_together(desks: tuple[Desk, Desk]) -> None:
    one, two = desks
    await put(one, "all", rate=10, interval="1m")
    await two.settings.refresh()
    assert refused(one, 6) + refused(two, 6) == 2


async def test_the_next_window_starts_anew(desk: Desk) -> None:
    await put(desk, "all", rate=2, interval=60)
    assert refused(desk, 3) == 1
    desk.monotonic.time += 60
    assert refused(desk, 3) == 1


async def test_each_client_has_its_own_count(desk: Desk) -> None:
    await put(desk, "all", rate=2, interval=60)
    assert refused(desk, 3) == 1
    assert refused(desk, 2, address="10.0.0.2") == 0


async def test_a_blocked_client_waits_for_the_whole_block(desks: tuple[Desk, Desk]) -> None:
    one, two = desks
    await put(one, "all", rate=1, interval=1, block_interval="5m")
    await two.settings.refresh()
    assert refused(one, 2) == 1
    one.monotonic.time += 299
    assert refused(two, 1) == 1  # the other worker knows it, too
    one.monotonic.time += 2
    assert refused(two, 1) == 0


@pytest.mark.parametrize(
    ("where", "decides"),
    [
        ({"path": "data/x"}, "path"),
        ({"path": "data/yy"}, "pattern"),
        ({"path": "metadata/x"}, "mount"),
        ({"mount": "transit/", "path": "encrypt/k"}, "global"),
        ({"namespace": "team-a/", "mount": "kv/", "path": "x"}, "team"),
        ({"namespace": "team-a/b/", "mount": "kv/", "path": "x"}, "team"),
        ({"namespace": "team-b/", "mount": "kv/", "path": "x"}, "global"),
        ({"mount": "auth/approle/", "path": "login", "role": "web"}, "role"),
        ({"mount": "auth/approle/", "path": "login", "role": "other"}, "login"),
    ],
)
async def test_the_most_specific_quota_decides(desk: Desk, where: dict[str, str], decides: str) -> None:
    await put(desk, "global", rate=1, interval=60)
    await put(desk, "team", path="team-a/", rate=1, interval=60, inheritable=True)
    await put(desk, "mount", path="secret/", rate=1, interval=60)
    await put(desk, "pattern", path="secret/data/*", rate=1, interval=60)
    await put(desk, "path", path="secret/data/x", rate=1, interval=60)
    await put(desk, "role", path="auth/approle/", role="web", rate=1, interval=60)
    await put(desk, "login", path="auth/approle/", rate=1, interval=60)
    asked = {"namespace": "", "mount": "secret/", "path": "", "address": "10.0.0.1"} | where
    desk.quotas.check(**asked)
    with pytest.raises(RateLimitedError) as caught:
        desk.quotas.check(**asked)
    assert caught.value.name == decides


async def test_a_namespace_hands_down_only_what_is_inheritable(desk: Desk) -> None:
    await put(desk, "team", path="team-a/", rate=1, interval=60)
    assert refused(desk, 3, namespace="team-a/b/") == 0
    assert refused(desk, 3, namespace="team-a/") == 2


async def test_refusal_says_when_to_come_back(desk: Desk) -> None:
    await put(desk, "all", rate=1, interval=60)
    await desk.call("update", "quotas/config", {"enable_rate_limit_response_headers": True})
    desk.monotonic.time = 6000.0 + 15
    asked = {"namespace": "team-a/", "mount": "secret/", "path": "x", "address": "10.0.0.1"}
    headers = dict(desk.quotas.check(**asked))
    assert (headers["X-Ratelimit-Limit"], headers["X-Ratelimit-Remaining"]) == ("1", "0")
    with pytest.raises(RateLimitedError) as caught:
        desk.quotas.check(**asked)
    assert caught.value.retry_after == 45
    assert caught.value.sentence == 'request path "team-a/secret/x": rate limit quota exceeded'
    assert dict(desk.quotas.refusal_headers(caught.value))["Retry-After"] == "45"


async def test_exempt_paths_are_never_counted(desk: Desk) -> None:
    await put(desk, "all", rate=1, interval=60)
    assert refused(desk, 5, mount="sys/", path="health") == 0
    await desk.call("update", "quotas/config", {"rate_limit_exempt_paths": ["secret/data/*"]})
    assert refused(desk, 5) == 0
    assert refused(desk, 5, mount="sys/", path="health") == 4


async def test_a_flood_of_addresses_does_not_free_who_is_over_the_limit(desk: Desk) -> None:
    await put(desk, "all", rate=50, interval=3600)
    assert refused(desk, 50) == 0
    for number in range(40_000):  # more than a lane can hold
        desk.quotas.check(namespace="", mount="secret/", path="x", address=f"10.{number >> 8}.{number & 255}.9")
    assert refused(desk, 1) == 1


def test_another_process_counts_along(tmp_path: Path) -> None:
    code = "from appliance.quotas import Counts; from appliance.settings import RateLimit\n"
    code += f"counts = Counts.open({str(tmp_path / 'q')!r})\n"
    code += "quota = RateLimit(name='q', path='', rate=10, interval=100_000_000)\n"
    code += "assert all(counts.take(quota, '10.0.0.1')[0] for _ in range(6))"
    ours = Counts.open(tmp_path / "q")
    subprocess.run([sys.executable, "-P", "-c", code], env={"PYTHONPATH": str(ROOT)}, check=True, timeout=60)
    quota = RateLimit(name="q", path="", rate=10, interval=100_000_000)
    assert [ours.take(quota, "10.0.0.1")[0] for _ in range(6)] == [True] * 4 + [False] * 2
    ours.close()


def test_an_ipv6_client_is_its_network() -> None:
    assert client_of("2001:db8:1:2:aaaa::1") == client_of("2001:db8:1:2::ffff") != client_of("2001:db8:1:3::1")
    assert client_of("::ffff:10.0.0.1") == client_of("10.0.0.1") == "10.0.0.1"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"rate": 0},
        {"rate": -1},
        {"rate": "many"},
        {"rate": float("inf")},
        {"rate": 1, "interval": 0},
        {"rate": 1, "interval": "-1s"},
        {"rate": 1, "path": "nowhere/"},
        {"rate": 1, "path": "secret/../sys"},
        {"rate": 1, "path": "secret/*/x"},
        {"rate": 1, "path": "secret/" + "x" * 600},
        {"rate": 1, "path": "secret/", "inheritable": True},
        {"rate": 1, "path": "secret/", "role": "web"},
        {"rate": 1, "role": "web"},
        {"rate": 1, "type": "lease-count"},
    ],
)
async def test_a_quota_that_is_refused(desk: Desk, body: dict[str, object]) -> None:
    with pytest.raises(InvalidRequestError):
        await put(desk, "q", **body)
    assert not desk.quotas.active


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("team-a/", ("team-a/", "", "")),
        ("team-a", ("team-a/", "", "")),
        ("team-a/b/", ("team-a/b/", "", "")),
        ("team-a/secret", ("team-a/", "secret/", "")),
        ("team-a/b/secret/data/x", ("team-a/b/", "secret/", "data/x")),
        ("secret/data/*", ("", "secret/", "data/*")),
        ("secret/*", ("", "secret/", "*")),
        ("secret/data/x/", ("", "secret/", "data/x/")),
        ("secrets/x", None),
        ("team-ab/secret/", None),
        ("sec*", None),
    ],
)
def test_a_path_is_taken_apart(path: str, parts: tuple[str, str, str] | None) -> None:
    split = splitter(lambda: ["team-a/", "team-a/b/"], lambda _namespace: ["secret/", "auth/approle/"])
    assert split(path) == parts


async def test_two_quotas_for_one_place_are_refused(desk: Desk) -> None:
    await put(desk, "one", path="secret/", rate=1)
    with pytest.raises(InvalidRequestError, match='exists under the name "one"'):
        await put(desk, "two", path="secret", rate=2)
    await put(desk, "one", path="secret/", rate=2)  # itself may change


async def test_a_quota_reads_as_vault_shows_it(desk: Desk) -> None:
    await put(desk, "all", rate=897.3, interval="2m", block_interval="5m")
    assert await desk.read(f"{BASE}/all") == {
        "name": "all",
        "type": "rate-limit",
        "path": "",
        "role": "",
        "rate": 897.3,
        "interval": 120,
        "block_interval": 300,
        "inheritable": True,
    }
    assert (await desk.call("list", BASE)).data == {"keys": ["all"]}


async def test_a_deleted_quota_is_gone_on_the_other_worker(desks: tuple[Desk, Desk]) -> None:
    one, two = desks
    await put(one, "all", rate=1)
    await two.settings.refresh()
    assert two.quotas.active
    await one.call("delete", f"{BASE}/all")
    assert not two.settings.is_current()
    await two.settings.refresh()
    assert not two.quotas.active
    for operation, path in (("list", BASE), ("read", f"{BASE}/all")):
        with pytest.raises(NotFoundError):
            await two.call(operation, path)


async def test_namespaces_cannot_touch_them(desk: Desk) -> None:
    for operation, path, body in [
        ("list", BASE, None),
        ("update", f"{BASE}/x", {"rate": 1}),
        ("delete", f"{BASE}/x", None),
        ("update", "quotas/config", {}),
    ]:
        with pytest.raises(UnsupportedPathError):
            await desk.call(operation, path, body, within=TEAM)


async def test_everything_cannot_be_exempt(desk: Desk) -> None:
    with pytest.raises(InvalidRequestError):
        await desk.call("update", "quotas/config", {"rate_limit_exempt_paths": "*"})
