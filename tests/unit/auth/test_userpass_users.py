"""userpass: users are made, shown, changed and removed."""

from typing import Any

import pytest

from core.errors import InvalidRequestError, LoginFailedError, NotFoundError, UnsupportedPathError
from core.requests import NO_CONTENT
from tests.unit.auth.login_mount import UserpassMount


async def test_a_user_is_shown_as_vault_does_without_password(userpass: UserpassMount) -> None:
    await userpass.user(token_policies="ops", token_ttl="1h")
    assert await userpass.read("users/bob") == {
        "token_bound_cidrs": [],
        "token_explicit_max_ttl": 0,
        "token_max_ttl": 0,
        "token_no_default_policy": False,
        "token_num_uses": 0,
        "token_period": 0,
        "token_policies": ["ops"],
        "token_ttl": 3600,
        "token_type": "default",
    }


async def test_nothing_stored_holds_the_password(userpass: UserpassMount) -> None:
    await userpass.user(password="correct horse")
    stored = b"".join(entry.value for entry in userpass.storage._state.entries.values())
    assert b"correct horse" not in stored
    assert b"$argon2id$" in stored


async def test_names_are_one_in_any_case(userpass: UserpassMount) -> None:
    await userpass.user("Bob")
    assert await userpass.list("users") == ["bob"]
    assert (await userpass.login("BOB", "builder")).display_name == "bob"


@pytest.mark.parametrize("name", ["-bob", "bob-", "b b", "é", "..", "a" * 257])
async def test_a_name_that_cannot_be_one_is_refused(userpass: UserpassMount, name: str) -> None:
    with pytest.raises(InvalidRequestError, match="user's name"):
        await userpass.user(name)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "missing password"),
        ({"password": ""}, "missing password"),
        ({"password": "a" * 1025}, "1024 bytes"),
        ({"password": "é" * 513}, "1024 bytes"),
        ({"password_hash": "$2a$10$abc"}, "password_hash is not available"),
        ({"password": "x", "token_type": "batch", "token_period": 5}, "periodic"),
        ({"password": "x", "max_ttl": 5, "ttl": 9}, "token_ttl"),
        ({"password": "x", "bound_cidrs": "here"}, "token_bound_cidrs"),
    ],
)
async def test_a_user_that_makes_no_sense_is_refused(
    userpass: UserpassMount, fields: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InvalidRequestError, match=sentence):
        await userpass.write("users/bob", fields)
    with pytest.raises(NotFoundError):
        await userpass.list("users")


async def test_an_update_keeps_the_password(userpass: UserpassMount) -> None:
    await userpass.user()
    await userpass.write("users/bob", token_policies="ops")
    assert (await userpass.login("bob", "builder")).policies == ("ops",)


async def test_old_spellings_are_taken_and_shown(userpass: UserpassMount) -> None:
    await userpass.user(policies="a,b", ttl="1h", max_ttl="2h", bound_cidrs="10.0.0.1")
    shown = await userpass.read("users/bob")
    assert (shown["policies"], shown["ttl"], shown["max_ttl"], shown["bound_cidrs"]) == (
        ["a", "b"],
        3600,
        7200,
        ["10.0.0.1/32"],
    )


async def test_a_changed_password_replaces_the_old_one(userpass: UserpassMount) -> None:
    await userpass.user()
    assert await userpass.write("users/bob/password", password="other") == NO_CONTENT
    await userpass.login("bob", "other")
    with pytest.raises(LoginFailedError):
        await userpass.login("bob", "builder")


async def test_policies_are_changed_alone(userpass: UserpassMount) -> None:
    await userpass.user(token_ttl=60)
    await userpass.write("users/bob/policies", token_policies=["x"], token_ttl=90)
    shown = await userpass.read("users/bob")
    assert (shown["token_policies"], shown["token_ttl"]) == (["x"], 60)


@pytest.mark.parametrize(("path", "data"), [("password", {"password": "x"}), ("policies", {"policies": "x"})])
async def test_an_unknown_user_has_nothing_to_change(userpass: UserpassMount, path: str, data: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedPathError):
        await userpass.write(f"users/bob/{path}", data)
    with pytest.raises(InvalidRequestError, match="missing"):
        await userpass.write(f"users/bob/{path}")


async def test_a_removed_user_is_gone_and_removing_again_is_as_good(userpass: UserpassMount) -> None:
    await userpass.user()
    await userpass.delete("users/bob")
    await userpass.delete("users/bob")
    with pytest.raises(NotFoundError):
        await userpass.read("users/bob")
    with pytest.raises(LoginFailedError):
        await userpass.login("bob", "builder")
