"""batch_input of sign and verify: each item by itself, the status always 200, one pass a version and context."""

from typing import Any

import pytest

from core.errors import HsmGoneError, InvalidRequestError, KeyPolicyError, RequestTooLargeError
from core.protocols import SignatureScheme, WrappedKey
from core.requests import Operation, Response
from tests.unit.transit.signing_desk import INPUT, MESSAGE, b64, public_key, raw, valid
from tests.unit.transit.transit_mount import Mount


@pytest.fixture
async def edwards(mount: Mount) -> Mount:
    await mount.write("keys/k", type="ed25519")
    return mount


async def results(mount: Mount, path: str, items: list[Any], **options: Any) -> list[dict[str, Any]]:
    response: Response = await mount.call(Operation.UPDATE, path, {"batch_input": items, **options})
    assert response.status is None  # 200
    data = response.data
    assert data is not None
    found: list[dict[str, Any]] = data["batch_results"]
    assert len(found) == len(items)
    return found


def calls(mount: Mount, operation: str) -> list[int]:
    return [size for called, size in mount.keys.calls if called == operation]


@pytest.mark.parametrize("type_name", ["ecdsa-p256", "ed25519", "ml-dsa-44"])
@pytest.mark.parametrize("marshalling", ["asn1", "jws"])
async def test_batches_verify_as_batches_and_one_by_one(mount: Mount, type_name: str, marshalling: str) -> None:
    await mount.write("keys/k", type=type_name)
    inputs = [b64(b"item %d" % i) for i in range(5)]
    how = {"marshaling_algorithm": marshalling}
    signed = await results(mount, "sign/k", [{"input": text} for text in inputs], **how)
    assert all(set(one) == {"signature", "key_version", "reference"} for one in signed)
    pairs = list(zip(inputs, (one["signature"] for one in signed), strict=True))
    together = [{"input": text, "signature": signature} for text, signature in pairs]
    assert await results(mount, "verify/k", together, **how) == [{"valid": True, "reference": ""}] * 5
    for text, signature in pairs:
        assert await valid(mount, signature, input=text, **how)


async def test_a_batch_of_one(edwards: Mount) -> None:
    [one] = await results(edwards, "sign/k", [{"input": INPUT, "reference": "r-1"}])
    (await public_key(edwards)).verify(raw(one["signature"]), MESSAGE)
    assert one["reference"] == "r-1"
    assert one["key_version"] == 1


async def test_a_batch_of_ten_thousand_goes_in_passes_of_a_thousand(edwards: Mount) -> None:
    items = [{"input": b64(b"%d" % i)} for i in range(10_000)]
    edwards.keys.calls.clear()
    signed = await results(edwards, "sign/k", items)
    assert calls(edwards, "sign") == [1000] * 10
    claims = [{**item, "signature": one["signature"]} for item, one in zip(items, signed, strict=True)]
    claims[7777]["input"] = INPUT
    verdicts = await results(edwards, "verify/k", claims)
    assert [i for i, verdict in enumerate(verdicts) if not verdict["valid"]] == [7777]


@pytest.mark.parametrize("path", ["sign/k", "verify/k"])
async def test_an_empty_batch_is_refused(edwards: Mount, path: str) -> None:
    with pytest.raises(InvalidRequestError, match="missing batch input to process"):
        await edwards.write(path, batch_input=[])


@pytest.mark.parametrize("path", ["sign/k", "verify/k"])
async def test_a_batch_over_the_limit_is_refused(edwards: Mount, path: str) -> None:
    with pytest.raises(RequestTooLargeError):
        await edwards.write(path, batch_input=[{"input": "", "signature": ""}] * 100_001)


@pytest.mark.parametrize("items", ["AAAA", [1], [None], {"input": INPUT}, [{"input": 5}], [["input"]]])
async def test_what_is_no_batch_is_refused(edwards: Mount, items: object) -> None:
    with pytest.raises(InvalidRequestError):
        await edwards.write("sign/k", batch_input=items)


async def test_good_and_bad_items_of_a_signing_batch(edwards: Mount) -> None:
    found = await results(
        edwards,
        "sign/k",
        [
            {"input": INPUT, "reference": "a"},
            {"reference": "b"},
            {"input": "no base64!"},
            {"input": INPUT, "context": "aGk="},
            {"input": INPUT, "context": "?"},
            {"input": "", "reference": "c"},
        ],
    )
    assert [one.get("error", "")[:20] for one in found] == [
        "",
        "missing input",
        "input must be standa",
        "context is given, bu",
        "context must be stan",
        "",
    ]
    assert [one["reference"] for one in found] == ["a", "b", "", "", "", "c"]
    assert [one["key_version"] for one in found] == [1, 0, 0, 0, 0, 1]
    assert all(("signature" in one) is not ("error" in one) for one in found)


async def test_good_and_bad_items_of_a_verifying_batch(edwards: Mount) -> None:
    [signed] = await results(edwards, "sign/k", [{"input": INPUT}])
    good = signed["signature"]
    found = await results(
        edwards,
        "verify/k",
        [
            {"input": INPUT, "signature": good, "reference": "a"},
            {"signature": good, "reference": "b"},
            {"input": INPUT, "signature": "mimir:v1:AAAA"},
            {"input": INPUT, "signature": "mimir:v9:AAAA"},
            {"input": INPUT, "signature": ""},
            {"input": "?", "signature": good},
            {"input": "", "signature": good},
        ],
    )
    assert [one["valid"] for one in found] == [True, False, False, False, False, False, False]
    assert [one.get("error", "")[:24] for one in found] == [
        "",
        "missing input",
        "",
        "invalid signature: versi",
        "invalid signature: no pr",
        "input must be standard b",
        "",
    ]
    assert [one["reference"] for one in found] == ["a", "b", "", "", "", "", ""]


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ([{"input": INPUT}], "no batch_input elements have"),
        ([{}], "no batch_input elements have"),
        ([{"signature": "x"}, {"input": INPUT}], "some elements of batch_input are missing 'signature'"),
        ([{"hmac": "x"}, {"input": INPUT}], "some elements of batch_input are missing 'hmac'"),
        ([{"signature": "x"}, {"hmac": "x"}], "must all provide"),
        ([{"cmac": "x"}, {"hmac": "x"}], "must all provide"),
    ],
)
async def test_items_are_verified_by_one_kind_of_evidence(edwards: Mount, items: list[Any], said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        await edwards.write("verify/k", batch_input=items)


async def test_a_wrong_version_fails_each_item(edwards: Mount) -> None:
    found = await results(edwards, "sign/k", [{"input": INPUT}, {}], key_version=2)
    assert [one["error"][:36] for one in found] == ["requested version for signing is hig", "missing input"]


async def test_digests_of_another_length_fail_alone(mount: Mount) -> None:
    await mount.write("keys/k", type="ecdsa-p256")
    lengths = [32, 31, 32, 0, 64]
    items = [{"input": b64(bytes(length))} for length in lengths]
    signed = await results(mount, "sign/k", items, prehashed=True)
    assert [("signature" in one) for one in signed] == [length == 32 for length in lengths]
    claims = [{**item, "signature": signed[0]["signature"]} for item in items]
    found = await results(mount, "verify/k", claims, prehashed=True)
    assert [one["valid"] for one in found] == [length == 32 for length in lengths]
    assert [("error" in one) for one in found] == [length != 32 for length in lengths]


async def test_items_of_one_context_go_together(mount: Mount) -> None:
    await mount.write("keys/k", type="ed25519", derived=True)
    mount.keys.calls.clear()
    items = [{"input": b64(b"%d" % i), "context": b64(b"tenant-%d" % (i % 3))} for i in range(30)]
    found = await results(mount, "sign/k", [*items, {"input": INPUT}])
    assert calls(mount, "sign") == [10, 10, 10]
    assert len({one["publickey"] for one in found[:-1]}) == 3
    assert "missing 'context'" in found[-1]["error"]
    claims = [{**item, "signature": one["signature"]} for item, one in zip(items, found[:-1], strict=True)]
    assert all(one["valid"] for one in await results(mount, "verify/k", claims))


async def test_the_members_of_a_single_item_are_ignored(edwards: Mount) -> None:
    found = await results(edwards, "sign/k", [{"input": INPUT}], input="no base64!", context="?")
    assert found[0]["signature"]
    claims = [{"input": INPUT, "signature": found[0]["signature"]}]
    assert (await results(edwards, "verify/k", claims, input="?", hmac="x"))[0]["valid"]


async def test_a_batch_for_a_softly_deleted_key_is_refused(edwards: Mount) -> None:
    await edwards.parts.lifecycle.set_soft_deleted("k", True)
    with pytest.raises(KeyPolicyError, match="softly deleted"):
        await edwards.write("sign/k", batch_input=[{"input": INPUT}])
    with pytest.raises(KeyPolicyError, match="softly deleted"):
        await edwards.write("verify/k", batch_input=[{"input": INPUT, "signature": "mimir:v1:AAAA"}])


async def test_an_hsm_that_goes_in_the_middle_answers_for_none(edwards: Mount, monkeypatch: pytest.MonkeyPatch) -> None:
    sign = edwards.keys.sign

    async def fail(key: WrappedKey, digests: Any, *, scheme: SignatureScheme, **options: Any) -> list[bytes]:
        if len(digests) < 1000:
            raise HsmGoneError("the HSM is gone", code="CKR_DEVICE_REMOVED")
        return await sign(key, digests, scheme=scheme, **options)

    monkeypatch.setattr(edwards.keys, "sign", fail)
    with pytest.raises(HsmGoneError):
        await edwards.write("sign/k", batch_input=[{"input": INPUT}] * 1001)
