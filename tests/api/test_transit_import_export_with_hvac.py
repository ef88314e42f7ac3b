"""Keys in and out through hvac, against two workers and a real SoftHSM: both custodies."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import hvac.exceptions
import pytest
from cryptography import x509

from tests.support.appliance import Appliance
from tests.support.key_wrapping import material, public_pem, wrap
from transit.format import encode_base64

STORE = "development-sqlite"  # of the fixture `appliance`

P = encode_base64(b"hello")
IN_THE_HSM = ("aes256-gcm96", "ecdsa-p256", "ecdsa-p521", "rsa-2048", "hmac", "aes256-cmac")
SEALED = (*IN_THE_HSM, "ed25519", "xchacha20-poly1305", "ml-dsa-65")


# the store in which two workers meet in earnest; the wrapping key takes seconds to make
pytestmark = pytest.mark.parametrize("appliance", ["production-postgresql"], indirect=True, scope="module")


@pytest.fixture(scope="module")
def wrapped(appliance: Appliance) -> Callable[[bytes], str]:
    pem = appliance.request("GET", "transit/wrapping_key").json["data"]["public_key"]
    return lambda octets: wrap(pem, octets)


def post(appliance: Appliance, path: str, **body: object) -> dict[str, object]:
    reply = appliance.request("POST", f"transit/{path}", body)
    assert reply.status in (200, 204), reply.body
    return dict(reply.json["data"]) if reply.status == 200 else {}


def refused(appliance: Appliance, method: str, path: str, body: object = None) -> str:
    reply = appliance.request(method, f"transit/{path}", body)
    assert reply.status == 400, reply.body
    [sentence] = reply.errors
    return str(sentence)


def use(appliance: Appliance, name: str, key_type: str) -> None:
    """What the key is for, once."""
    if key_type.endswith(("-gcm96", "-poly1305", "rsa-2048")):
        sealed = post(appliance, f"encrypt/{name}", plaintext=P)["ciphertext"]
        assert post(appliance, f"decrypt/{name}", ciphertext=sealed)["plaintext"] == P
    if key_type.startswith(("ecdsa", "rsa", "ed25519", "ml-dsa")):
        signature = post(appliance, f"sign/{name}", input=P)["signature"]
        assert post(appliance, f"verify/{name}", input=P, signature=signature)["valid"] is True
    mac = post(appliance, f"hmac/{name}", input=P)["hmac"]
    assert post(appliance, f"verify/{name}", input=P, hmac=mac)["valid"] is True


@pytest.mark.parametrize("key_type", IN_THE_HSM)
def test_a_key_is_imported_into_the_hsm(appliance: Appliance, wrapped: Callable[[bytes], str], key_type: str) -> None:
    octets = material(key_type)[:64] if key_type == "hmac" else material(key_type)
    octets = octets.ljust(64, b"x") if key_type == "hmac" else octets
    name = f"hsm-{key_type}"
    post(appliance, f"keys/{name}/import", type=key_type, ciphertext=wrapped(octets), require_custody="hsm")
    assert appliance.client().secrets.transit.read_key(name)["data"]["custody"] == "hsm"
    use(appliance, name, key_type)
    for as_type in ("hmac-key", "encryption-key", "signing-key"):
        refused(appliance, "GET", f"export/{as_type}/{name}")
    assert "HSM" in refused(appliance, "GET", f"backup/{name}")


@pytest.mark.parametrize("key_type", SEALED)
def test_a_sealed_key_comes_in_works_and_leaves(
    appliance: Appliance, wrapped: Callable[[bytes], str], key_type: str
) -> None:
    name = f"sealed-{key_type}"
    may_leave = {"exportable": True, "allow_plaintext_backup": True}
    post(appliance, f"keys/{name}/import", type=key_type, ciphertext=wrapped(material(key_type)), **may_leave)
    use(appliance, name, key_type)
    transit = appliance.client().secrets.transit
    backup = transit.backup_key(name)["data"]["backup"]
    with pytest.raises(hvac.exceptions.InvalidRequest, match="already exists"):
        transit.restore_key(backup, name=name)
    transit.restore_key(backup, name=f"{name}-again")
    use(appliance, f"{name}-again", key_type)
    transit.restore_key(backup, name=name, force=True)
    assert transit.export_key(name, "hmac-key")["data"] == {
        **transit.export_key(f"{name}-again", "hmac-key")["data"],
        "name": name,
    }


def test_the_wrapping_key_is_the_same_in_every_worker(appliance: Appliance) -> None:
    answers = {appliance.request("GET", "transit/wrapping_key").json["data"]["public_key"] for _ in range(20)}
    assert len(answers) == 1


def test_of_many_who_import_one_name_one_wins(appliance: Appliance, wrapped: Callable[[bytes], str]) -> None:
    bodies = [{"ciphertext": wrapped(os.urandom(32))} for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        replies = list(threads.map(lambda body: appliance.request("POST", "transit/keys/race/import", body), bodies))
    assert sorted(reply.status for reply in replies) == [204] + [400] * 7
    assert appliance.client().secrets.transit.read_key("race")["data"]["latest_version"] == 1


def test_a_wrong_wrapping_says_one_thing(appliance: Appliance, wrapped: Callable[[bytes], str]) -> None:
    good = wrapped(bytes(32))
    texts = [encode_base64(os.urandom(552)), good[:-12] + "AAAAAAAAAAA=", good[:700], encode_base64(b"x")]
    said = {refused(appliance, "POST", "keys/oracle/import", {"ciphertext": text}) for text in texts}
    said |= {refused(appliance, "POST", "keys/oracle/import", {"ciphertext": good, "hash_function": "SHA512"})}
    assert len(said) == 1
    assert appliance.request("GET", "transit/keys/oracle").status == 404


@pytest.mark.parametrize("key_type", ["ecdsa-p256", "rsa-2048", "ed25519"])
def test_a_request_and_its_public_key(appliance: Appliance, key_type: str) -> None:
    name = f"csr-{key_type}"
    post(appliance, f"keys/{name}", type=key_type)
    csr = x509.load_pem_x509_csr(str(post(appliance, f"keys/{name}/csr")["csr"]).encode())
    assert csr.is_signature_valid


def test_hvac_exports_and_refuses_as_it_expects(appliance: Appliance) -> None:
    transit = appliance.client().secrets.transit
    transit.create_key("export-me", exportable=True, allow_plaintext_backup=True)
    assert len(transit.export_key("export-me", "encryption-key", version="1")["data"]["keys"]["1"]) == 44
    transit.create_key("stays")
    with pytest.raises(hvac.exceptions.InvalidRequest, match="plaintext backup is disallowed on the policy"):
        transit.backup_key("stays")
    with pytest.raises(hvac.exceptions.InvalidRequest):
        transit.export_key("stays", "encryption-key")


def test_keys_that_left_and_came_are_not_in_the_audit_file(
    appliance: Appliance, wrapped: Callable[[bytes], str]
) -> None:
    """Exports, backups and imports are there as HMACs only."""
    post(appliance, "keys/quiet", exportable=True, allow_plaintext_backup=True, type="ecdsa-p256")
    post(appliance, "keys/target/import", type="rsa-2048", public_key=public_pem("rsa-2048"))
    sent = wrapped(bytes(32))
    post(appliance, "keys/quiet-in/import", ciphertext=sent)
    keys = [
        appliance.request("GET", f"transit/{path}").json["data"]["keys"]["1"]
        for path in ("export/signing-key/quiet", "export/hmac-key/quiet", "byok-export/target/quiet")
    ]
    backup = appliance.request("GET", "transit/backup/quiet").json["data"]["backup"]
    post(appliance, "restore/quiet-too", backup=backup)
    audit = (appliance.data_dir / "audit.log").read_text()
    assert "export/signing-key/quiet" in audit
    for secret in [*keys, backup, sent]:
        assert len(secret) > 40
        assert secret not in audit
        assert json.dumps(secret)[1:-1] not in audit
        assert secret not in appliance.log
