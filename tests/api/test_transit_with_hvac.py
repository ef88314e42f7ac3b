"""Transit through an independent Vault client (hvac), against two workers and a real SoftHSM."""

import base64
import json
from concurrent.futures import ThreadPoolExecutor

import hvac.exceptions
import pytest

from tests.support.appliance import Appliance

STORE = "development-sqlite"  # of the fixture `appliance`


def b64(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


@pytest.fixture(scope="module")
def key(appliance: Appliance) -> str:
    appliance.client().secrets.transit.create_key("orders")
    return "orders"


def test_round_trip_and_prefix(appliance: Appliance, key: str) -> None:
    transit = appliance.client().secrets.transit
    sealed = transit.encrypt_data(key, plaintext=b64("hello"))["data"]
    assert sealed["ciphertext"].startswith("mimir:v1:")
    assert sealed["key_version"] == 1
    assert transit.decrypt_data(key, sealed["ciphertext"])["data"]["plaintext"] == b64("hello")


def test_layout_is_nonce_ciphertext_tag(appliance: Appliance, key: str) -> None:
    sealed = appliance.client().secrets.transit.encrypt_data(key, plaintext=b64("x" * 10))["data"]["ciphertext"]
    assert len(base64.b64decode(sealed.rsplit(":", 1)[1], validate=True)) == 12 + 10 + 16


def test_two_encryptions_differ(appliance: Appliance, key: str) -> None:
    transit = appliance.client().secrets.transit
    assert len({transit.encrypt_data(key, plaintext=b64("x"))["data"]["ciphertext"] for _ in range(20)}) == 20


def test_key_is_in_hsm_custody_and_counts(appliance: Appliance) -> None:
    transit = appliance.client().secrets.transit
    transit.create_key("counted")
    transit.encrypt_data("counted", plaintext=b64("x"))
    data = transit.read_key("counted")["data"]
    assert data["custody"] == "hsm"
    assert data["type"] == "aes256-gcm96"
    assert data["latest_version"] == 1
    assert int(data["usage"]["1"]) >= 1


def test_rotate_keeps_old_ciphertext(appliance: Appliance) -> None:
    transit = appliance.client().secrets.transit
    transit.create_key("rotated")
    old = transit.encrypt_data("rotated", plaintext=b64("before"))["data"]["ciphertext"]
    transit.rotate_key("rotated")
    new = transit.encrypt_data("rotated", plaintext=b64("after"))["data"]["ciphertext"]
    assert new.startswith("mimir:v2:")
    assert transit.decrypt_data("rotated", old)["data"]["plaintext"] == b64("before")
    rewrapped = transit.rewrap_data("rotated", old)["data"]["ciphertext"]
    assert rewrapped.startswith("mimir:v2:")
    assert transit.decrypt_data("rotated", rewrapped)["data"]["plaintext"] == b64("before")


def test_min_decryption_version_retires(appliance: Appliance) -> None:
    transit = appliance.client().secrets.transit
    transit.create_key("retired")
    old = transit.encrypt_data("retired", plaintext=b64("x"))["data"]["ciphertext"]
    transit.rotate_key("retired")
    transit.update_key_configuration("retired", min_decryption_version=2)
    for _ in range(8):  # whichever worker answers
        with pytest.raises(hvac.exceptions.InvalidRequest):
            transit.decrypt_data("retired", old)


def test_delete_needs_permission_of_the_key(appliance: Appliance) -> None:
    transit = appliance.client().secrets.transit
    transit.create_key("doomed")
    with pytest.raises(hvac.exceptions.InvalidRequest):
        transit.delete_key("doomed")
    transit.update_key_configuration("doomed", deletion_allowed=True)
    transit.delete_key("doomed")
    for _ in range(8):
        with pytest.raises(hvac.exceptions.InvalidPath):
            transit.read_key("doomed")


def test_list_by_method_and_by_query(appliance: Appliance, key: str) -> None:
    assert key in appliance.client().secrets.transit.list_keys()["data"]["keys"]
    assert key in appliance.request("GET", "transit/keys?list=true").json["data"]["keys"]
    assert key in appliance.request("LIST", "transit/keys/").json["data"]["keys"]


def test_batch_reports_each_item(appliance: Appliance, key: str) -> None:
    transit = appliance.client().secrets.transit
    items = [{"plaintext": b64(str(n)), "associated_data": b64("row")} for n in range(50)]
    sealed = transit.encrypt_data(key, plaintext=None, batch_input=items)["data"]["batch_results"]
    back = [{"ciphertext": s["ciphertext"], "associated_data": b64("row")} for s in sealed]
    opened = transit.decrypt_data(key, ciphertext=None, batch_input=back)["data"]["batch_results"]
    assert [o["plaintext"] for o in opened] == [i["plaintext"] for i in items]
    back[7]["associated_data"] = b64("another row")
    reply = appliance.request("POST", f"transit/decrypt/{key}", {"batch_input": back})
    assert reply.status == 400
    results = reply.json["data"]["batch_results"]
    assert results[7].get("error")
    assert results[8]["plaintext"] == b64("8")


def test_associated_data_binds(appliance: Appliance, key: str) -> None:
    body = {"plaintext": b64("x"), "associated_data": b64("a")}
    ciphertext = appliance.request("POST", f"transit/encrypt/{key}", body).json["data"]["ciphertext"]
    for wrong in ({}, {"associated_data": b64("b")}):
        reply = appliance.request("POST", f"transit/decrypt/{key}", {"ciphertext": ciphertext} | wrong)
        assert reply.status == 400
        assert reply.errors


def test_workers_create_one_key_between_them(appliance: Appliance) -> None:
    def encrypt(number: int) -> str:
        body = {"plaintext": b64(str(number))}
        reply = appliance.request("POST", "transit/encrypt/made-by-many", body)
        assert reply.status == 200, reply.body
        return str(reply.json["data"]["ciphertext"])

    with ThreadPoolExecutor(8) as pool:
        sealed = list(pool.map(encrypt, range(32)))
    transit = appliance.client().secrets.transit
    assert transit.read_key("made-by-many")["data"]["latest_version"] == 1
    opened = [transit.decrypt_data("made-by-many", c)["data"]["plaintext"] for c in sealed]
    assert opened == [b64(str(n)) for n in range(32)]


def test_concurrent_rotations_each_make_a_version(appliance: Appliance) -> None:
    appliance.client().secrets.transit.create_key("spun")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: appliance.client().secrets.transit.rotate_key("spun"), range(12)))
    data = appliance.client().secrets.transit.read_key("spun")["data"]
    assert data["latest_version"] == 13
    assert sorted(map(int, data["keys"])) == list(range(1, 14))


REFUSALS = [
    ("encrypt/orders", {"plaintext": "not base64!"}, 400),
    ("encrypt/orders", {"plaintext": "YQ"}, 400),
    ("encrypt/orders", {}, 400),
    ("encrypt/orders", {"plaintext": 7}, 400),
    ("encrypt/orders", {"plaintext": "YQ==", "key_version": 9}, 400),
    ("encrypt/orders", {"plaintext": "YQ==", "key_version": -1}, 400),
    ("encrypt/orders", {"plaintext": "YQ==", "associated_data": "*"}, 400),
    ("encrypt/orders", {"batch_input": "x"}, 400),
    ("encrypt/orders", {"batch_input": []}, 400),
    ("encrypt/orders", {"batch_input": [7]}, 400),
    ("decrypt/orders", {"ciphertext": ""}, 400),
    ("decrypt/orders", {"ciphertext": "mimir:v1:"}, 400),
    ("decrypt/orders", {"ciphertext": "mimir:v0:AAAA"}, 400),
    ("decrypt/orders", {"ciphertext": "mimir:v01:AAAA"}, 400),
    ("decrypt/orders", {"ciphertext": "mimir:v9:" + b64(bytes(40))}, 400),
    ("decrypt/orders", {"ciphertext": "mimir:v1:" + b64(bytes(40))}, 400),
    ("decrypt/orders", {"ciphertext": "vault:v1:" + b64(bytes(40))}, 400),
    ("decrypt/orders", {"ciphertext": "mimir:v1:????"}, 400),
    ("decrypt/nobody", {"ciphertext": "mimir:v1:" + b64(bytes(40))}, 400),
    ("keys/bad%20name", {}, 400),
    ("keys/x", {"type": "rot13"}, 400),
    ("keys/nobody/rotate", {}, 400),
    ("keys/nobody/config", {"min_decryption_version": 1}, 400),
    ("keys/orders/config", {"min_decryption_version": 99}, 400),
    ("keys/orders/config", {"min_decryption_version": -1}, 400),
    ("nonsense/x", {}, 404),
]


@pytest.mark.parametrize(("path", "body", "status"), REFUSALS)
def test_bad_input_gets_a_sentence(appliance: Appliance, key: str, path: str, body: object, status: int) -> None:
    reply = appliance.request("POST", f"transit/{path}", body)
    assert reply.status == status, reply.body
    assert reply.headers["content-type"] == "application/json"
    if "data" not in reply.json:  # a batch answers item by item
        assert all(len(sentence) > 8 for sentence in reply.errors)
        assert reply.errors or status == 404
    assert "Traceback" not in json.dumps(reply.json)
