"""transit/hash and transit/random: as `sys/tools` has them, and in batches."""

import base64
import hashlib
from typing import Any

import pytest

from core.errors import InvalidRequestError, RequestTooLargeError
from core.requests import Operation
from tests.unit.transit.signing_desk import INPUT, MESSAGE, b64
from tests.unit.transit.transit_mount import Mount

HASHES = {
    **{f"sha2-{bits}": f"sha{bits}" for bits in (224, 256, 384, 512)},
    **{f"sha3-{bits}": f"sha3_{bits}" for bits in (224, 256, 384, 512)},
}


async def batch(mount: Mount, path: str, items: list[Any], **options: Any) -> list[dict[str, Any]]:
    response = await mount.call(Operation.UPDATE, path, {"batch_input": items, **options})
    assert response.status is None  # 200
    assert response.data is not None
    found: list[dict[str, Any]] = response.data["batch_results"]
    return found


@pytest.mark.parametrize("algorithm", HASHES)
async def test_every_hash(mount: Mount, algorithm: str) -> None:
    expected = hashlib.new(HASHES[algorithm], MESSAGE)
    assert await mount.write("hash", input=INPUT, algorithm=algorithm) == {"sum": expected.hexdigest()}
    assert await mount.write(f"hash/{algorithm}", input=INPUT, format="base64", algorithm="x") == {
        "sum": b64(expected.digest())
    }


async def test_sha2_256_in_hex_is_the_default_also_for_much(mount: Mount) -> None:
    much = bytes(4 * 2**20)
    assert await mount.write("hash", input=b64(much)) == {"sum": hashlib.sha256(much).hexdigest()}
    assert await mount.write("hash", input="") == {"sum": hashlib.sha256(b"").hexdigest()}


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("hash", {}, "input missing"),
        ("hash", {"input": None}, "input missing"),
        ("hash", {"input": "?"}, "input must be standard base64"),
        ("hash", {"input": INPUT, "algorithm": "sha1"}, "unsupported algorithm"),
        ("hash/none", {"input": INPUT}, "unsupported algorithm"),
        ("hash/md5", {"input": INPUT}, "unsupported algorithm"),
        ("hash", {"input": INPUT, "format": "base32"}, "format must be"),
        ("hash", {"batch_input": []}, "missing batch input to process"),
        ("hash", {"batch_input": [{"input": INPUT}], "format": "base32"}, "format must be"),
        ("random", {"batch_input": []}, "missing batch input to process"),
        ("random", {"format": "base32"}, "format must be"),
        ("random", {"bytes": 0}, "bytes must be between"),
        ("random", {"bytes": 131073}, "bytes must be between"),
        ("random", {"bytes": "many"}, "bytes must be a whole number"),
        ("random", {"source": "dice"}, "source must be"),
        ("random/dice", {}, "source must be"),
        ("random/all/x", {}, "must be a whole number"),
        ("random/-1", {}, "source must be"),
    ],
)
async def test_requests_that_are_none(mount: Mount, path: str, body: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        await mount.write(path, **body)


@pytest.mark.parametrize(
    ("path", "body", "length"),
    [
        ("random", {}, 32),
        ("random", {"bytes": "16"}, 16),
        ("random/64", {"bytes": 1}, 64),
        ("random/all", {"bytes": 8}, 8),
        ("random/seal/5", {}, 5),
        ("random/platform/131072", {}, 131072),
    ],
)
async def test_random_bytes(mount: Mount, path: str, body: dict[str, Any], length: int) -> None:
    plain = await mount.write(path, **body)
    assert len(base64.b64decode(plain["random_bytes"])) == length
    hexed = await mount.write(path, **body, format="hex")
    assert len(bytes.fromhex(hexed["random_bytes"])) == length


async def test_hashes_in_a_batch(mount: Mount) -> None:
    found = await batch(mount, "hash/sha2-512", [{"input": INPUT, "reference": "a"}, {}, {"input": "?"}])
    assert found[0] == {"sum": hashlib.sha512(MESSAGE).hexdigest(), "reference": "a"}
    assert found[1] == {"error": "input missing", "reference": ""}
    assert "input must be standard base64" in found[2]["error"]


async def test_random_bytes_in_a_batch(mount: Mount) -> None:
    items = [{"bytes": 16, "reference": "a"}, {}, {"bytes": 0}, {"bytes": 131072}, {"bytes": 131072}]
    found = await batch(mount, "random", items, bytes=8, format="hex")
    assert [len(one.get("random_bytes", "")) // 2 for one in found] == [16, 8, 0, 131072, 131072]
    assert found[0]["reference"] == "a"
    assert "bytes must be between" in found[2]["error"]
    assert found[3]["random_bytes"] != found[4]["random_bytes"]


async def test_ten_thousand_random_items_differ(mount: Mount) -> None:
    found = await batch(mount, "random", [{}] * 10_000)
    assert len({one["random_bytes"] for one in found}) == 10_000


async def test_a_batch_that_asks_for_too_much_is_refused(mount: Mount) -> None:
    with pytest.raises(RequestTooLargeError):
        await batch(mount, "random", [{"bytes": 131072}] * 81)
