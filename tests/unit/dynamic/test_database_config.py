"""Connections and roles: what is stored, what is shown, what is refused."""

from typing import Any

import pytest

from core.errors import CallerError, InvalidRequestError, NotFoundError
from dynamic.config_routes import without_password
from tests.support.memory_target import Server
from tests.unit.dynamic.database_mount import Mount

CONFIG = {
    "plugin_name": "memory",
    "connection_url": "memory://db",
    "username": "root",
    "password": "first",
    "allowed_roles": "web,api",
}
ROLE = {"db_name": "db", "creation_statements": "ok"}


async def test_a_connection_is_shown_as_vault_shows_it_and_without_its_password(server: Server) -> None:
    mount = Mount()
    await mount.call("update", "config/db", {**CONFIG, "root_rotation_ttl": "24h", "max_open_connections": 7})
    assert await mount.data("read", "config/db") == {
        "plugin_name": "memory",
        "plugin_version": "",
        "connection_details": {"connection_url": "memory://db", "username": "root", "max_open_connections": 7},
        "allowed_roles": ["web", "api"],
        "root_credentials_rotate_statements": [],
        "password_policy": "",
        "root_rotation_ttl": 86400,
        "reconcile_interval": 3600,
    }
    assert await mount.data("list", "config") == {"keys": ["db"]}


async def test_what_is_not_named_stays(server: Server) -> None:
    mount = Mount()
    await mount.call("update", "config/db", CONFIG)
    await mount.call("update", "config/db", {"allowed_roles": ["*"]})
    shown = await mount.data("read", "config/db")
    assert shown["allowed_roles"] == ["*"]
    assert shown["connection_details"]["username"] == "root"
    await mount.call("update", "roles/web", ROLE)
    await mount.lease("web")  # the password is there, too


async def test_every_worker_follows_a_change(server: Server) -> None:
    mount = Mount()
    other = mount.other_worker()
    await mount.call("update", "config/db", CONFIG)
    await mount.call("update", "roles/web", ROLE)
    await other.lease("web")
    Server("second").accounts["root"] = "2nd-password"
    await mount.call("update", "config/db", {"connection_url": "memory://second", "password": "2nd-password"})
    before = len(server.accounts)
    await other.lease("web")
    assert len(server.accounts) == before


async def test_every_worker_follows_a_connection_that_was_deleted_and_made_anew(server: Server) -> None:
    mount = Mount()
    other = mount.other_worker()
    await mount.call("update", "config/db", CONFIG)
    await mount.call("update", "roles/web", ROLE)
    await other.lease("web")
    second = Server("second")
    await mount.call("delete", "config/db")
    await mount.call("update", "config/db", CONFIG | {"connection_url": "memory://second"})
    await other.lease("web")
    assert len(second.accounts) == 2


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"plugin_name": ""}, "empty plugin name"),
        ({"plugin_name": "oracle"}, "there is no plugin 'oracle': plugin_name is one of"),
        ({"connection_url": "http://db"}, "connection_url must begin with memory://"),
        ({"connection_url": {"a": 1}}, "connection_url must be a string"),
        ({"max_open_connections": 2**64}, "max_open_connections must be a string, a number"),
        ({"max_open_connections": [2**64]}, "max_open_connections must be a string, a number"),
        ({"password": "wrong"}, "refuses the user name or the password (verify_connection=false stores it untried)"),
        ({"password_policy": "none"}, "there is no password policy 'none'"),
        ({"root_rotation_statements": [1]}, "root_rotation_statements must be a string or a list of strings"),
        ({"root_rotation_statements": "no"}, "root_rotation_statements: a statement is ok, or it is not"),
        ({"root_rotation_ttl": "soon"}, "root_rotation_ttl"),
        ({"allowed_roles": {"a": 1}}, "allowed_roles"),
        ({"username_template": "{{"}, "username_template"),
        ({"username_template": "v-{{.RoleName}}"}, "the same name again"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_connection_that_cannot_be(server: Server, change: dict[str, Any], sentence: str) -> None:
    mount = Mount()
    with pytest.raises(CallerError) as caught:
        await mount.call("update", "config/db", CONFIG | change)
    assert sentence in caught.value.sentence
    assert "first" not in caught.value.sentence
    with pytest.raises(NotFoundError):
        await mount.call("read", "config/db")


@pytest.mark.parametrize("name", ["-a", "a-", "a b", "ä", "a" * 300, "."])
async def test_names_that_cannot_be(server: Server, name: str) -> None:
    mount = Mount()
    with pytest.raises(InvalidRequestError, match="letters, digits, underscores"):
        await mount.call("update", f"config/{name}", CONFIG)
    with pytest.raises(InvalidRequestError, match="letters, digits, underscores"):
        await mount.call("update", f"roles/{name}", ROLE)


async def test_a_database_that_is_away_is_stored_only_when_asked_for(server: Server) -> None:
    mount = Mount()
    server.is_away = True
    with pytest.raises(InvalidRequestError, match="the database is away"):
        await mount.call("update", "config/db", CONFIG)
    await mount.call("update", "config/db", {**CONFIG, "verify_connection": False})
    assert (await mount.data("read", "config/db"))["plugin_name"] == "memory"


async def test_reset_opens_anew(server: Server) -> None:
    mount = Mount()
    await mount.call("update", "config/db", CONFIG)
    await mount.call("update", "roles/web", ROLE)
    await mount.lease("web")
    opened = mount.parts.targets._opened["db"].guarded
    await mount.call("update", "reset/db")
    await mount.lease("web")
    assert mount.parts.targets._opened["db"].guarded is not opened


async def test_reset_of_nothing(server: Server) -> None:
    with pytest.raises(InvalidRequestError, match="failed to find entry for connection"):
        await Mount().call("update", "reset/db")


async def test_a_deleted_connection_serves_nobody(server: Server) -> None:
    mount = Mount()
    await mount.call("update", "config/db", CONFIG)
    await mount.call("update", "roles/web", ROLE)
    other = mount.other_worker()
    await other.lease("web")
    await mount.call("delete", "config/db")
    for worker in (mount, other):
        with pytest.raises(InvalidRequestError, match="failed to find entry for connection"):
            await worker.lease("web")


async def test_a_role_is_shown_as_vault_shows_it(server: Server) -> None:
    mount = Mount()
    await mount.call("update", "config/db", CONFIG)
    await mount.call("update", "roles/web", {**ROLE, "revocation_statements": ["ok", " "]})
    assert await mount.data("read", "roles/web") == {
        "db_name": "db",
        "creation_statements": ["ok"],
        "revocation_statements": ["ok"],
        "rollback_statements": [],
        "renew_statements": [],
        "verify_statements": [],
        "default_ttl": 0,
        "max_ttl": 0,
        "credential_type": "password",
    }
    assert await mount.data("list", "roles") == {"keys": ["web"]}
    await mount.call("delete", "roles/web")
    with pytest.raises(NotFoundError):
        await mount.call("read", "roles/web")


@pytest.mark.parametrize(
    ("given", "ttls"),
    [
        ({}, (3600, 86400)),
        ({"default_ttl": "0"}, (3600, 86400)),
        ({"default_ttl": "48h"}, (172800, 172800)),
        ({"max_ttl": "10m"}, (600, 600)),
        ({"default_ttl": "1m", "max_ttl": "2m"}, (60, 120)),
        ({"max_ttl": 0}, (3600, 86400)),
    ],
    ids=str,
)
async def test_an_hour_and_at_most_a_day(server: Server, given: dict[str, Any], ttls: tuple[int, int]) -> None:
    mount = Mount()
    await mount.call("update", "config/db", CONFIG)
    await mount.call("update", "roles/web", {**ROLE, **given})
    lease = await mount.lease("web")
    assert (lease.ttl, lease.max_ttl) == ttls


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"db_name": ""}, "database name is required"),
        ({"creation_statements": "no"}, "creation_statements: a statement is ok"),
        ({"renew_statements": ["no"]}, "renew_statements: a statement is ok"),
        ({"creation_statements": ["ok"] * 65}, "at most 64 statements"),
        ({"creation_statements": "x" * 70_000}, "at most 64 statements of 65536 characters"),
        ({"default_ttl": "2h", "max_ttl": "1h"}, "default_ttl must not be longer than max_ttl"),
        ({"credential_type": "rsa_private_key"}, "credential_type must be password"),
        ({"credential_config": {"key_bits": "2048"}}, "credential_config knows only password_policy"),
        ({"credential_config": {"password_policy": "none"}}, "there is no password policy 'none'"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_role_that_cannot_be(server: Server, change: dict[str, Any], sentence: str) -> None:
    mount = Mount()
    await mount.call("update", "config/db", CONFIG)
    with pytest.raises(InvalidRequestError) as caught:
        await mount.call("update", "roles/web", ROLE | change)
    assert sentence in caught.value.sentence


async def test_a_role_before_its_connection_is_stored_with_a_warning(server: Server) -> None:
    response = await Mount().call("update", "roles/web", ROLE)
    assert response.warnings == ["there is no connection db yet: the statements were not checked"]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:p@h/d", "postgresql://u:xxxxx@h/d"),
        ("postgresql://u:p@q@h/d", "postgresql://u:xxxxx@h/d"),
        ("postgresql://{{username}}:{{password}}@h/d", "postgresql://{{username}}:{{password}}@h/d"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("postgresql://h:5432/d", "postgresql://h:5432/d"),
        ("u:p@tcp(h:3306)/", "u:xxxxx@tcp(h:3306)/"),
        ("u:p://x@tcp(h:3306)/", "u:xxxxx@tcp(h:3306)/"),
        ("host=h user=u password=p dbname=d", "host=h user=u password=xxxxx dbname=d"),
        ("host=h password = 'p\\' q' user=u", "host=h password = xxxxx user=u"),
        ("host=h user={{username}} password='{{password}}'", "host=h user={{username}} password='{{password}}'"),
        (
            "postgresql://h/d?user=u&password=p&sslmode=require",
            "postgresql://h/d?user=u&password=xxxxx&sslmode=require",
        ),
        ("postgresql://h/d?sslpassword=p", "postgresql://h/d?sslpassword=xxxxx"),
        ("u@tcp(h)/d?allowCleartextPasswords=true", "u@tcp(h)/d?allowCleartextPasswords=true"),
        ("rediss://:p@h:6379", "rediss://:xxxxx@h:6379"),
    ],
)
def test_a_password_in_a_url_is_not_shown(url: str, shown: str) -> None:
    assert without_password(url) == shown
