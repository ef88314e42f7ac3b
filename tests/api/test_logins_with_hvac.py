"""approle and userpass through hvac, against two workers: logins, their tokens, and who is locked out."""

import json
from concurrent.futures import ThreadPoolExecutor

import hvac
import hvac.exceptions
import pytest

from tests.support.appliance import Appliance

STORE = "production-postgresql"  # of the fixture `appliance`

POLICY = 'path "transit/keys/*" { capabilities = ["read"] }'


@pytest.fixture(scope="module", autouse=True)
def methods(appliance: Appliance) -> None:
    client = appliance.client()
    client.sys.enable_auth_method("approle")
    client.sys.enable_auth_method("userpass")
    client.sys.create_or_update_policy("keys", POLICY)
    client.secrets.transit.create_key("orders")


def anonymous(appliance: Appliance) -> hvac.Client:
    return hvac.Client(url=appliance.address)


def new_role(appliance: Appliance, name: str, **fields: object) -> tuple[str, str]:
    """A role; its id and a secret id."""
    approle = appliance.client().auth.approle
    approle.create_or_update_approle(name, **fields)
    role_id = approle.read_role_id(name)["data"]["role_id"]
    return role_id, approle.generate_secret_id(name)["data"]["secret_id"]


def test_a_machine_logs_in_and_may_do_what_its_role_says(appliance: Appliance) -> None:
    role_id, secret_id = new_role(appliance, "web", token_policies=["keys"], token_ttl="10m")
    machine = anonymous(appliance)
    auth = machine.auth.approle.login(role_id, secret_id)["auth"]
    assert (auth["token_policies"], auth["token_type"], auth["lease_duration"]) == (["default", "keys"], "service", 600)
    assert auth["metadata"] == {"role_name": "web"}
    assert machine.secrets.transit.read_key("orders")["data"]["name"] == "orders"
    with pytest.raises(hvac.exceptions.Forbidden):
        machine.secrets.transit.rotate_key("orders")
    me = machine.auth.token.lookup_self()["data"]
    assert (me["display_name"], me["path"]) == ("approle", "auth/approle/login")
    assert me["entity_id"] == auth["entity_id"] != ""


def test_a_batch_token_is_used_on_every_worker(appliance: Appliance) -> None:
    role_id, secret_id = new_role(appliance, "batch", token_policies=["keys"], token_type="batch")
    machine = anonymous(appliance)
    auth = machine.auth.approle.login(role_id, secret_id)["auth"]
    assert (auth["token_type"], auth["renewable"], auth["accessor"]) == ("batch", False, "")
    for _ in range(20):
        assert anonymous_with(appliance, auth["client_token"]).secrets.transit.read_key("orders")


def anonymous_with(appliance: Appliance, token: str) -> hvac.Client:
    return hvac.Client(url=appliance.address, token=token)


def test_hvac_reads_back_what_it_wrote_of_a_role(appliance: Appliance) -> None:
    approle = appliance.client().auth.approle
    new_role(appliance, "whole", secret_id_num_uses=4, secret_id_ttl="1h", token_max_ttl=7200, token_num_uses=9)
    shown = approle.read_role("whole")["data"]
    assert (shown["secret_id_num_uses"], shown["secret_id_ttl"]) == (4, 3600)
    assert (shown["token_max_ttl"], shown["token_num_uses"], shown["token_type"]) == (7200, 9, "default")
    assert "whole" in approle.list_roles()["data"]["keys"]
    approle.delete_role("whole")
    with pytest.raises(hvac.exceptions.InvalidPath):
        approle.read_role("whole")


def test_secret_ids_through_their_whole_life(appliance: Appliance) -> None:
    approle = appliance.client().auth.approle
    role_id, _ = new_role(appliance, "life")
    made = approle.generate_secret_id("life", metadata={"pod": "7"}, cidr_list=["127.0.0.0/8"])["data"]
    accessor = made["secret_id_accessor"]
    assert accessor in approle.list_secret_id_accessors("life")["data"]["keys"]
    assert approle.read_secret_id("life", made["secret_id"])["data"]["metadata"] == {"pod": "7"}
    assert approle.read_secret_id_accessor("life", accessor)["data"]["cidr_list"] == ["127.0.0.0/8"]
    machine = anonymous(appliance)
    assert machine.auth.approle.login(role_id, made["secret_id"])["auth"]["metadata"] == {
        "pod": "7",
        "role_name": "life",
    }
    approle.destroy_secret_id_accessor("life", accessor)
    for _ in range(10):  # whichever worker
        with pytest.raises(hvac.exceptions.InvalidRequest, match="invalid role or secret ID"):
            anonymous(appliance).auth.approle.login(role_id, made["secret_id"])
        appliance.client().write(f"sys/locked-users/{accessor_of(appliance, 'approle/')}/unlock/{role_id}")
    approle.create_custom_secret_id("life", "of-my-own")
    machine.auth.approle.login(role_id, "of-my-own")
    assert appliance.request("POST", "auth/approle/tidy/secret-id").status == 202


def accessor_of(appliance: Appliance, path: str) -> str:
    return str(appliance.client().sys.list_auth_methods()["data"][path]["accessor"])


def test_a_secret_id_is_handed_over_wrapped(appliance: Appliance) -> None:
    role_id, _ = new_role(appliance, "wrapped")
    wrapped = appliance.client().auth.approle.generate_secret_id("wrapped", wrap_ttl="60s")
    token = wrapped["wrap_info"]["token"]
    secret_id = anonymous_with(appliance, token).sys.unwrap()["data"]["secret_id"]
    anonymous(appliance).auth.approle.login(role_id, secret_id)
    with pytest.raises((hvac.exceptions.InvalidRequest, hvac.exceptions.Forbidden)):
        anonymous_with(appliance, token).sys.unwrap()


def test_of_five_uses_five_succeed(appliance: Appliance) -> None:
    role_id, _ = new_role(appliance, "uses", token_type="batch")
    approle = appliance.client().auth.approle
    secret_id = approle.generate_secret_id("uses").get("data")["secret_id"]
    approle.create_or_update_approle("uses", secret_id_num_uses=5)
    secret_id = approle.generate_secret_id("uses")["data"]["secret_id"]

    def login(_: int) -> int:
        return appliance.request(
            "POST", "auth/approle/login", {"role_id": role_id, "secret_id": secret_id}, token=None
        ).status

    with ThreadPoolExecutor(8) as threads:
        statuses = list(threads.map(login, range(20)))
    assert statuses.count(200) == 5


def test_a_person_logs_in_and_renews(appliance: Appliance) -> None:
    root = appliance.client()
    root.auth.userpass.create_or_update_user("bob", password="builder", policies=["keys"])
    person = anonymous(appliance)
    auth = person.auth.userpass.login("Bob", "builder")["auth"]
    assert (auth["metadata"], auth["token_policies"]) == ({"username": "bob"}, ["default", "keys"])
    assert person.auth.token.lookup_self()["data"]["display_name"] == "userpass-bob"
    assert person.auth.token.renew_self()["auth"]["renewable"]
    root.auth.userpass.create_or_update_user("bob", password="builder", policies=["other"])
    with pytest.raises(hvac.exceptions.InvalidRequest, match="policies have changed, not renewing"):
        person.auth.token.renew_self()


def test_wrong_password_and_unknown_user_are_answered_alike(appliance: Appliance) -> None:
    appliance.client().auth.userpass.create_or_update_user("eve", password="right")
    answers = [
        appliance.request("POST", f"auth/userpass/login/{name}", {"password": "wrong"}, token=None)
        for name in ("eve", "nobody")
    ]
    assert [answer.status for answer in answers] == [400, 400]
    assert answers[0].errors == answers[1].errors == ["invalid username or password"]


def test_five_wrong_passwords_lock_a_name_everywhere_until_it_is_unlocked(appliance: Appliance) -> None:
    root = appliance.client()
    root.auth.userpass.create_or_update_user("mallory", password="right")

    def login(word: str) -> int:
        return appliance.request("POST", "auth/userpass/login/mallory", {"password": word}, token=None).status

    assert [login("wrong") for _ in range(5)] == [400] * 5
    assert {login("right") for _ in range(6)} == {403}
    accessor = accessor_of(appliance, "userpass/")
    locked = root.read("sys/locked-users")["data"]
    mounts = {mount["mount_accessor"]: mount for mount in locked["by_namespace"][0]["mount_accessors"]}
    assert "mallory" in mounts[accessor]["alias_identifiers"]
    root.write(f"sys/locked-users/{accessor}/unlock/mallory")
    assert login("right") == 200


def test_no_role_gives_root(appliance: Appliance) -> None:
    role_id, secret_id = new_role(appliance, "greedy", token_policies=["root"])
    with pytest.raises(hvac.exceptions.InvalidRequest, match="auth methods cannot create root tokens"):
        anonymous(appliance).auth.approle.login(role_id, secret_id)


def test_a_mounts_tuning_counts_at_the_next_login(appliance: Appliance) -> None:
    root = appliance.client()
    root.sys.enable_auth_method("userpass", path="people")
    root.auth.userpass.create_or_update_user("ann", password="right", mount_point="people")

    def login() -> dict[str, object]:
        return dict(anonymous(appliance).auth.userpass.login("ann", "right", mount_point="people")["auth"])

    assert login()["lease_duration"] == 2764800
    root.sys.tune_auth_method("people", default_lease_ttl="1h", max_lease_ttl="2h", token_type="batch")
    assert (login()["lease_duration"], login()["token_type"]) == (3600, "batch")


def test_a_disabled_method_takes_its_tokens_with_it(appliance: Appliance) -> None:
    root = appliance.client()
    root.sys.enable_auth_method("userpass", path="brief")
    for kind in ("service", "batch"):
        root.write_data(
            f"auth/brief/users/{kind}", data={"password": "right", "token_type": kind, "token_policies": "keys"}
        )
    people = [anonymous(appliance) for _ in range(2)]
    for person, kind in zip(people, ("service", "batch"), strict=True):
        person.auth.userpass.login(kind, "right", mount_point="brief")
        person.secrets.transit.read_key("orders")
    root.sys.disable_auth_method("brief")
    for person in people:
        for _ in range(4):
            with pytest.raises(hvac.exceptions.Forbidden):
                person.secrets.transit.read_key("orders")


def test_no_credential_is_in_the_audit_log(appliance: Appliance) -> None:
    role_id, secret_id = new_role(appliance, "quiet")
    token = anonymous(appliance).auth.approle.login(role_id, secret_id)["auth"]["client_token"]
    appliance.client().auth.userpass.create_or_update_user("shy", password="a-very-long-password")
    anonymous(appliance).auth.userpass.login("shy", "a-very-long-password")
    log = (appliance.data_dir / "audit.log").read_text()
    for secret in (secret_id, token, "a-very-long-password"):
        assert secret not in log
    assert any(
        json.loads(line)["request"]["path"] == "auth/userpass/login/shy" for line in log.splitlines() if "shy" in line
    )
