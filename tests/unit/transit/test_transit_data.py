"""encrypt, decrypt and rewrap: single items, batches, and what is refused."""

import base64
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import CallerError, CiphertextError, HsmGoneError, InvalidRequestError, RequestTooLargeError
from core.protocols import AeadInput, WrappedKey
from core.requests import Operation
from tests.unit.transit.transit_mount import Mount


def _b64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


@pytest.fixture
async def keyed(mount: Mount) -> Mount:
    await mount.write("keys/k")
    return mount


@pytest.mark.parametrize("plaintext", [b"", b"x", b"ssn=123-45-6789", bytes(2**20)])
@pytest.mark.parametrize("associated_data", [b"", b"tenant-7"])
async def test_what_is_encrypted_decrypts(keyed: Mount, plaintext: bytes, associated_data: bytes) -> None:
    bound = {"associated_data": _b64(associated_data)} if associated_data else {}
    sealed = await keyed.write("encrypt/k", plaintext=_b64(plaintext), **bound)
    assert sealed["key_version"] == 1
    opened = await keyed.write("decrypt/k", ciphertext=sealed["ciphertext"], **bound)
    assert opened == {"plaintext": _b64(plaintext)}


async def test_two_encryptions_differ(keyed: Mount) -> None:
    texts = {(await keyed.write("encrypt/k", plaintext="aGk="))["ciphertext"] for _ in range(10)}
    assert len(texts) == 10


async def test_key_version_chooses_an_older_version(keyed: Mount) -> None:
    await keyed.write("keys/k/rotate")
    sealed = await keyed.write("encrypt/k", plaintext="aGk=", key_version="1")
    assert sealed["ciphertext"].startswith("mimir:v1:")
    assert sealed["key_version"] == 1


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("encrypt/k", {}, "missing plaintext to encrypt"),
        ("encrypt/k", {"plaintext": None}, "missing plaintext to encrypt"),
        ("encrypt/k", {"plaintext": 5}, "plaintext must be a string"),
        ("encrypt/k", {"plaintext": "no base64!"}, "plaintext must be standard base64"),
        ("encrypt/k", {"plaintext": "aGk"}, "plaintext must be standard base64"),
        ("encrypt/k", {"plaintext": "aGk=", "associated_data": "?"}, "associated_data must be standard base64"),
        ("encrypt/k", {"plaintext": "aGk=", "context": "aGk="}, "this key is not derived"),
        ("encrypt/k", {"plaintext": "aGk=", "nonce": "aGk="}, "nonce not allowed"),
        ("encrypt/k", {"plaintext": "aGk=", "key_version": -1}, "negative"),
        ("encrypt/k", {"plaintext": "aGk=", "key_version": 2}, "higher than the latest"),
        ("encrypt/k", {"plaintext": "aGk=", "key_version": 2**62}, "higher than the latest"),
        ("encrypt/k", {"plaintext": "aGk=", "key_version": "latest"}, "key_version must be a whole number"),
        ("encrypt/k", {"plaintext": "aGk=", "key_version": True}, "key_version must be a whole number"),
        ("encrypt/k", {"plaintext": _b64(bytes(2**20 + 1))}, "over 1 MiB"),
        ("encrypt/k", {"plaintext": "", "associated_data": _b64(bytes(2**20 + 1))}, "associated_data is over 1 MiB"),
        ("encrypt/k", {"batch_input": []}, "missing batch input to process"),
        ("encrypt/k", {"batch_input": "aGk="}, "batch_input must be a list"),
        ("encrypt/k", {"batch_input": {}}, "batch_input must be a list"),
        ("encrypt/k", {"batch_input": ["aGk="]}, "must be an object"),
        ("encrypt/k", {"batch_input": [None]}, "must be an object"),
        ("encrypt/k", {"batch_input": [{"plaintext": 1}]}, "must be a string"),
        ("encrypt/k", {"batch_input": [{"plaintext": "aGk="}, {}]}, r"'\[1\].plaintext' missing plaintext"),
        ("encrypt/k", {"plaintext": "aGk=", "padding_scheme": "pkcs1v15"}, "padding_scheme"),
        ("encrypt/k", {"batch_input": [{"plaintext": "aGk=", "padding_scheme": "pkcs1v15"}]}, "padding_scheme"),
        ("decrypt/k", {}, "missing ciphertext to decrypt"),
        ("decrypt/k", {"ciphertext": ""}, "missing ciphertext to decrypt"),
        ("decrypt/k", {"ciphertext": "vault:v1:AAAA"}, "only by a key that was imported"),
        ("decrypt/k", {"ciphertext": "mimir:v0:AAAA"}, "version number could not be decoded"),
        ("decrypt/k", {"ciphertext": "mimir:v2:AAAA"}, "version is too new"),
        ("decrypt/k", {"ciphertext": "mimir:v1:AAAA"}, "unable to decrypt"),
        ("decrypt/k", {"ciphertext": "mimir:v1:" + _b64(bytes(2**20 + 29))}, "over 1 MiB"),
        ("decrypt/k", {"batch_input": [{"plaintext": "aGk="}]}, r"'\[0\].ciphertext' missing ciphertext"),
        ("rewrap/k", {}, "missing ciphertext to decrypt"),
        ("rewrap/k", {"ciphertext": "nonsense"}, "no prefix"),
        ("rewrap/k", {"batch_input": []}, "missing batch input to process"),
        ("decrypt/absent", {"ciphertext": "mimir:v1:AAAA"}, "encryption key not found"),
        ("rewrap/absent", {"ciphertext": "mimir:v1:AAAA"}, "encryption key not found"),
    ],
)
async def test_refusals(keyed: Mount, path: str, body: dict[str, Any], said: str) -> None:
    with pytest.raises(CallerError, match=said):
        await keyed.call(Operation.UPDATE, path, body)


async def test_a_batch_has_at_most_100000_items(keyed: Mount) -> None:
    items = [{"plaintext": ""}] * 100_001
    with pytest.raises(RequestTooLargeError, match="at most 100000"):
        await keyed.write("encrypt/k", batch_input=items)


@pytest.mark.parametrize("change", ["flip", "cut", "empty", "other key", "associated data"])
async def test_what_was_forged_gets_one_answer(keyed: Mount, change: str) -> None:
    sealed = await keyed.write("encrypt/k", plaintext="aGk=", associated_data="YQ==")
    octets = bytearray(base64.b64decode(sealed["ciphertext"].removeprefix("mimir:v1:")))
    bound, name = "YQ==", "k"
    if change == "flip":
        octets[-1] ^= 1
    elif change == "cut":
        octets = octets[:20]
    elif change == "empty":
        octets = octets[:1]
    elif change == "other key":
        name = "other"
        await keyed.write("keys/other")
    else:
        bound = "Yg=="
    with pytest.raises(CiphertextError) as caught:
        await keyed.write(f"decrypt/{name}", ciphertext="mimir:v1:" + _b64(bytes(octets)), associated_data=bound)
    assert caught.value.sentence == "invalid ciphertext: unable to decrypt"


async def test_encrypt_creates_an_absent_key_where_the_policy_lets_it(mount: Mount) -> None:
    sealed = await mount.write("encrypt/new", plaintext="aGk=")
    assert (await mount.read("keys/new"))["latest_version"] == 1
    assert (await mount.write("decrypt/new", ciphertext=sealed["ciphertext"]))["plaintext"] == "aGk="


async def test_update_alone_creates_nothing(mount: Mount) -> None:
    route, params = mount._find("encrypt/new")
    method = route.methods[Operation.UPDATE]
    assert not method.mutates
    request = _request_of(mount, "encrypt/new", params)
    with pytest.raises(InvalidRequestError, match="encryption key not found"):
        await method.handler(request, method.body(plaintext="aGk="))
    assert await mount.storage.list("logical/u/") == []


def _request_of(mount: Mount, path: str, params: dict[str, str]) -> Any:
    from core.requests import Request

    return Request(request_id="r", operation=Operation.UPDATE, mount_path="transit/", path=path, params=params)


async def test_creation_that_came_too_late_warns(keyed: Mount) -> None:
    route, params = keyed._find("encrypt/k")
    method = route.methods[Operation.CREATE]
    assert method.mutates
    response = await method.handler(_request_of(keyed, "encrypt/k", params), method.body(plaintext="aGk="))
    assert response.warnings == [
        "Attempted creation of the key during the encrypt operation, but it was created beforehand"
    ]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"plaintext": "?"},
        {"plaintext": "aGk=", "type": "ecdsa-p256"},
        {"plaintext": "aGk=", "convergent_encryption": True},
        {"batch_input": []},
    ],
)
async def test_a_refused_encrypt_creates_no_key(mount: Mount, body: dict[str, Any]) -> None:
    with pytest.raises(CallerError):
        await mount.write("encrypt/new", **body)
    assert await mount.storage.list("logical/u/") == []


async def test_rewrap_moves_to_the_latest_version_and_keeps_the_binding(keyed: Mount) -> None:
    old = await keyed.write("encrypt/k", plaintext="aGk=", associated_data="YQ==")
    await keyed.write("keys/k/rotate")
    new = await keyed.write("rewrap/k", ciphertext=old["ciphertext"], associated_data="YQ==")
    assert new["key_version"] == 2
    assert set(new) == {"ciphertext", "key_version"}
    opened = await keyed.write("decrypt/k", ciphertext=new["ciphertext"], associated_data="YQ==")
    assert opened["plaintext"] == "aGk="
    with pytest.raises(CiphertextError):
        await keyed.write("rewrap/k", ciphertext=old["ciphertext"])


async def test_a_batch_goes_through_the_hsm_once(keyed: Mount) -> None:
    keyed.keys.calls.clear()
    items = [{"plaintext": _b64(bytes([i]))} for i in range(100)]
    sealed = (await keyed.write("encrypt/k", batch_input=items))["batch_results"]
    assert keyed.keys.calls == [("encrypt", 100)]
    keyed.keys.calls.clear()
    opened = await keyed.write("decrypt/k", batch_input=[{"ciphertext": r["ciphertext"]} for r in sealed])
    assert keyed.keys.calls == [("decrypt", 100)]
    assert [r["plaintext"] for r in opened["batch_results"]] == [item["plaintext"] for item in items]


async def test_decrypting_groups_by_version(keyed: Mount) -> None:
    old = [(await keyed.write("encrypt/k", plaintext="YQ=="))["ciphertext"] for _ in range(2)]
    await keyed.write("keys/k/rotate")
    new = [(await keyed.write("encrypt/k", plaintext="Yg=="))["ciphertext"] for _ in range(2)]
    keyed.keys.calls.clear()
    texts = [old[0], new[0], old[1], new[1]]
    opened = await keyed.write("decrypt/k", batch_input=[{"ciphertext": text} for text in texts])
    assert keyed.keys.calls == [("decrypt", 2), ("decrypt", 2)]
    assert [r["plaintext"] for r in opened["batch_results"]] == ["YQ==", "Yg==", "YQ==", "Yg=="]


async def test_a_huge_batch_goes_in_passes(keyed: Mount) -> None:
    keyed.keys.calls.clear()
    answers = await keyed.engine.encrypt("k", [(0, AeadInput(b""))] * 2500)
    assert keyed.keys.calls == [("encrypt", 1000), ("encrypt", 1000), ("encrypt", 500)]
    assert len(answers) == 2500


async def test_each_item_fails_by_itself(keyed: Mount) -> None:
    response = await keyed.call(
        Operation.UPDATE,
        "encrypt/k",
        {
            "batch_input": [
                {"plaintext": "aGk=", "reference": "first"},
                {"plaintext": "?", "reference": "second"},
                {"plaintext": "aGk=", "key_version": 7},
                {"plaintext": "", "associated_data": None, "context": ""},
            ]
        },
    )
    assert response.status == 400
    results = (response.data or {})["batch_results"]
    assert results[0]["ciphertext"].startswith("mimir:v1:")
    assert results[0]["reference"] == "first"
    assert results[1] == {"error": "plaintext must be standard base64 with its padding", "reference": "second"}
    assert results[2] == {
        "error": "requested version for encryption is higher than the latest key version",
        "reference": "",
    }
    assert results[3]["key_version"] == 1


async def test_a_batch_of_successes_has_the_usual_status(keyed: Mount) -> None:
    response = await keyed.call(Operation.UPDATE, "encrypt/k", {"batch_input": [{"plaintext": "aGk="}]})
    assert response.status is None


@pytest.mark.parametrize(
    ("code", "all_fail", "status", "warned"),
    [
        (None, False, 400, False),
        (202, False, 202, False),
        ("202", False, 202, False),
        (202, True, 400, False),
        (0, False, 400, True),
        (99, False, 400, True),
        (600, False, 400, True),
        (-1, False, 400, True),
    ],
)
async def test_partial_failure_response_code(
    keyed: Mount, code: object, all_fail: bool, status: int, warned: bool
) -> None:
    body = {"batch_input": [{"plaintext": "?" if all_fail else "aGk="}, {"plaintext": "?"}]}
    if code is not None:
        body["partial_failure_response_code"] = code  # type: ignore[assignment]
    response = await keyed.call(Operation.UPDATE, "encrypt/k", body)
    assert response.status == status
    assert bool(response.warnings) == warned


async def test_failed_items_of_a_decrypt_batch(keyed: Mount) -> None:
    good = (await keyed.write("encrypt/k", plaintext="aGk="))["ciphertext"]
    texts = ["", "nonsense", good[:-4] + "AAAA", "mimir:v9:AAAA", good]
    response = await keyed.call(
        Operation.UPDATE, "decrypt/k", {"batch_input": [{"ciphertext": text} for text in texts]}
    )
    results = (response.data or {})["batch_results"]
    assert response.status == 400
    assert [r["plaintext"] for r in results] == ["", "", "", "", "aGk="]
    assert results[0]["error"] == "missing ciphertext to decrypt"
    assert "no prefix" in results[1]["error"]
    assert results[2]["error"] == "invalid ciphertext: unable to decrypt"
    assert results[3]["error"] == "invalid ciphertext: version is too new"
    assert "error" not in results[4]


async def test_failed_items_of_a_rewrap_batch(keyed: Mount) -> None:
    good = (await keyed.write("encrypt/k", plaintext="aGk="))["ciphertext"]
    await keyed.write("keys/k/rotate")
    response = await keyed.call(
        Operation.UPDATE,
        "rewrap/k",
        {"batch_input": [{"ciphertext": "x"}, {"ciphertext": good}, {"ciphertext": good, "key_version": 9}, {}]},
    )
    results = (response.data or {})["batch_results"]
    assert [r.get("key_version") for r in results] == [None, 2, None, None]
    assert "higher than the latest" in results[2]["error"]
    assert results[3]["error"] == "missing ciphertext to decrypt"
    assert response.status is None  # 200 is Vault's, of this operation


async def test_batch_input_hides_the_single_item(keyed: Mount) -> None:
    shown = await keyed.write("encrypt/k", plaintext="?", context="x", batch_input=[{"plaintext": "aGk="}])
    assert len(shown["batch_results"]) == 1


async def test_an_hsm_fault_is_one_for_the_whole_batch(keyed: Mount, monkeypatch: pytest.MonkeyPatch) -> None:
    async def gone(_key: WrappedKey, _items: list[AeadInput], *, convergent: bool = False) -> list[bytes]:
        raise HsmGoneError("the HSM is away")

    monkeypatch.setattr(keyed.keys, "encrypt", gone)
    with pytest.raises(HsmGoneError):
        await keyed.write("encrypt/k", batch_input=[{"plaintext": "aGk="}, {"plaintext": "?"}])


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    items=st.lists(st.tuples(st.binary(max_size=40), st.binary(max_size=10), st.booleans()), min_size=1, max_size=12)
)
async def test_batches_keep_their_order(items: list[tuple[bytes, bytes, bool]]) -> None:
    """Whatever is mixed, each answer stands where its item stood."""
    mount = Mount()
    await mount.write("keys/k")
    await mount.write("keys/k/rotate")
    batch = [
        {
            "plaintext": _b64(p) if good else "!",
            "associated_data": _b64(a),
            "key_version": 1 + len(p) % 2,
            "reference": str(i),
        }
        for i, (p, a, good) in enumerate(items)
    ]
    sealed = (await mount.write("encrypt/k", batch_input=batch))["batch_results"]
    assert [r["reference"] for r in sealed] == [str(i) for i in range(len(items))]
    assert ["error" in r for r in sealed] == [not good for _, _, good in items]
    opened = (
        await mount.write(
            "decrypt/k",
            batch_input=[
                {"ciphertext": r.get("ciphertext", ""), "associated_data": _b64(a)}
                for r, (_, a, _) in zip(sealed, items, strict=True)
            ],
        )
    )["batch_results"]
    assert [r["plaintext"] for r in opened] == [_b64(p) if good else "" for p, _, good in items]


# --- one item of many -------------------------------------------------------------------------------------------------


@pytest.fixture
async def rsa(mount: Mount) -> Mount:
    await mount.write("keys/r", type="rsa-2048")
    return mount


async def test_an_rsa_item_with_associated_data_or_context_fails_alone(rsa: Mount) -> None:
    sealed = (await rsa.write("encrypt/r", plaintext="aGk="))["ciphertext"]
    refused = "an RSA key takes neither associated_data nor context"
    for path, item, shown in (
        ("encrypt/r", {"plaintext": "aGk="}, "ciphertext"),
        ("decrypt/r", {"ciphertext": sealed}, "plaintext"),
        ("rewrap/r", {"ciphertext": sealed}, "ciphertext"),
        ("datakey/wrapped/r", {}, "ciphertext"),
    ):
        items = [item, {**item, "associated_data": "aGk="}, {**item, "context": "aGk="}, item]
        response = await rsa.call(Operation.UPDATE, path, {"batch_input": items})
        results = (response.data or {})["batch_results"]
        assert response.status == (None if path == "rewrap/r" else 400)  # as OpenBao has it
        assert [result.get("error") for result in results] == [None, refused, refused, None]
        assert results[0][shown]
        assert results[3][shown]


async def test_an_item_of_a_version_without_private_key_fails_alone(rsa: Mount) -> None:
    found = await rsa.call(Operation.READ, "export/public-key/r", {"format": "pem"})
    await rsa.write("keys/p/import", type="rsa-2048", public_key=(found.data or {})["keys"]["1"], allow_rotation=True)
    await rsa.write("keys/p/rotate")
    first = (await rsa.write("encrypt/p", plaintext="aGk=", key_version=1))["ciphertext"]
    second = (await rsa.write("encrypt/p", plaintext="aGk="))["ciphertext"]
    response = await rsa.call(
        Operation.UPDATE, "decrypt/p", {"batch_input": [{"ciphertext": text} for text in (first, second, first)]}
    )
    results = (response.data or {})["batch_results"]
    assert results[1]["plaintext"] == "aGk="
    assert all("only the public key of this version was imported" in results[i]["error"] for i in (0, 2))


async def test_many_data_keys_are_cut_from_few_draws(keyed: Mount, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[int] = []
    random = keyed.keys.random

    async def counted(length: int) -> bytes:
        lengths.append(length)
        return await random(length)

    monkeypatch.setattr(keyed.keys, "random", counted)
    made = await keyed.write("datakey/plaintext/k", batch_input=[{"bits": (128, 256, 512)[i % 3]} for i in range(6000)])
    texts = [result["plaintext"] for result in made["batch_results"]]
    assert [len(base64.b64decode(text)) for text in texts[:3]] == [16, 32, 64]
    assert len(set(texts)) == 6000
    assert max(lengths) <= 128 * 1024
    assert len(lengths) == 2
