"""sys/: initialisation, seal, unseal, health, mounts, rotation, as Vault's clients call them."""

from __future__ import annotations

import base64
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import hvac
import hvac.exceptions
import pytest

from tests.support.appliance import Appliance

MakeAppliance = Callable[..., Appliance]


def test_health_and_seal_status(appliance: Appliance) -> None:
    client = appliance.client()
    status = client.sys.read_seal_status()
    assert status["initialized"] is True
    assert status["sealed"] is False
    assert status["type"] == "pkcs11"
    assert status["version"].count(".") == 2
    assert appliance.request("HEAD", "sys/health", token=None).status == 200
    health = client.sys.read_health_status(method="GET")
    assert isinstance(health["server_time_utc"], int)
    assert health["standby"] is False


def test_init_json_is_private_and_complete(appliance: Appliance) -> None:
    path = appliance.data_dir / "init.json"
    if not appliance.writes_init_file:  # in production the answer to the client is the only copy
        assert not list(appliance.data_dir.rglob("init.json"))
        return
    assert path.stat().st_mode & 0o777 == 0o600
    assert {"root_token", "recovery_keys", "recovery_keys_base64", "escrow_shares"} <= set(appliance.init)
    for hexed, coded in zip(appliance.init["recovery_keys"], appliance.init["recovery_keys_base64"], strict=True):
        assert bytes.fromhex(hexed) == base64.b64decode(coded)


def test_second_init_is_refused(appliance: Appliance) -> None:
    with pytest.raises(hvac.exceptions.InvalidRequest, match="already initialized"):
        appliance.client().sys.initialize(recovery_shares=1, recovery_threshold=1)


def test_mounts(appliance: Appliance) -> None:
    client = appliance.client()
    client.sys.enable_secrets_engine("transit", path="transit-two", description="another")
    mounts = client.sys.list_mounted_secrets_engines()
    assert {"sys/", "transit/", "transit-two/"} <= set(mounts)
    assert mounts["data"]["transit-two/"]["description"] == "another"
    with pytest.raises(hvac.exceptions.InvalidRequest, match="path is already in use"):
        client.sys.enable_secrets_engine("transit", path="transit-two")
    client.secrets.transit.create_key("k", mount_point="transit-two")
    client.sys.disable_secrets_engine("transit-two")
    for _ in range(8):
        assert appliance.request("GET", "transit-two/keys/k").status == 404
    client.sys.enable_secrets_engine("transit", path="transit-two")
    for _ in range(8):  # the data went with the mount
        assert appliance.request("GET", "transit-two/keys/k").status == 404
    client.sys.disable_secrets_engine("transit-two")
    client.sys.disable_secrets_engine("never-was")


@pytest.mark.parametrize("path", ["sys", "sys/x", "auth", "auth/x", "transit/deeper", "../x", "a//b", ""])
def test_mount_paths_that_are_refused(appliance: Appliance, path: str) -> None:
    reply = appliance.request("POST", f"sys/mounts/{path}", {"type": "transit"})
    assert 400 <= reply.status < 500, reply.body


def test_unknown_engine_names_those_there_are(appliance: Appliance) -> None:
    reply = appliance.request("POST", "sys/mounts/x", {"type": "no-such-engine"})
    assert reply.status == 400
    assert "transit" in reply.errors[0]


def test_rotate_adds_a_term_and_old_entries_open(appliance: Appliance) -> None:
    client = appliance.client()
    client.secrets.transit.create_key("before-rotation")
    before = client.sys.get_encryption_key_status()["data"]["term"]
    client.sys.rotate_encryption_key()
    assert client.sys.get_encryption_key_status()["data"]["term"] == before + 1
    client.secrets.transit.create_key("after-rotation")
    for _ in range(8):
        for name in ("before-rotation", "after-rotation"):
            assert client.secrets.transit.read_key(name)["data"]["name"] == name


def test_hsm_status_shows_two_objects(appliance: Appliance) -> None:
    appliance.client().secrets.transit.create_key("one-more")
    data = appliance.request("GET", "sys/hsm/status").json["data"]
    assert data["objects"] == 2
    assert data["state"] == "ready"
    assert any(m["name"] == "AES_GCM" and m["proven"] for m in data["mechanisms"])


def test_kv_preflight_answers_403_not_404(appliance: Appliance) -> None:
    reply = appliance.request("GET", "sys/internal/ui/mounts/nowhere/x")
    assert reply.status == 403
    assert "preflight capability check returned 403" in reply.errors[0]
    assert appliance.request("GET", "sys/internal/ui/mounts/transit/keys").json["data"]["type"] == "transit"


def test_openapi_names_the_routes(appliance: Appliance) -> None:
    document = appliance.request("GET", "sys/internal/specs/openapi").json
    paths = document.get("paths") or document["data"]["paths"]
    assert any("encrypt/{name}" in path for path in paths)


def test_capabilities(appliance: Appliance) -> None:
    client = appliance.client()
    assert client.sys.get_capabilities(paths=["transit/keys/x"])["data"]["capabilities"] == ["root"]
    token = client.auth.token.create(policies=["default"])["auth"]["client_token"]
    mine = client.sys.get_capabilities(paths=["transit/keys/x"], token=token)
    assert mine["data"]["transit/keys/x"] == ["deny"]


def test_init_by_a_client_then_seal_and_unseal_by_shares(make_appliance: MakeAppliance) -> None:
    """wire-facts: auto-unseal takes recovery shares after a manual seal; progress counts up; reset clears it."""
    server = make_appliance(extra=("--no-init",)).start(ready=(501,))
    client = hvac.Client(url=server.address)
    assert client.sys.is_initialized() is False
    assert server.request("GET", "transit/keys/x", token="x").status in (400, 503)
    refused = server.request("PUT", "sys/init", {"secret_shares": 5, "secret_threshold": 3}, token=None)
    assert refused.status == 400
    assert "not applicable to seal type" in refused.errors[0]
    made = client.sys.initialize(secret_shares=None, secret_threshold=None, recovery_shares=3, recovery_threshold=2)
    assert made["keys"] == []
    assert len(made["recovery_keys"]) == 3
    assert len(made["escrow_shares"]) == 5
    client.token = made["root_token"]
    client.sys.enable_secrets_engine("transit")
    client.secrets.transit.create_key("k")
    sealed = client.secrets.transit.encrypt_data("k", plaintext="YQ==")["data"]["ciphertext"]

    client.sys.seal()
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: server.request("GET", "sys/mounts", token=client.token), range(16)))
    assert {r.status for r in replies} == {503}
    assert replies[0].errors == ["Vault is sealed"]
    assert server.request("GET", "sys/health", token=None).status == 503

    assert client.sys.submit_unseal_key(made["recovery_keys"][0])["progress"] == 1
    assert client.sys.submit_unseal_key(reset=True)["progress"] == 0
    assert server.request("PUT", "sys/unseal", {"key": "zz"}, token=None).status == 400
    assert server.request("PUT", "sys/unseal", {"key": "00" * 33}, token=None).status in (200, 400)
    client.sys.submit_unseal_key(reset=True)
    client.sys.submit_unseal_keys(made["recovery_keys"][1:])
    for _ in range(8):
        assert client.sys.is_sealed() is False
        assert client.secrets.transit.decrypt_data("k", sealed)["data"]["plaintext"] == "YQ=="


def test_racing_inits_make_one_cluster(make_appliance: MakeAppliance) -> None:
    server = make_appliance(extra=("--no-init",)).start(ready=(501,))

    def init(_: int) -> int:
        return server.request("PUT", "sys/init", {"recovery_shares": 1, "recovery_threshold": 1}, token=None).status

    with ThreadPoolExecutor(6) as pool:
        statuses = sorted(pool.map(init, range(6)))
    assert statuses == [200, 400, 400, 400, 400, 400]


def test_escrow_declined(make_appliance: MakeAppliance) -> None:
    server = make_appliance(extra=("--no-init",)).start(ready=(501,))
    body = {"recovery_shares": 1, "recovery_threshold": 1, "escrow_shares": 0}
    made = server.request("PUT", "sys/init", body, token=None).json
    assert made["escrow_shares"] in ([], None)
    token = made["root_token"]
    data = server.request("GET", "sys/hsm/status", token=token).json["data"]
    assert data["objects"] == 1
    assert not data["escrow_id"]


@pytest.mark.parametrize(
    "body",
    [
        {"recovery_shares": 2, "recovery_threshold": 3},
        {"recovery_shares": 99, "recovery_threshold": 3},
        {"recovery_shares": -1, "recovery_threshold": 1},
        {"recovery_shares": "many", "recovery_threshold": 1},
        {"recovery_shares": 5, "recovery_threshold": 3, "escrow_shares": 3, "escrow_threshold": 7},
        {"recovery_shares": 5, "recovery_threshold": 3, "escrow_shares": 17, "escrow_threshold": 3},
    ],
)
def test_init_that_makes_no_sense_changes_nothing(uninitialised: Appliance, body: dict[str, object]) -> None:
    reply = uninitialised.request("PUT", "sys/init", body, token=None)
    assert reply.status == 400, reply.body
    assert uninitialised.request("GET", "sys/init", token=None).json == {"initialized": False}


@pytest.fixture(scope="module")
def uninitialised(tmp_path_factory: pytest.TempPathFactory):
    server = Appliance(tmp_path_factory.mktemp("uninitialised") / "data", extra=("--no-init",)).start(ready=(501,))
    yield server
    assert server.stop() == 0


def test_restart_unseals_by_itself(make_appliance: MakeAppliance) -> None:
    server = make_appliance().start()
    client = server.client()
    client.sys.enable_secrets_engine("transit")
    sealed = client.secrets.transit.encrypt_data("k", plaintext="YQ==")["data"]["ciphertext"]
    client.sys.seal()
    assert server.stop() == 0
    server.start()
    assert client.secrets.transit.decrypt_data("k", sealed)["data"]["plaintext"] == "YQ=="
    assert server.stop() == 0
    assert "Traceback" not in server.log
