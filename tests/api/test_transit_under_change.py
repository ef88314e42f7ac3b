"""Keys that change while two workers use them: nothing becomes undecryptable, and no version passes its limit."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

from tests.support.appliance import Appliance

PLAINTEXT = "bm90aGluZyBtYXkgYmUgbG9zdA=="
ROTATIONS = 24
KEPT = 5  # versions that are not trimmed

# what may be said of a version that was retired or trimmed a moment ago
DOCUMENTED = (
    "ciphertext or signature version is disallowed by policy (too old)",
    "requested version for encryption is less than the minimum encryption key version",
    "requested version for encryption is less than the minimum decryption key version",
    "the key was deleted, replaced or trimmed while it was used; ask again",
)

Answer = tuple[int, dict[str, object]]
Ask = Callable[..., Awaitable[Answer]]


@asynccontextmanager
async def connected(server: Appliance, connections: int):
    """Asks over so many connections, which the kernel spreads over the workers."""
    connector = aiohttp.TCPConnector(limit=connections)
    headers = {"X-Vault-Token": server.root_token}
    async with aiohttp.ClientSession(f"{server.address}/v1/", connector=connector, headers=headers) as session:

        async def ask(path: str, **body: object) -> Answer:
            async with session.post(f"transit/{path}", json=body) as response:
                text = await response.text()
                return response.status, json.loads(text) if text else {}

        yield ask


def version_of(ciphertext: str) -> int:
    return int(ciphertext.split(":")[1][1:])


def audited_warnings(server: Appliance) -> list[str]:
    lines = (server.data_dir / "audit.log").read_text().splitlines()
    return [warning for line in lines for warning in json.loads(line).get("response", {}).get("warnings") or ()]


def metric(server: Appliance, name: str) -> int:
    text = server.request("GET", "sys/metrics?format=prometheus").body.decode()
    return int(next(line for line in text.splitlines() if line.startswith(f"mimir_{name} ")).split()[1])


async def test_a_key_rotates_itself_before_its_versions_are_used_up(appliance: Appliance) -> None:
    rotated = metric(appliance, "transit_keys_rotated_total")
    async with connected(appliance, 16) as ask:
        assert (await ask("keys/limited", max_encryptions=200))[0] == 200

        async def encrypt(number: int) -> list[str]:
            made = []
            for _ in range(number):
                status, answer = await ask("encrypt/limited", plaintext=PLAINTEXT)
                assert status == 200, answer
                made.append(str(answer["data"]["ciphertext"]))
            return made

        ciphertexts = [text for made in await asyncio.gather(*(encrypt(63) for _ in range(16))) for text in made]
        versions = Counter(map(version_of, ciphertexts))
        assert sum(versions.values()) == 1008
        assert len(versions) >= 6
        assert max(versions.values()) <= 200

        items = [{"ciphertext": text} for text in ciphertexts]
        status, answer = await ask("decrypt/limited", batch_input=items)
        assert status == 200
        assert {item["plaintext"] for item in answer["data"]["batch_results"]} == {PLAINTEXT}

    shown = appliance.request("GET", "transit/keys/limited").json["data"]
    assert all(versions[int(version)] <= used <= 200 for version, used in shown["usage"].items())
    assert metric(appliance, "transit_keys_rotated_total") - rotated == shown["latest_version"] - 1
    assert metric(appliance, "transit_encryption_limit_warnings_total") > 0
    assert any(said.startswith("key limited version 1 has used ") for said in audited_warnings(appliance))


@dataclass
class Change:
    """What the rotator has done, and what the others have seen."""

    running: bool = True
    floor: int = 1  # versions from here on were never asked to go
    latest: int = 1
    ciphertexts: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    said: Counter[str] = field(default_factory=Counter)

    async def timed(self, asked: Awaitable[Answer]) -> Answer:
        start = time.perf_counter()
        answer = await asked
        self.seconds.append(time.perf_counter() - start)
        return answer

    def refused(self, answer: Answer) -> str:
        """The sentence of a refusal that is documented."""
        [sentence] = answer[1]["errors"]  # type: ignore[misc]  # a list, or the test fails
        assert answer[0] == 400, answer
        assert sentence in DOCUMENTED
        self.said[sentence] += 1
        return sentence


async def _encrypt(ask: Ask, change: Change, draw: random.Random) -> None:
    while change.running:
        asked = draw.choice([0, 0, 0, change.latest, max(1, change.floor)])
        status, answer = await change.timed(ask("encrypt/moving", plaintext=PLAINTEXT, key_version=asked))
        if status == 200:
            change.ciphertexts.append(answer["data"]["ciphertext"])  # type: ignore[index]
        else:
            assert asked, answer  # the latest version always encrypts
            change.refused((status, answer))


async def _decrypt(ask: Ask, change: Change, draw: random.Random) -> None:
    while change.running:
        if not change.ciphertexts:
            await asyncio.sleep(0.01)
            continue
        text = draw.choice(change.ciphertexts[-200:])
        status, answer = await change.timed(ask("decrypt/moving", ciphertext=text))
        if status == 200:
            assert answer["data"]["plaintext"] == PLAINTEXT  # type: ignore[index]
        else:
            assert version_of(text) < change.floor, answer
            change.refused((status, answer))


async def _rotate_and_trim(ask: Ask, change: Change) -> None:
    try:
        for _ in range(ROTATIONS):
            status, answer = await change.timed(ask("keys/moving/rotate"))
            assert status == 200, answer
            change.latest += 1
            if change.latest % 3 == 0 and change.latest > KEPT:
                change.floor = floor = change.latest - KEPT
                raised = {"min_decryption_version": floor, "min_encryption_version": floor}
                assert (await ask("keys/moving/config", **raised))[0] == 200
                assert (await ask("keys/moving/trim", min_available_version=floor))[0] in (200, 204)
            await asyncio.sleep(0.02)
    finally:
        change.running = False


async def test_nothing_becomes_undecryptable_while_a_key_is_rotated_and_trimmed(appliance: Appliance) -> None:
    change, draw = Change(), random.Random(20261122)  # noqa: S311 - which request comes when is no secret
    async with connected(appliance, 9) as ask:
        assert (await ask("keys/moving"))[0] == 200
        async with asyncio.TaskGroup() as group:
            group.create_task(_rotate_and_trim(ask, change))
            for _ in range(4):
                group.create_task(_encrypt(ask, change, draw))
                group.create_task(_decrypt(ask, change, draw))

        shown = appliance.request("GET", "transit/keys/moving").json["data"]
        assert shown["latest_version"] == change.latest
        assert shown["min_available_version"] == change.floor
        assert change.latest == 1 + ROTATIONS
        for start in range(0, len(change.ciphertexts), 500):
            await _check_all(ask, change, change.ciphertexts[start : start + 500])

    change.seconds.sort()
    p99 = change.seconds[int(len(change.seconds) * 0.99)]
    print(f"{len(change.seconds)} requests over {change.latest} versions, p99 {p99 * 1000:.1f} ms; {dict(change.said)}")  # noqa: T201 - a figure to read


async def _check_all(ask: Ask, change: Change, ciphertexts: list[str]) -> None:
    """What is still there decrypts, and what was trimmed says so."""
    _, answer = await ask("decrypt/moving", batch_input=[{"ciphertext": text} for text in ciphertexts])
    for text, item in zip(ciphertexts, answer["data"]["batch_results"], strict=True):  # type: ignore[index]
        if version_of(text) >= change.floor:
            assert item["plaintext"] == PLAINTEXT
        else:
            assert item["error"] == DOCUMENTED[0]
