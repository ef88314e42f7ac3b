"""sys/init, seal-status, unseal, seal, health, leader: what they say in each state."""

import asyncio
import base64

import pytest

from appliance.system.init import InitBody, init_request
from core.errors import InvalidRequestError, StoreUnavailableError
from tests.unit.pipeline.rig import MakeRig, Rig


async def test_init_shows_everything_once(fresh: Rig) -> None:
    reply = await fresh.call("PUT", "sys/init", {"recovery_shares": 3, "recovery_threshold": 2}, token="")
    assert reply.status == 200
    made = reply.json
    assert (made["keys"], made["keys_base64"]) == ([], [])
    decoded = [base64.b64decode(share).hex() for share in made["recovery_keys_base64"]]
    assert decoded == made["recovery_keys"]
    assert len(decoded) == 3
    assert [len(words.split()) for words in made["escrow_shares"]] == [33] * 5
    assert made["root_token"].startswith("hvs.")
    assert "request_id" not in made
    assert (await fresh.call("GET", "sys/init", token="")).json == {"initialized": True}
    assert (await fresh.call("GET", "sys/mounts", token=made["root_token"])).status == 200


async def test_trouble_after_init_does_not_withhold_the_keys(fresh: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail() -> None:
        raise StoreUnavailableError("the database is unreachable")

    monkeypatch.setattr(fresh.made.tokens, "open", fail)
    reply = await fresh.call("PUT", "sys/init", {"escrow_shares": 0}, token="")
    assert reply.status == 200
    assert (await fresh.call("GET", "sys/mounts", token=reply.json["root_token"])).status == 503
    monkeypatch.undo()
    assert (await fresh.call("GET", "sys/mounts", token=reply.json["root_token"])).status == 200


async def test_second_init_is_refused(rig: Rig) -> None:
    reply = await rig.call("PUT", "sys/init", {}, token="")
    assert reply.status == 400
    assert "already initialized" in reply.errors[0]


async def test_racing_inits_make_one_cluster(make: MakeRig) -> None:
    workers = [await make(), await make()]
    body = {"escrow_shares": 0}
    replies = await asyncio.gather(*(worker.call("PUT", "sys/init", body, token="") for worker in workers * 2))
    assert sorted(reply.status for reply in replies) == [200, 400, 400, 400]


REFUSED = [
    ({"secret_shares": 5, "secret_threshold": 3}, "parameters secret_shares,secret_threshold not applicable"),
    ({"pgp_keys": ["x"]}, "parameters pgp_keys not applicable to seal type pkcs11"),
    ({"recovery_shares": 2, "recovery_threshold": 3}, "recovery_threshold"),
    ({"recovery_shares": 17, "recovery_threshold": 3}, "recovery_shares"),
    ({"recovery_shares": -1}, "recovery_shares"),
    ({"recovery_shares": "many"}, "recovery_shares"),
    ({"recovery_shares": 5, "recovery_threshold": 1}, "recovery_threshold"),
    ({"recovery_shares": 5, "recovery_threshold": 0}, "recovery_threshold"),
    ({"recovery_shares": 0, "recovery_threshold": 2}, "recovery_threshold"),
    ({"recovery_threshold": 2}, "recovery_shares"),
    ({"escrow_shares": 3, "escrow_threshold": 7}, "escrow_threshold"),
    ({"escrow_shares": 17, "escrow_threshold": 3}, "escrow_shares"),
    ({"escrow_shares": 4, "escrow_threshold": 0}, "escrow_threshold"),
    ({"escrow_shares": 0, "escrow_threshold": 2}, "escrow_threshold"),
    ({"escrow_threshold": 2}, "escrow_shares"),
    ({"root_token_pgp_key": "x"}, "PGP"),
]


@pytest.mark.parametrize(("body", "sentence"), REFUSED)
async def test_init_that_makes_no_sense_changes_nothing(fresh: Rig, body: dict[str, object], sentence: str) -> None:
    reply = await fresh.call("PUT", "sys/init", body, token="")
    assert reply.status == 400
    assert sentence in reply.errors[0]
    assert (await fresh.call("GET", "sys/init", token="")).json == {"initialized": False}


def test_init_as_hvac_sends_it() -> None:
    """Explicit nulls for what is unset are stripped before; zeros stay."""
    wanted = init_request(InitBody(recovery_shares=3, recovery_threshold=2))
    assert wanted.recovery_counts().shares == 3
    assert wanted.escrow_counts().threshold == 3
    assert wanted.escrow_counts().shares == 5


def test_init_without_a_word_makes_three_of_five() -> None:
    counts = init_request(InitBody()).recovery_counts()
    assert (counts.threshold, counts.shares) == (3, 5)


def test_majority_is_the_threshold_nobody_named() -> None:
    assert init_request(InitBody(recovery_shares=1)).recovery_counts().threshold == 1
    assert init_request(InitBody(escrow_shares=7)).escrow_counts().threshold == 4


def test_zero_declines() -> None:
    wanted = init_request(InitBody(recovery_shares=0, recovery_threshold=0, escrow_shares=0))
    assert wanted.recovery_counts().shares == 0
    assert wanted.escrow_counts().shares == 0


def test_majority_of_a_negative_number_is_refused() -> None:
    with pytest.raises(InvalidRequestError):
        init_request(InitBody(escrow_shares=-2)).escrow_counts()


async def test_nulls_at_init(fresh: Rig) -> None:
    body = {"secret_shares": None, "secret_threshold": 0, "root_token_pgp_key": None, "escrow_shares": 0}
    assert (await fresh.call("PUT", "sys/init", body, token="")).status == 200


# --- seal-status, unseal, seal ------------------------------------------------------------------------------------


async def test_seal_status_before_init(fresh: Rig) -> None:
    status = (await fresh.call("GET", "sys/seal-status", token="")).json
    assert (status["initialized"], status["sealed"], status["type"]) == (False, True, "pkcs11")
    assert status["version"] == "0.1.0"
    assert status["storage_type"] == "sqlite"


async def test_seal_status_unsealed(rig: Rig) -> None:
    status = (await rig.call("GET", "sys/seal-status", token="")).json
    assert (status["initialized"], status["sealed"], status["t"], status["n"]) == (True, False, 2, 3)
    assert status["cluster_id"]
    assert status["recovery_seal"] is True


async def test_sealed_tells_no_cluster(rig: Rig) -> None:
    await rig.call("PUT", "sys/seal")
    status = (await rig.call("GET", "sys/seal-status", token="")).json
    assert status["sealed"] is True
    assert "cluster_id" not in status


async def test_seal_and_unseal_by_shares(rig: Rig, make: MakeRig) -> None:
    other = await make()
    await rig.call("PUT", "shelf/keys/a", {"x": 1})
    assert (await rig.call("PUT", "sys/seal")).status == 204
    first, second, third = rig.init["recovery_keys"]
    assert (await rig.call("PUT", "sys/unseal", {"key": first}, token="")).json["progress"] == 1
    assert (await rig.call("PUT", "sys/unseal", {"reset": True}, token="")).json["progress"] == 0
    assert (await rig.call("PUT", "sys/unseal", {"key": second}, token="")).json["progress"] == 1
    coded = base64.b64encode(bytes.fromhex(third)).decode()
    assert (await other.call("PUT", "sys/unseal", {"key": coded}, token="")).json["sealed"] is False
    for worker in (rig, other):
        assert (await worker.call("GET", "shelf/keys/a", token=rig.root_token)).json["data"] == {"x": 1}
    assert (await rig.call("PUT", "sys/unseal", {"key": first}, token="")).json["sealed"] is False


@pytest.mark.parametrize("key", ["", "zz", "00", "00" * 32, "AAAA", "%%%%", "00" * 34])
async def test_what_is_no_share_is_400(rig: Rig, key: str) -> None:
    await rig.call("PUT", "sys/seal")
    reply = await rig.call("PUT", "sys/unseal", {"key": key}, token="")
    assert reply.status == 400
    assert "'key'" in reply.errors[0]


async def test_wrong_quorum_is_400(rig: Rig) -> None:
    await rig.call("PUT", "sys/seal")
    await rig.call("PUT", "sys/unseal", {"key": rig.init["recovery_keys"][0]}, token="")
    wrong = rig.init["recovery_keys"][1]
    wrong = ("1" if wrong[0] != "1" else "2") + wrong[1:]
    assert (await rig.call("PUT", "sys/unseal", {"key": wrong}, token="")).status == 400
    assert (await rig.call("GET", "sys/seal-status", token="")).json["sealed"] is True


async def test_reset_while_unsealed_and_migration_are_refused(rig: Rig) -> None:
    assert (await rig.call("PUT", "sys/unseal", {"reset": True}, token="")).status == 400
    assert (await rig.call("PUT", "sys/unseal", {"migrate": True}, token="")).status == 400


async def test_unseal_before_init_is_refused(fresh: Rig) -> None:
    assert (await fresh.call("PUT", "sys/unseal", {"key": "00" * 33}, token="")).status == 503


async def test_seal_is_on_record(rig: Rig) -> None:
    await rig.audited()
    await rig.call("PUT", "sys/seal")
    assert [record["type"] for record in rig.records()[-2:]] == ["request", "response"]
    assert rig.records()[-1]["request"]["path"] == "sys/seal"


async def test_seal_needs_a_token(rig: Rig) -> None:
    assert (await rig.call("PUT", "sys/seal", token="")).status == 403
    assert (await rig.call("GET", "sys/mounts")).status == 200


# --- health and leader --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 501),
        ("uninitcode=200", 200),
        ("uninitcode=599&sealedcode=200", 599),
        ("standbyok=true&perfstandbyok=true&colour=blue", 501),
        ("uninitcode=many", 400),
        ("uninitcode=42", 400),
        ("uninitcode=1000", 400),
        ("activecode=", 400),
        ("standbyok=perhaps", 400),
    ],
)
async def test_health_codes(fresh: Rig, query: str, status: int) -> None:
    for method in ("GET", "HEAD"):
        reply = await fresh.call(method, f"sys/health?{query}", token="")
        assert reply.status == status
        assert (reply.body == b"") is (method == "HEAD")


async def test_health_in_each_state(rig: Rig) -> None:
    health = await rig.call("GET", "sys/health", token="")
    assert (health.status, health.json["sealed"], health.json["standby"]) == (200, False, False)
    assert health.json["server_time_utc"] == int(rig.clock.now())
    assert health.json["cluster_id"]
    assert (await rig.call("GET", "sys/health?activecode=299", token="")).status == 299
    await rig.call("PUT", "sys/seal")
    sealed = await rig.call("GET", "sys/health", token="")
    assert (sealed.status, sealed.json["sealed"], sealed.json["initialized"]) == (503, True, True)
    assert "cluster_id" not in sealed.json
    assert (await rig.call("HEAD", "sys/health?sealedcode=200", token="")).status == 200


async def test_health_answers_when_the_store_is_gone(rig: Rig, make: MakeRig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def gone(*_args: object) -> object:
        raise StoreUnavailableError("the database is unreachable")

    other = await make()
    monkeypatch.setattr(other.barrier._database, "read", gone)
    assert (await other.call("GET", "sys/health", token="")).status == 503
    assert (await other.call("GET", "sys/mounts", token=rig.root_token)).status == 503
    assert (await other.call("GET", "sys/seal-status", token="")).status == 503


async def test_leader(rig: Rig) -> None:
    leader = (await rig.call("GET", "sys/leader", token="")).json
    assert (leader["ha_enabled"], leader["is_self"]) == (False, True)
    assert leader["active_time"].endswith("Z")
