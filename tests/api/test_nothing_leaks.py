"""After a day's work neither the server's log nor the audit file holds a secret; the audit file proves itself."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest

from tests.support.appliance import Appliance

PLAINTEXT = "ssn=123-45-6789 never in a log"


@pytest.fixture(scope="module")
def used(appliance: Appliance) -> dict[str, str]:
    """Every kind of operation once; what must not be found afterwards."""
    client = appliance.client()
    coded = base64.b64encode(PLAINTEXT.encode()).decode()
    ciphertext = client.secrets.transit.encrypt_data("orders", plaintext=coded)["data"]["ciphertext"]
    client.secrets.transit.decrypt_data("orders", ciphertext)
    token = client.auth.token.create(policies=["default"])["auth"]["client_token"]
    appliance.request("GET", "auth/token/lookup-self", token=token)
    appliance.request("POST", "auth/token/lookup", {"token": token})
    appliance.request(
        "POST", "transit/decrypt/orders", {"ciphertext": ciphertext, "associated_data": "c2VjcmV0LWFhZA=="}
    )
    appliance.request("POST", "transit/encrypt/orders", raw=b'{"plaintext": "' + coded.encode() + b'", broken')
    appliance.request("GET", "sys/mounts", token="hvs.wrong-token-that-someone-typed")
    return {
        "plaintext": PLAINTEXT,
        "coded plaintext": coded,
        "ciphertext": ciphertext,
        "child token": token,
        "root token": appliance.root_token,
        "wrong token": "hvs.wrong-token-that-someone-typed",
        "associated data": "c2VjcmV0LWFhZA==",
        "pin": appliance.pin_file.read_text().strip(),
    } | {f"recovery key {i}": key for i, key in enumerate(appliance.init["recovery_keys"])}


def test_no_secret_in_the_log_or_the_audit_file(appliance: Appliance, used: dict[str, str]) -> None:
    audit = (appliance.data_dir / "audit.log").read_text()
    for name, secret in used.items():
        assert len(secret) > 3
        assert secret not in appliance.log, name
        assert secret not in audit, name


def test_every_response_has_its_request(appliance: Appliance, used: dict[str, str]) -> None:
    lines = [json.loads(line) for line in (appliance.data_dir / "audit.log").read_text().splitlines()]
    requests = {line["request"]["id"] for line in lines if line["type"] == "request"}
    responses = {line["request"]["id"] for line in lines if line["type"] == "response"}
    assert responses <= requests
    assert len(requests - responses) <= 1  # the very request that switched the device on has none before it
    operations = {(line["request"]["path"], line["request"]["operation"]) for line in lines}
    assert ("transit/encrypt/orders", "update") in operations or ("transit/encrypt/orders", "create") in operations


def test_audit_hash_finds_the_line(appliance: Appliance, used: dict[str, str]) -> None:
    reply = appliance.client().sys.calculate_hash("file", used["ciphertext"])
    hashed = reply["data"]["hash"]
    assert hashed.startswith("hmac-sha256:")
    assert hashed in (appliance.data_dir / "audit.log").read_text()


def test_the_audit_file_verifies_and_an_edit_is_found(appliance: Appliance, used: dict[str, str]) -> None:
    from audit.verifier import verify_file

    path = appliance.data_dir / "audit.log"
    assert verify_file(path).ok
    forged = path.with_name("forged.log")
    lines = path.read_bytes().splitlines(keepends=True)
    forged.write_bytes(b"".join([*lines[:5], lines[5].replace(b"update", b"read", 1), *lines[6:]]))
    if hashlib.sha256(forged.read_bytes()).digest() != hashlib.sha256(path.read_bytes()).digest():
        assert not verify_file(forged).ok
    forged.write_bytes(b"".join(lines[:3] + lines[4:]))
    assert not verify_file(forged).ok
