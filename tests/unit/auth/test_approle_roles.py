"""approle: roles, their fields one by one, and their ids."""

from typing import Any

import pytest

from core.errors import InvalidRequestError, NotFoundError, UnsupportedPathError
from core.requests import NO_CONTENT
from tests.unit.auth.login_mount import ApproleMount


async def test_a_new_role_is_shown_as_vault_does(approle: ApproleMount) -> None:
    assert await approle.write("role/web", token_policies=["web", "Logs"], token_ttl="20m") == NO_CONTENT
    assert await approle.read("role/web") == {
        "bind_secret_id": True,
        "local_secret_ids": False,
        "secret_id_bound_cidrs": None,
        "secret_id_num_uses": 0,
        "secret_id_ttl": 0,
        "token_bound_cidrs": [],
        "token_explicit_max_ttl": 0,
        "token_max_ttl": 0,
        "token_no_default_policy": False,
        "token_num_uses": 0,
        "token_period": 0,
        "token_policies": ["web", "logs"],
        "token_ttl": 1200,
        "token_type": "default",
    }


async def test_an_update_changes_what_it_names(approle: ApproleMount) -> None:
    role_id = await approle.role(token_ttl=60, secret_id_num_uses=3)
    await approle.write("role/web", token_ttl=90)
    shown = await approle.read("role/web")
    assert (shown["token_ttl"], shown["secret_id_num_uses"]) == (90, 3)
    assert (await approle.read("role/web/role-id"))["role_id"] == role_id


async def test_names_are_one_in_any_case(approle: ApproleMount) -> None:
    await approle.role("Web")
    assert await approle.list("role") == ["web"]
    assert await approle.read("role/WEB") == await approle.read("role/web")


@pytest.mark.parametrize("name", ["-web", "web-", "é", ".", "..", "a" * 257])
async def test_a_name_that_cannot_be_one_is_refused(approle: ApproleMount, name: str) -> None:
    with pytest.raises(InvalidRequestError, match="role's name"):
        await approle.write(f"role/{name}")


async def test_listing_pages_and_an_empty_list_is_not_found(approle: ApproleMount) -> None:
    with pytest.raises(NotFoundError):
        await approle.list("role")
    for name in ("a", "b", "c"):
        await approle.role(name)
    assert await approle.list("role", after="a", limit="1") == ["b"]


async def test_a_deleted_role_is_gone_and_deleting_it_again_is_as_good(approle: ApproleMount) -> None:
    await approle.role()
    await approle.delete("role/web")
    await approle.delete("role/web")
    with pytest.raises(NotFoundError):
        await approle.read("role/web")


async def test_a_role_of_the_same_name_inherits_no_secret_id(approle: ApproleMount) -> None:
    await approle.role(role_id="web-id")
    secret_id = await approle.secret_id()
    await approle.delete("role/web")
    await approle.role(role_id="web-id")
    with pytest.raises(InvalidRequestError, match="invalid role or secret ID"):
        await approle.login("web-id", secret_id)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"bind_secret_id": False}, "at least one constraint"),
        ({"secret_id_bound_cidrs": "10.0.0.0/33"}, "secret_id_bound_cidrs"),
        ({"token_bound_cidrs": "here"}, "token_bound_cidrs"),
        ({"secret_id_num_uses": -1}, "secret_id_num_uses"),
        ({"secret_id_num_uses": 2**31}, "secret_id_num_uses"),
        ({"secret_id_ttl": "-1h"}, "secret_id_ttl"),
        ({"token_num_uses": -1}, "token_num_uses"),
        ({"token_ttl": 20, "token_max_ttl": 10}, "'token_ttl' cannot be greater"),
        ({"token_type": "root"}, "token_type"),
        ({"token_type": "batch", "token_period": 5}, "periodic"),
        ({"token_type": "batch", "token_num_uses": 5}, "limited use"),
        ({"token_period": 2764801}, "token_period"),
        ({"token_policies": ["a" * 129]}, "128"),
        ({"role_id": ""}, "role_id"),
        ({"role_id": "a\nb"}, "role_id"),
    ],
)
async def test_a_role_that_makes_no_sense_is_refused(
    approle: ApproleMount, fields: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InvalidRequestError, match=sentence):
        await approle.role(**fields)
    with pytest.raises(NotFoundError):
        await approle.list("role")


async def test_without_a_secret_id_a_role_needs_networks(approle: ApproleMount) -> None:
    await approle.role(bind_secret_id=False, secret_id_bound_cidrs="10.0.0.0/8")
    with pytest.raises(InvalidRequestError, match="at least one constraint"):
        await approle.delete("role/web/secret-id-bound-cidrs")


async def test_two_roles_cannot_have_one_id(approle: ApproleMount) -> None:
    await approle.role("a", role_id="shared")
    with pytest.raises(InvalidRequestError, match="role_id already in use"):
        await approle.role("b", role_id="shared")
    await approle.role("b")
    with pytest.raises(InvalidRequestError, match="role_id already in use"):
        await approle.write("role/b/role-id", role_id="shared")


async def test_a_role_id_that_was_given_up_is_free_and_leads_nowhere(approle: ApproleMount) -> None:
    await approle.role("a", role_id="first")
    await approle.write("role/a/role-id", role_id="second")
    with pytest.raises(InvalidRequestError, match="invalid role"):
        await approle.login("first", await approle.secret_id("a"))
    assert await approle.role("b", role_id="first") == "first"


async def test_local_secret_ids_are_chosen_once(approle: ApproleMount) -> None:
    await approle.role(local_secret_ids=True)
    assert await approle.read("role/web/local-secret-ids") == {"local_secret_ids": True}
    with pytest.raises(InvalidRequestError, match="during role creation"):
        await approle.write("role/web", local_secret_ids=False)


async def test_types_that_vault_adjusts_are_adjusted_with_a_warning(approle: ApproleMount) -> None:
    response = await approle.write("role/web", token_type="default-batch")
    assert response.warnings == ["default-batch has no useful meaning; adjusting to batch"]
    assert (await approle.read("role/web"))["token_type"] == "batch"


async def test_a_max_ttl_beyond_the_mounts_warns(approle: ApproleMount) -> None:
    assert "truncated" in (await approle.write("role/web", token_max_ttl="9000h")).warnings[0]


async def test_old_spellings_are_taken_shown_and_forgotten_with_the_new(approle: ApproleMount) -> None:
    await approle.role(policies="a,b", period="1h")
    shown = await approle.read("role/web")
    assert (shown["policies"], shown["token_policies"]) == (["a", "b"], ["a", "b"])
    assert (shown["period"], shown["token_period"]) == (3600, 3600)
    await approle.write("role/web", token_policies="c")
    assert "policies" not in await approle.read("role/web")


FIELDS = [
    ("policies", "token_policies", ["a"], []),
    ("period", "token_period", 60, 0),
    ("token-ttl", "token_ttl", 60, 0),
    ("token-max-ttl", "token_max_ttl", 60, 0),
    ("token-num-uses", "token_num_uses", 7, 0),
    ("token-bound-cidrs", "token_bound_cidrs", ["10.0.0.0/8"], []),
    ("secret-id-num-uses", "secret_id_num_uses", 7, 0),
    ("secret-id-ttl", "secret_id_ttl", 60, 0),
    ("secret-id-bound-cidrs", "secret_id_bound_cidrs", ["10.0.0.0/8"], None),
    ("bound-cidr-list", "bound_cidr_list", ["10.0.0.0/8"], None),
]


@pytest.mark.parametrize(("path", "name", "value", "default"), FIELDS)
async def test_a_field_is_read_written_and_set_back(
    approle: ApproleMount, path: str, name: str, value: Any, default: Any
) -> None:
    await approle.role()
    assert await approle.read(f"role/web/{path}") == {name: default}
    await approle.write(f"role/web/{path}", {name: value})
    assert await approle.read(f"role/web/{path}") == {name: value}
    await approle.delete(f"role/web/{path}")
    assert await approle.read(f"role/web/{path}") == {name: default}


@pytest.mark.parametrize(("path", "name", "value", "_default"), FIELDS)
async def test_a_field_of_no_role_and_no_value_are_refused(
    approle: ApproleMount, path: str, name: str, value: Any, _default: Any
) -> None:
    with pytest.raises(UnsupportedPathError):
        await approle.write(f"role/web/{path}", {name: value})
    with pytest.raises(NotFoundError):
        await approle.read(f"role/web/{path}")
    await approle.role()
    with pytest.raises(InvalidRequestError, match=f"missing {name}"):
        await approle.write(f"role/web/{path}", other=1)


async def test_bind_secret_id_goes_back_to_true(approle: ApproleMount) -> None:
    await approle.role(bind_secret_id=False, token_bound_cidrs="10.0.0.0/8")
    assert await approle.read("role/web/bind-secret-id") == {"bind_secret_id": False}
    await approle.delete("role/web/bind-secret-id")
    assert await approle.read("role/web/bind-secret-id") == {"bind_secret_id": True}


async def test_a_field_path_changes_that_field_alone(approle: ApproleMount) -> None:
    await approle.role()
    await approle.write("role/web/token-ttl", token_ttl=5, token_policies=["root"])
    assert (await approle.read("role/web"))["token_policies"] == []
