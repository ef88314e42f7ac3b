"""kv over HTTP against two workers: races, odd names, numbers, sizes, full disks. Never a 500, nothing lost."""

from __future__ import annotations

import asyncio
import json
import resource
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aiohttp
import pytest

from tests.support.appliance import Appliance

WRITERS = 32
MEBIBYTE = 1024 * 1024


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """SQLite: what is refused here never gets as far as a store. The race has its twin on PostgreSQL."""
    running = Appliance(tmp_path_factory.mktemp("appliance") / "data").start()
    give_kv(running)
    yield running
    assert running.stop() == 0


def give_kv(server: Appliance) -> None:
    client = server.client()
    client.sys.enable_audit_device("file", path="file", options={"file_path": str(server.data_dir / "audit.log")})
    client.sys.enable_secrets_engine("kv", path="kv2", options={"version": "2"})
    client.sys.enable_secrets_engine("kv", path="kv1", options={"version": "1"})


Ask = Callable[..., Any]


@asynccontextmanager
async def connected(server: Appliance, connections: int = WRITERS) -> AsyncIterator[Ask]:
    """Asks over so many connections, which the kernel spreads over the workers."""
    connector = aiohttp.TCPConnector(limit=connections)
    headers = {"X-Vault-Token": server.root_token}
    async with aiohttp.ClientSession(f"{server.address}/v1/", connector=connector, headers=headers) as session:

        async def ask(method: str, path: str, body: object = None) -> tuple[int, dict[str, Any]]:
            async with session.request(method, path, json=body) as response:
                text = await response.text()
                return response.status, json.loads(text) if text else {}

        yield ask


def put_raw(server: Appliance, name: str, data: bytes) -> int:
    return server.request("POST", f"kv2/data/{name}", raw=b'{"data":%b}' % data).status


# --- races ------------------------------------------------------------------------------------------------------------


async def race_for_versions(server: Appliance, rounds: int) -> None:
    async with connected(server) as ask:
        for held in range(rounds):
            bodies = [{"data": {"writer": n}, "options": {"cas": held}} for n in range(WRITERS)]
            answers = await asyncio.gather(*(ask("POST", "kv2/data/raced", body) for body in bodies))
            assert Counter(status for status, _ in answers) == {200: 1, 400: WRITERS - 1}
            [winner] = [n for n, (status, _) in enumerate(answers) if status == 200]
            refusals = {tuple(body["errors"]) for status, body in answers if status == 400}
            assert refusals == {("check-and-set parameter did not match the current version",)}
            seen = await asyncio.gather(*(ask("GET", "kv2/data/raced") for _ in range(4)))
            assert {(body["data"]["data"]["writer"], body["data"]["metadata"]["version"]) for _, body in seen} == {
                (winner, held + 1)
            }


async def test_of_32_writers_with_the_same_cas_one_wins_each_version(server: Appliance) -> None:
    await race_for_versions(server, 6)


async def test_writers_without_cas_lose_no_version(server: Appliance) -> None:
    async with connected(server) as ask:
        answers = await asyncio.gather(*(ask("POST", "kv2/data/all", {"data": {"n": n}}) for n in range(WRITERS)))
        assert sorted(body["data"]["version"] for _, body in answers) == list(range(1, WRITERS + 1))
        for n, (_, body) in enumerate(answers):
            if body["data"]["version"] > WRITERS - 10:
                _, read = await ask("GET", f"kv2/data/all?version={body['data']['version']}")
                assert read["data"]["data"] == {"n": n}


async def test_a_secret_that_is_deleted_while_it_is_read_is_there_or_not(server: Appliance) -> None:
    """Large values stand in rows of their own, so that a read needs two."""
    stop = asyncio.Event()
    seen: Counter[int] = Counter()

    async with connected(server) as ask:

        async def read() -> None:
            while not stop.is_set():
                for path in ("kv2/data/torn", "kv2/data/torn?version=1", "kv2/data/torn?stage=previous"):
                    status, body = await ask("GET", path)
                    seen[status] += 1
                    assert status in {200, 404}, body
                    if status == 200:
                        value = body["data"]["data"]["v"]
                        assert value == value[0] * len(value)

        async def change() -> None:
            for _ in range(25):
                for letter in "abc":
                    assert (await ask("POST", "kv2/data/torn", {"data": {"v": letter * 20_000}}))[0] == 200
                assert (await ask("DELETE", "kv2/metadata/torn"))[0] == 204
            stop.set()

        await asyncio.gather(change(), *(read() for _ in range(4)))
    assert seen[200]
    assert seen[404]


# --- names ------------------------------------------------------------------------------------------------------------

GOOD_NAMES = [
    ("a/b/c", "a/b/c"),
    ("enc%2Foded", "enc/oded"),
    ("double//slash/", "double/slash"),
    ("http:/test.com", "http:/test.com"),
    ("%C3%BCml%C3%A4ut/%E2%98%83", "ümläut/☃"),
    ("with%20space", "with space"),
    ("dots/.../x", "dots/.../x"),
    ("plus+and&and=", "plus+and&and="),
    ("%25percent", "%percent"),
    ("n" * 1900, "n" * 1900),
]


@pytest.mark.parametrize(("path", "name"), GOOD_NAMES, ids=[name[:20] for _, name in GOOD_NAMES])
def test_a_name_is_what_it_is_however_it_is_written(server: Appliance, path: str, name: str) -> None:
    assert server.request("POST", f"kv2/data/{path}", {"data": {"n": name}}).status == 200
    for way in (path, "/".join(_quoted(part) for part in name.split("/"))):
        answer = server.request("GET", f"kv2/data/{way}")
        assert answer.json["data"]["data"] == {"n": name}


def _quoted(part: str) -> str:
    return "".join(f"%{octet:02X}" for octet in part.encode())


BAD_NAMES = {
    "step up": ("../sys", '".."'),
    "step up inside": ("a/../b", '".."'),
    "encoded step up": ("a/%2e%2e/b", '".."'),
    "encoded slash and step": ("a%2F..%2Fb", '".."'),
    "NUL": ("a%00b", "non-printable"),
    "control": ("a%1bb", "non-printable"),
    "line break": ("a%0Ab", "non-printable"),
    "4 KiB": ("n" * 4096, "longer than 4096"),
    "2 KiB": ("n" * 2048, "at most 1900 bytes"),
    "2 KiB of umlauts": ("%C3%BC" * 1000, "at most 1900 bytes"),
}


@pytest.mark.parametrize("case", BAD_NAMES)
def test_a_name_that_cannot_be_one_is_refused(server: Appliance, case: str) -> None:
    path, says = BAD_NAMES[case]
    for method, body in (("POST", {"data": {"a": 1}}), ("GET", None), ("DELETE", None)):
        answer = server.request(method, f"kv2/data/{path}", body)
        assert answer.status == 400, answer.body
        assert says in answer.errors[0]


# --- values -----------------------------------------------------------------------------------------------------------

NUMBERS = ["9007199254740993", "12345678901234567890123", "-0.0", "1.10", "0.1000", "1E5", "1e400", "-1.5e-7", "3"]


@pytest.mark.parametrize("mount", ["kv2/data", "kv1"])
def test_numbers_come_back_with_every_digit(server: Appliance, mount: str) -> None:
    value = b'{"list":[' + ",".join(NUMBERS).encode() + b'],"deep":{"n":' + NUMBERS[0].encode() + b"}}"
    sent = b'{"data":%b}' % value if mount == "kv2/data" else value
    assert server.request("POST", f"{mount}/numbers", raw=sent).status in {200, 204}
    assert value in server.request("GET", f"{mount}/numbers").body
    wrapped = server.request("GET", f"{mount}/numbers", headers={"X-Vault-Wrap-TTL": "60"})
    unwrapped = server.request("POST", "sys/wrapping/unwrap", token=wrapped.json["wrap_info"]["token"])
    assert value in unwrapped.body


def test_a_patch_keeps_the_digits_of_what_it_does_not_name(server: Appliance) -> None:
    put_raw(server, "patched", b'{"a":1.10,"b":{"c":12345678901234567890}}')
    headers = {"Content-Type": "application/merge-patch+json"}
    raw = b'{"data":{"b":{"d":2.50}}}'
    assert server.request("PATCH", "kv2/data/patched", raw=raw, headers=headers).status == 200
    assert b'{"a":1.10,"b":{"c":12345678901234567890,"d":2.50}}' in server.request("GET", "kv2/data/patched").body


def test_a_value_of_a_mebibyte_is_taken_and_a_larger_one_changes_nothing(server: Appliance) -> None:
    full = b'{"v":"' + b"x" * (MEBIBYTE - 8) + b'"}'
    assert put_raw(server, "full", full) == 200
    answer = server.request("POST", "kv2/data/full", raw=b'{"data":{"v":"x%b}}' % full[6:-1])
    assert answer.status == 413
    assert "at most 1048576 bytes" in answer.errors[0]
    assert full in server.request("GET", "kv2/data/full").body
    assert server.request("GET", "kv2/data/full").json["data"]["metadata"]["version"] == 1


@pytest.mark.parametrize(("depth", "status"), [(60, 200), (64, 400), (5000, 400)])
def test_json_is_nested_so_deep_and_no_deeper(server: Appliance, depth: int, status: int) -> None:
    assert put_raw(server, f"deep{depth}", b'{"a":' * depth + b"1" + b"}" * depth) == status


REFUSED = {
    "no body": (b"", 400, "no data provided"),
    "no data": (b"{}", 400, "no data provided"),
    "null": (b'{"data":null}', 400, "no data provided"),
    "list": (b'{"data":[]}', 400, "data must be"),
    "text": (b'{"data":"x"}', 400, "data must be"),
    "number": (b'{"data":7}', 400, "data must be"),
    "cas word": (b'{"data":{},"options":{"cas":"x"}}', 400, "parsing check-and-set"),
    "cas fraction": (b'{"data":{},"options":{"cas":1.5}}', 400, "parsing check-and-set"),
    "cas huge": (b'{"data":{},"options":{"cas":99999999999999999999}}', 400, "parsing check-and-set"),
    "options list": (b'{"data":{},"options":[]}', 400, "options"),
    "not JSON": (b'{"data":', 400, "not valid JSON"),
    "not UTF-8": (b'{"data":{"a":"\xff"}}', 400, "not UTF-8"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_body_that_is_no_secret_is_refused(server: Appliance, case: str) -> None:
    raw, status, says = REFUSED[case]
    answer = server.request("POST", "kv2/data/refused", raw=raw)
    assert answer.status == status, answer.body
    assert says in answer.errors[0]
    assert server.request("GET", "kv2/data/refused").status == 404


@pytest.mark.parametrize("query", ["version=x", "version=-1", "version=1.5", "stage=A%20B", "version=1&stage=current"])
def test_a_version_that_is_none_is_refused(server: Appliance, query: str) -> None:
    assert put_raw(server, "queried", b'{"a":1}') == 200
    answer = server.request("GET", f"kv2/data/queried?{query}")
    assert answer.status == 400, answer.body


# --- permission -------------------------------------------------------------------------------------------------------


def test_listing_without_permission_shows_nothing(server: Appliance) -> None:
    put_raw(server, "hidden/needle", b'{"a":1}')
    server.client().sys.create_or_update_policy("reader", 'path "kv2/data/open/*" { capabilities = ["read"] }')
    token = server.client().auth.token.create(policies=["reader"])["auth"]["client_token"]
    paths = [
        ("LIST", "kv2/metadata/hidden"),
        ("SCAN", "kv2/metadata/"),
        ("LIST", "kv2/detailed-metadata/hidden"),
        ("GET", "kv2/metadata/hidden/needle"),
        ("GET", "kv2/metadata/hidden/absent"),
        ("GET", "kv2/metadata/hidden?list=true"),
        ("GET", "kv2/subkeys/hidden/needle"),
        ("LIST", "kv1/"),
    ]
    for method, path in paths:
        answer = server.request(method, path, token=token)
        assert answer.status == 403, (method, path, answer.body)
        assert answer.errors == ["permission denied"]


# --- faults -----------------------------------------------------------------------------------------------------------


@contextmanager
def full_disk(server: Appliance) -> Iterator[None]:
    """No worker may write beyond the tenth byte of a file: it fails as on a disk that is full."""
    pids = server.worker_pids()
    for pid in pids:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        for pid in pids:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def test_on_a_full_disk_a_put_is_refused_and_the_old_version_stays(server: Appliance) -> None:
    assert put_raw(server, "full-disk", b'{"v":"old"}') == 200
    server.client().sys.disable_audit_device("file")  # its file is as full, and would refuse the reads, too
    with full_disk(server):
        for letter in "abc":
            refused = server.request("POST", "kv2/data/full-disk", {"data": {"v": letter * 100_000}})
            assert refused.status == 503
            assert "disk" in refused.errors[0]
            seen = server.request("GET", "kv2/data/full-disk").json["data"]
            assert (seen["data"], seen["metadata"]["version"]) == ({"v": "old"}, 1)
    assert put_raw(server, "full-disk", b'{"v":"new"}') == 200
    assert server.request("GET", "kv2/data/full-disk?version=1").json["data"]["data"] == {"v": "old"}
    client = server.client()
    client.sys.enable_audit_device("file", path="file", options={"file_path": str(server.data_dir / "audit.log")})


def test_no_value_is_in_log_or_audit(server: Appliance) -> None:
    put_raw(server, "secret-word", b'{"password":"correct-horse-battery","n":[{"x":"staple-needle"}]}')
    server.request("GET", "kv2/data/secret-word")
    server.request("GET", "kv2/data/secret-word")
    server.request("POST", "kv2/data/secret-word", raw=b'{"data":"correct-horse-battery"}')
    for text in (server.log, (server.data_dir / "audit.log").read_text()):
        assert "correct-horse-battery" not in text
        assert "staple-needle" not in text
