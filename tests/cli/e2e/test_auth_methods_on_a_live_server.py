"""`mimir auth …` and `mimir login --method …` against the real server."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.cli.e2e.conftest import Terminal
from tests.support.appliance import Appliance


@pytest.fixture(scope="module", autouse=True)
def methods(live: Appliance) -> None:
    client = live.client()
    client.sys.enable_auth_method("userpass", path="people")
    client.auth.userpass.create_or_update_user("bob", password="builder", mount_point="people")


def test_a_method_is_enabled_tuned_listed_moved_and_disabled(user: Terminal) -> None:
    user.mimir("auth", "enable", "approle", "--path", "machines", "--description", "pods", "--token-type", "batch")
    user.mimir("auth", "tune", "machines", "--max-lease-ttl", "1h", "--default-lease-ttl", "10m")
    [row] = [line.split() for line in user.out("auth", "list").splitlines() if line.startswith("machines/")]
    assert (row[1], *row[3:]) == ("approle", "batch", "10m", "1h", "pods")
    user.mimir("auth", "move", "machines", "robots")
    assert "robots/" in user.out("auth", "list")
    user.mimir("auth", "disable", "robots")
    assert "robots/" not in user.out("auth", "list")


def test_a_person_logs_in_and_the_token_is_used(stranger: Terminal) -> None:
    stranger.mimir("login", "--method", "userpass", "--path", "people", "username=bob", given="builder\n")
    assert json.loads(stranger.out("token", "lookup", "-o", "json"))["data"]["display_name"] == "people-bob"
    said = stranger.refusal("login", "--method", "userpass", "--path", "people", "username=bob", given="wrong\n")
    assert "invalid username or password" in said
    assert "display_name" in stranger.out("token", "lookup")  # the former login is kept


def test_a_machine_logs_in_with_files(live: Appliance, user: Terminal, make_terminal: Callable[..., Terminal]) -> None:
    user.mimir("auth", "enable", "approle")
    user.mimir("write", "auth/approle/role/web", "token_ttl=5m")
    (user.home / "role-id").write_text(user.out("read", "auth/approle/role/web/role-id", "--field", "role_id"))
    secret_id = user.out("write", "--force", "auth/approle/role/web/secret-id", "--field", "secret_id")
    (user.home / "secret-id").write_text(secret_id + "\n")
    words = ["login", "--method", "approle", f"role_id=@{user.home}/role-id", f"secret_id=@{user.home}/secret-id"]
    token = user.out(*words, "--token-only")
    assert token.startswith("hvs.")
    machine = Terminal(user.home, live.address, token)
    assert json.loads(machine.out("token", "lookup", "-o", "json"))["data"]["meta"] == {"role_name": "web"}


def test_help_tells_what_a_mount_serves(user: Terminal) -> None:
    assert "login/{name}" in user.out("auth", "help", "people")


def test_the_guides_login_with_a_method_that_is_not_there_says_so(user: Terminal) -> None:
    assert "sys/auth/aws: this version of Mimir has no login method of that type (yet); it has: approle, userpass" in (
        user.refusal("auth", "enable", "aws")
    )
    said = user.refusal("auth", "login", "--method", "aws", "--role", "webapp-prod")
    assert "auth/aws/login: permission denied. This version of Mimir has no login method aws (yet)" in said
    assert "approle, token, userpass" in said
    said = user.refusal("login", "--method", "userpass", "--path", "nowhere", "username=bob", given="x")
    assert "Nothing is mounted there" in said


def test_a_method_can_have_a_shorter_maximum_than_the_system_s_default(user: Terminal) -> None:
    user.mimir("auth", "enable", "userpass", "--path", "short", "--max-lease-ttl", "8h")
    assert user.out("read", "sys/auth/short/tune", "--field", "default_lease_ttl") == "28800"
    assert "greater" in user.refusal("auth", "tune", "short", "--default-lease-ttl", "9h")
    user.mimir("auth", "disable", "short")
