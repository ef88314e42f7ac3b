"""Token roles and batch tokens through hvac, against two workers."""

from concurrent.futures import ThreadPoolExecutor

import hvac.exceptions
import pytest

from tests.support.appliance import Appliance

MAKER = 'path "auth/token/create*" { capabilities = ["update"] }'


def is_known(appliance: Appliance, token: str, tries: int = 16) -> set[int]:
    """The statuses of look-ups that reach both workers."""
    with ThreadPoolExecutor(8) as pool:
        return set(
            pool.map(lambda _: appliance.request("GET", "auth/token/lookup-self", token=token).status, range(tries))
        )


def test_a_role_is_written_read_listed_and_deleted(appliance: Appliance) -> None:
    roles = appliance.client().auth.token
    with pytest.raises(hvac.exceptions.InvalidPath):
        roles.list_roles()
    assert (
        roles.create_or_update_role("web", allowed_policies=["web"], orphan=True, token_period="1h").status_code == 204
    )
    assert roles.list_roles()["data"]["keys"] == ["web"]
    data = roles.read_role("web")["data"]
    assert (data["allowed_policies"], data["orphan"], data["token_period"]) == (["web"], True, 3600)
    roles.delete_role("web")
    with pytest.raises(hvac.exceptions.InvalidPath):
        roles.read_role("web")


def test_a_token_of_a_role_has_what_the_role_says(appliance: Appliance) -> None:
    client = appliance.client()
    client.auth.token.create_or_update_role("app", allowed_policies=["app"], path_suffix="v1.0", token_period="1h")
    auth = client.auth.token.create(role_name="app")["auth"]
    assert (auth["token_policies"], auth["lease_duration"]) == (["app", "default"], 3600)
    data = client.auth.token.lookup(auth["client_token"])["data"]
    assert (data["role"], data["path"], data["period"]) == ("app", "auth/token/create/app/v1.0", 3600)
    assert client.auth.token.renew(auth["client_token"])["auth"]["lease_duration"] == 3600
    with pytest.raises(hvac.exceptions.InvalidRequest, match="must be subset of the role"):
        client.auth.token.create(role_name="app", policies=["other"])
    with pytest.raises(hvac.exceptions.InvalidRequest, match="unknown role"):
        client.auth.token.create(role_name="nobody")


def test_a_batch_token_is_good_at_every_worker_and_ends_with_its_parent(appliance: Appliance) -> None:
    client = appliance.client()
    client.sys.create_or_update_policy("maker", MAKER)
    parent = appliance.client(client.auth.token.create(policies=["maker"])["auth"]["client_token"])
    auth = parent.auth.token.create(type="batch", ttl="10m")["auth"]
    assert auth["client_token"].startswith("hvb.")
    assert (auth["token_type"], auth["accessor"], auth["renewable"]) == ("batch", "", False)
    assert is_known(appliance, auth["client_token"]) == {200}
    data = appliance.client(auth["client_token"]).auth.token.lookup_self()["data"]
    assert (data["type"], data["id"], data["accessor"]) == ("batch", auth["client_token"], "")
    client.auth.token.revoke(parent.token)
    assert is_known(appliance, auth["client_token"]) == {403}


def test_what_batch_tokens_cannot(appliance: Appliance) -> None:
    client = appliance.client()
    token = client.auth.token.create(type="batch", policies=["default"], ttl="10m")["auth"]["client_token"]
    itself = appliance.client(token).auth.token
    for refused in (itself.renew_self, itself.revoke_self):
        with pytest.raises(hvac.exceptions.InvalidRequest, match="batch tokens cannot be"):
            refused()
    for wrong in ({"num_uses": 1}, {"period": "1h"}, {"explicit_max_ttl": "1h"}, {"policies": ["root"]}):
        with pytest.raises(hvac.exceptions.InvalidRequest, match="batch tokens cannot"):
            client.auth.token.create(**{"type": "batch", "policies": ["default"]} | wrong)
    assert is_known(appliance, token[:-1] + ("A" if token[-1] != "A" else "B")) == {403}


def test_older_clients_put_the_token_into_the_path_and_nothing_keeps_it_there(appliance: Appliance) -> None:
    token = appliance.client().auth.token.create(id="chosenByHand7", policies=["default"])["auth"]["client_token"]
    root = appliance.root_token
    for method in ("GET", "POST"):
        answer = appliance.request(method, f"auth/token/lookup/{token}", token=root)
        assert (answer.status, answer.json["data"]["id"]) == (200, token)
    assert appliance.request("POST", f"auth/token/renew/{token}", {"increment": 60}, token=root).status == 200
    assert appliance.request("POST", f"auth/token/revoke/{token}", token=root).status == 204
    assert appliance.request("GET", f"auth/token/lookup/{token}", token=root).status == 403
    assert token not in appliance.log


def test_tidy_starts_in_the_background(appliance: Appliance) -> None:
    answer = appliance.request("POST", "auth/token/tidy", token=appliance.root_token)
    assert answer.status == 202
    assert "Tidy operation" in answer.json["warnings"][0]
