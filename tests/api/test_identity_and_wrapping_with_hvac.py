"""Identity, response wrapping and the cubbyhole through hvac, against two workers on both stores."""

from concurrent.futures import ThreadPoolExecutor

import hvac
import hvac.exceptions
import pytest

from tests.support.appliance import Appliance

WRAPPING_GONE = "wrapping token is not valid or does not exist"


@pytest.fixture(scope="module")
def userpass(appliance: Appliance) -> str:
    """The accessor of a login method with two users."""
    client = appliance.client()
    client.sys.enable_auth_method("userpass")
    for name in ("bob", "eve"):
        client.auth.userpass.create_or_update_user(name, password="correct horse", policies=[])
    return str(client.sys.list_auth_methods()["data"]["userpass/"]["accessor"])


def log_in(appliance: Appliance, name: str) -> hvac.Client:
    client = appliance.client("")
    client.auth.userpass.login(name, "correct horse")
    return client


# --- identity -----------------------------------------------------------------------------------------------------


def test_logins_at_once_are_one_entity(appliance: Appliance, userpass: str) -> None:
    with ThreadPoolExecutor(6) as pool:
        clients = list(pool.map(lambda _: log_in(appliance, "eve"), range(6)))
    found = {client.auth.token.lookup_self()["data"]["entity_id"] for client in clients}
    assert len(found) == 1
    entity = appliance.client().secrets.identity.read_entity(found.pop())["data"]
    assert [held["name"] for held in entity["aliases"]] == ["eve"]
    assert entity["aliases"][0]["mount_path"] == "auth/userpass/"


def test_policies_of_entity_and_group_are_in_force_on_every_worker_at_once(appliance: Appliance, userpass: str) -> None:
    root, bob = appliance.client(), log_in(appliance, "bob")
    identity = root.secrets.identity
    root.sys.create_or_update_policy("mounts", 'path "sys/mounts" { capabilities = ["read"] }')
    entity_id = bob.auth.token.lookup_self()["data"]["entity_id"]

    def answers() -> set[int]:
        return {appliance.request("GET", "sys/mounts", token=bob.token).status for _ in range(12)}

    assert answers() == {403}
    group_id = identity.create_or_update_group("ops", policies=["mounts"], member_entity_ids=[entity_id])["data"]["id"]
    assert answers() == {200}
    assert bob.auth.token.lookup_self()["data"]["identity_policies"] == ["mounts"]
    identity.update_group(group_id, "ops", policies=["mounts"], member_entity_ids=[])
    assert answers() == {403}
    identity.update_entity(entity_id, policies=["mounts"])
    assert answers() == {200}
    identity.update_entity(entity_id, disabled=True)
    assert answers() == {403}
    identity.update_entity(entity_id, disabled=False, policies=[])
    identity.delete_entity(entity_id)
    assert appliance.request("GET", "auth/token/lookup-self", token=bob.token).status == 403


def test_what_hvac_expects_of_identity(appliance: Appliance, userpass: str) -> None:
    identity = appliance.client().secrets.identity
    made = identity.create_or_update_entity_by_name("carol", metadata={"team": "core"}, policies=["p"])["data"]
    alias = identity.create_or_update_entity_alias("carol", made["id"], userpass)["data"]
    assert identity.read_entity_alias(alias["id"])["data"]["canonical_id"] == made["id"]
    other = identity.create_or_update_entity("dave")["data"]["id"]
    assert identity.merge_entities(from_entity_ids=other, to_entity_id=made["id"]).status_code == 204
    assert identity.read_entity_by_name("carol")["data"]["merged_entity_ids"] == [other]
    assert identity.lookup_entity(name="carol")["data"]["id"] == made["id"]
    assert identity.lookup_entity(name="nobody").status_code == 204
    assert identity.lookup_group(name="nobody").status_code == 204
    assert made["id"] in identity.list_entities()["data"]["keys"]
    assert "carol" in identity.list_entities_by_name()["data"]["keys"]
    group = identity.create_or_update_group_by_name("hvac", metadata={"a": "b"})["data"]
    assert identity.read_group(group["id"])["data"]["member_entity_ids"] is None
    with pytest.raises(hvac.exceptions.InvalidRequest, match="group type cannot be changed"):
        identity.update_group(group["id"], "hvac", group_type="external")
    with pytest.raises(hvac.exceptions.InvalidRequest, match="invalid mount accessor"):
        identity.update_entity_alias(alias["id"], "carol", made["id"], "nope")
    assert identity.delete_group_by_name("hvac").status_code == 204
    assert identity.delete_entity_by_name("carol").status_code == 204


def test_identity_needs_a_policy(appliance: Appliance, userpass: str) -> None:
    bob = log_in(appliance, "bob")
    with pytest.raises(hvac.exceptions.Forbidden):
        bob.secrets.identity.create_or_update_entity("mine", policies=["default"])
    with pytest.raises(hvac.exceptions.Forbidden):
        bob.secrets.identity.list_entities()


def test_a_disabled_login_method_takes_its_aliases_along(appliance: Appliance) -> None:
    root = appliance.client()
    root.sys.enable_auth_method("userpass", path="passing")
    root.auth.userpass.create_or_update_user("zoe", password="correct horse", mount_point="passing")
    client = appliance.client("")
    client.auth.userpass.login("zoe", "correct horse", mount_point="passing")
    entity_id = client.auth.token.lookup_self()["data"]["entity_id"]
    root.sys.disable_auth_method("passing")
    assert root.secrets.identity.read_entity(entity_id)["data"]["aliases"] == []


# --- wrapping -----------------------------------------------------------------------------------------------------


def unwrap_status(appliance: Appliance, token: str) -> int:
    return appliance.request("PUT", "sys/wrapping/unwrap", {}, token=token).status


def wrapped(appliance: Appliance, ttl: str = "60") -> dict[str, object]:
    reply = appliance.request("GET", "sys/mounts", token=appliance.client().token, headers={"X-Vault-Wrap-TTL": ttl})
    assert reply.status == 200
    return dict(reply.json)


def test_a_wrapped_answer_holds_nothing_but_the_way_to_it(appliance: Appliance) -> None:
    body = wrapped(appliance, "5m")
    assert (body["data"], body["auth"]) == (None, None)
    info = body["wrap_info"]
    assert info.keys() == {"token", "accessor", "ttl", "creation_time", "creation_path"}
    assert (info["ttl"], info["creation_path"]) == (300, "sys/mounts")
    assert "transit/" not in body


def test_unwrapping_by_the_token_alone_and_once(appliance: Appliance) -> None:
    token = wrapped(appliance)["wrap_info"]["token"]
    anyone = appliance.client(token)
    body = anyone.sys.unwrap()
    assert "transit/" in body["data"]
    with pytest.raises(hvac.exceptions.InvalidRequest, match=WRAPPING_GONE):
        anyone.sys.unwrap()


def test_of_many_that_unwrap_at_once_one_gets_it(appliance: Appliance) -> None:
    for _ in range(5):
        token = wrapped(appliance)["wrap_info"]["token"]
        with ThreadPoolExecutor(8) as pool:
            got = list(pool.map(unwrap_status, [appliance] * 8, [token] * 8))
        assert sorted(got) == [200] + [400] * 7


def test_unwrapping_for_somebody_else(appliance: Appliance) -> None:
    token = wrapped(appliance)["wrap_info"]["token"]
    root = appliance.client()
    assert "transit/" in root.sys.unwrap(token)["data"]
    with pytest.raises(hvac.exceptions.InvalidRequest, match=WRAPPING_GONE):
        root.sys.unwrap(token)
    assert root.auth.token.lookup_self()["data"]["num_uses"] == 0


def test_a_wrapped_login(appliance: Appliance, userpass: str) -> None:
    reply = appliance.request(
        "POST", "auth/userpass/login/bob", {"password": "correct horse"}, headers={"X-Vault-Wrap-TTL": "60"}
    )
    assert reply.json["auth"] is None
    info = reply.json["wrap_info"]
    auth = appliance.client(info["token"]).sys.unwrap()["auth"]
    assert (auth["accessor"], auth["lease_duration"] > 0) == (info["wrapped_accessor"], True)
    assert appliance.client(auth["client_token"]).auth.token.lookup_self()["data"]["display_name"] == "userpass-bob"


def test_lookup_and_rewrap(appliance: Appliance) -> None:
    token = wrapped(appliance)["wrap_info"]["token"]
    for reply in (
        appliance.request("POST", "sys/wrapping/lookup", {"token": token}, token=None),
        appliance.request("GET", "sys/wrapping/lookup", token=token),
    ):
        assert (reply.status, reply.json["data"]["creation_path"], reply.json["data"]["creation_ttl"]) == (
            200,
            "sys/mounts",
            60,
        )
    again = appliance.client().write("sys/wrapping/rewrap", token=token)["wrap_info"]
    assert (again["ttl"], again["creation_path"]) == (60, "sys/mounts")
    assert appliance.request("POST", "sys/wrapping/lookup", {"token": token}).errors == [WRAPPING_GONE]
    assert "transit/" in appliance.client(again["token"]).sys.unwrap()["data"]


def test_wrap_any_data(appliance: Appliance) -> None:
    info = appliance.client().sys.wrap({"zip": "zap"}, ttl=120)["wrap_info"]
    assert (info["ttl"], info["creation_path"]) == (120, "sys/wrapping/wrap")
    assert appliance.client(info["token"]).sys.unwrap()["data"] == {"zip": "zap"}
    reply = appliance.request("POST", "sys/wrapping/wrap", {"a": 1}, token=appliance.client().token)
    assert reply.json["wrap_info"]["ttl"] == 300


@pytest.mark.parametrize("ttl", ["-5", "abc", "999999999", "5 minutes"])
def test_a_wrong_ttl_never_gives_an_open_answer(appliance: Appliance, ttl: str) -> None:
    root = appliance.client().token
    for path, body in (("sys/wrapping/wrap", {"a": "secret-value"}), ("auth/token/create", {})):
        reply = appliance.request("POST", path, body, token=root, headers={"X-Vault-Wrap-TTL": ttl})
        assert reply.status == 400
        assert b"secret-value" not in reply.body
        assert b"client_token" not in reply.body


def test_a_wrapping_token_can_do_nothing_else(appliance: Appliance) -> None:
    for method, path in (("GET", "sys/mounts"), ("GET", "auth/token/lookup-self"), ("POST", "auth/token/create")):
        token = wrapped(appliance)["wrap_info"]["token"]
        assert appliance.request(method, path, {} if method == "POST" else None, token=token).status == 403


def test_the_answer_is_not_in_the_audit_log(appliance: Appliance) -> None:
    info = appliance.client().sys.wrap({"zip": "a-very-secret-value"}, ttl=60)["wrap_info"]
    appliance.client(info["token"]).sys.unwrap()
    log = (appliance.data_dir / "audit.log").read_text()
    assert "a-very-secret-value" not in log
    assert info["token"] not in log
    assert "sys/wrapping/unwrap" in log


# --- cubbyhole ----------------------------------------------------------------------------------------------------


def test_a_cubbyhole_is_its_tokens_own_and_goes_with_it(appliance: Appliance) -> None:
    root = appliance.client()
    mine = appliance.client(root.auth.token.create(policies=["default"])["auth"]["client_token"])
    mine.write("cubbyhole/a/b", k="v")
    assert mine.read("cubbyhole/a/b")["data"] == {"k": "v"}
    assert mine.list("cubbyhole/")["data"]["keys"] == ["a/"]
    assert root.read("cubbyhole/a/b") is None
    mine.delete("cubbyhole/a/b")
    assert mine.list("cubbyhole/") is None
    mine.write("cubbyhole/c", k="v")
    mine.auth.token.revoke_self()
    with pytest.raises(hvac.exceptions.Forbidden):
        mine.read("cubbyhole/c")


def test_a_batch_token_has_none(appliance: Appliance) -> None:
    made = appliance.client().auth.token.create(policies=["default"], type="batch")
    batch = appliance.client(made["auth"]["client_token"])
    with pytest.raises(hvac.exceptions.InvalidRequest, match=r'only supported by "service" type tokens'):
        batch.write("cubbyhole/a", k="v")
