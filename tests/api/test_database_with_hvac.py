"""Database credentials through an independent Vault client (hvac): two workers and a real PostgreSQL."""

import asyncio
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import asyncpg
import hvac.exceptions
import pytest

from tests.support.appliance import Appliance
from tests.support.postgres import ThrowAwayPostgres

ROOT_PASSWORD = "root-password-of-the-test"
CREATE = [
    "CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}';",
    'GRANT SELECT ON orders TO "{{name}}";',
]
ROLE = {"db_name": "orders-db", "creation_statements": CREATE, "default_ttl": "1h", "max_ttl": "4h"}


class Database:
    """The PostgreSQL that credentials are for; it lets everybody in who may log in, so roles are what is looked at."""

    def __init__(self, server: ThrowAwayPostgres) -> None:
        self.server = server
        self.name = server.create_database()
        self.url = f"postgresql://{{{{username}}}}:{{{{password}}}}@/{self.name}?host={server.directory}"
        self.root = f"root_{self.name}"
        self.sql(f"CREATE ROLE {self.root} SUPERUSER LOGIN PASSWORD '{ROOT_PASSWORD}'; CREATE TABLE orders(id int)")

    def sql(self, text: str, **connect: Any) -> list[Any]:
        async def run() -> list[Any]:
            connection = await asyncpg.connect(self.server.url(self.name), **connect)
            try:
                return [tuple(row) for row in await connection.fetch(text)] if text.startswith("SELECT") else []
            finally:
                if not text.startswith("SELECT"):
                    await connection.execute(text)
                await connection.close()

        return asyncio.run(run())

    def accounts(self) -> set[str]:
        return {name for (name,) in self.sql("SELECT rolname FROM pg_roles WHERE starts_with(rolname, 'v-')")}


@pytest.fixture(scope="module")
def database(postgres: ThrowAwayPostgres) -> Database:
    return Database(postgres)


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory, database: Database) -> Iterator[Appliance]:
    running = Appliance(tmp_path_factory.mktemp("appliance") / "data").start()
    client = running.client()
    client.sys.enable_audit_device("file", path="file", options={"file_path": str(running.data_dir / "audit.log")})
    client.sys.enable_secrets_engine("database")
    configure(client, database)
    client.secrets.database.create_role("orders-api", **ROLE)
    yield running
    assert running.stop() == 0


def configure(client: Any, database: Database) -> None:
    client.secrets.database.configure(
        "orders-db",
        "postgresql-database-plugin",
        allowed_roles=["*"],
        connection_url=database.url,
        username=database.root,
        password=ROOT_PASSWORD,
    )


@pytest.fixture
def engine(appliance: Appliance) -> Any:
    return appliance.client().secrets.database


def test_credentials_open_the_database_until_they_are_revoked(appliance: Appliance, database: Database) -> None:
    client = appliance.client()
    made = client.secrets.database.generate_credentials("orders-api")
    assert made["lease_id"].startswith("database/creds/orders-api/")
    assert (made["lease_duration"], made["renewable"]) == (3600, True)
    name = made["data"]["username"]
    assert name.startswith("v-orders-api-")
    assert database.sql("SELECT count(*) FROM orders", user=name) == [(0,)]
    assert client.sys.renew_lease(made["lease_id"], increment=7200)["lease_duration"] == 7200
    client.sys.revoke_lease(made["lease_id"])
    assert name not in database.accounts()
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
        database.sql("SELECT 1", user=name)


def test_what_a_vault_client_asks_is_answered_as_by_vault(engine: Any, database: Database) -> None:
    shown = engine.read_connection("orders-db")["data"]
    assert shown["connection_details"] == {"connection_url": database.url, "username": database.root}
    assert (shown["plugin_name"], shown["allowed_roles"]) == ("postgresql-database-plugin", ["*"])
    role = engine.read_role("orders-api")["data"]
    assert (role["creation_statements"], role["default_ttl"], role["max_ttl"]) == (CREATE, 3600, 14400)
    assert engine.list_connections()["data"] == {"keys": ["orders-db"]}
    assert engine.list_roles()["data"] == {"keys": ["orders-api"]}
    engine.reset_connection("orders-db")
    engine.create_role("short-lived", **ROLE)
    engine.delete_role("short-lived")
    with pytest.raises(hvac.exceptions.InvalidPath):
        engine.read_role("short-lived")


def test_thirty_two_at_once_are_thirty_two_accounts_and_one_prefix(appliance: Appliance, database: Database) -> None:
    before = database.accounts()

    def one(_: int) -> str:
        made = appliance.client().secrets.database.generate_credentials("orders-api")
        return str(made["data"]["username"])

    with ThreadPoolExecutor(32) as pool:
        names = set(pool.map(one, range(32)))
    assert len(names) == 32
    assert database.accounts() - before == names
    appliance.client().sys.revoke_prefix("database/creds/orders-api")
    assert database.accounts() == set()


def test_nobody_knows_the_root_password_after_its_rotation(appliance: Appliance, database: Database) -> None:
    client = appliance.client()
    hashed = f"SELECT rolpassword FROM pg_authid WHERE rolname = '{database.root}'"
    before = database.sql(hashed)
    client.secrets.database.rotate_root_credentials("orders-db")
    assert database.sql(hashed) != before
    for _ in range(6):  # each worker
        client.secrets.database.generate_credentials("orders-api")
    client.sys.revoke_prefix("database")
    database.sql(f"ALTER ROLE {database.root} PASSWORD '{ROOT_PASSWORD}'")
    configure(client, database)


def test_a_token_that_goes_takes_its_accounts_along(appliance: Appliance, database: Database) -> None:
    client = appliance.client()
    rule = 'path "database/creds/*" { capabilities = ["read"] }'
    client.sys.create_or_update_policy("orders", rule)
    token = client.auth.token.create(policies=["orders"])["auth"]["client_token"]
    other = appliance.client(token)
    name = other.secrets.database.generate_credentials("orders-api")["data"]["username"]
    assert name in database.accounts()
    other.auth.token.revoke_self()
    limit = time.monotonic() + 20
    while name in database.accounts():
        assert time.monotonic() < limit
        time.sleep(0.1)


def test_wrong_grants_leave_nothing_behind_and_are_told_to_the_operator(
    appliance: Appliance, engine: Any, database: Database
) -> None:
    engine.create_role("wrong", **{**ROLE, "creation_statements": [*CREATE, "GRANT SELECT ON nothing TO {{name}}"]})
    with pytest.raises(hvac.exceptions.InvalidRequest, match="42P01 undefined_table") as caught:
        engine.generate_credentials("wrong")
    reference = str(caught.value.errors[0]).rpartition(" ")[2]
    assert database.accounts() == set()
    told = [line for line in appliance.log.splitlines() if reference in line]
    assert 'relation "nothing" does not exist' in told[0]
    engine.delete_role("wrong")


def test_a_role_is_proved_on_the_real_server(appliance: Appliance, engine: Any, database: Database) -> None:
    body = {"verify_statements": ["SELECT count(*) FROM orders"]}
    engine.create_role("proved", **ROLE)
    assert appliance.request("POST", "database/roles/proved", body).status == 204
    proof = appliance.request("POST", "database/verify/proved").json["data"]
    steps = {step["step"]: step["ok"] for step in proof["steps"]}
    # this server lets everybody in who may log in, and nobody whom it does not know
    assert (proof["ok"], steps) == (True, dict.fromkeys(steps, True))
    assert list(steps) == ["create", "login", "grants", "statements", "revoke", "refused"]
    assert "SELECT on public.orders" in proof["grants"]
    assert proof["username"] not in database.accounts()
    body = {"verify_statements": ["DELETE FROM orders"]}
    assert appliance.request("POST", "database/roles/proved", body).status == 204
    proof = appliance.request("POST", "database/verify/proved").json["data"]
    failed = [step for step in proof["steps"] if not step["ok"]]
    assert [step["step"] for step in failed] == ["statements"]
    assert "42501 insufficient_privilege" in failed[0]["detail"]
    assert proof["username"] not in database.accounts()


def test_orphans_on_either_side_of_the_real_server(appliance: Appliance, engine: Any, database: Database) -> None:
    client = appliance.client()
    engine.create_role("orphaned", **ROLE)
    kept, restored, dropped = (engine.generate_credentials("orphaned") for _ in range(3))
    client.sys.revoke_lease(restored["lease_id"])
    again, name = restored["data"]["username"], dropped["data"]["username"]
    database.sql(f'CREATE ROLE "{again}" LOGIN; GRANT SELECT ON orders TO "{again}"')  # as by a restored back-up
    database.sql(f'DROP OWNED BY "{name}"; DROP ROLE "{name}"; CREATE ROLE "v-other-0123456789abcdef"')

    def reconciled(**body: bool) -> dict[str, Any]:
        return dict(appliance.request("POST", "database/reconcile/orders-db", body).json["data"])

    for found in (reconciled(), reconciled(apply=True)):
        assert found["orphan_accounts"] == [again]
        assert found["orphan_leases"] == [dropped["lease_id"]]
        assert found["foreign_accounts"] == ["v-other-0123456789abcdef"]
    found = reconciled()
    assert (found["orphan_account_count"], found["orphan_lease_count"], found["foreign_account_count"]) == (0, 0, 1)
    accounts = database.accounts()
    assert {kept["data"]["username"], "v-other-0123456789abcdef"} <= accounts
    assert not {again, name} & accounts
    database.sql('DROP ROLE "v-other-0123456789abcdef"')
    client.sys.revoke_lease(kept["lease_id"])


def test_a_dead_database_fails_its_own_requests_fast_and_nobody_else_s(
    appliance: Appliance, database: Database
) -> None:
    client = appliance.client()
    kept = client.secrets.database.generate_credentials("orders-api")
    client.secrets.kv.v2.create_or_update_secret("app", secret={"a": "b"})
    database.server.stop()
    try:
        for _ in range(8):
            begin = time.monotonic()
            with pytest.raises(hvac.exceptions.VaultDown, match="cannot be reached"):
                client.secrets.database.generate_credentials("orders-api")
            assert time.monotonic() - begin < 5
        assert client.secrets.kv.v2.read_secret_version("app", raise_on_deleted_version=True)["data"]["data"]
        with pytest.raises(hvac.exceptions.InvalidRequest, match="refused from now on"):
            client.write_data("sys/leases/revoke", data={"lease_id": kept["lease_id"], "sync": True})
    finally:
        database.server.start()
    limit = time.monotonic() + 20
    while kept["data"]["username"] in database.accounts():  # each worker tries for itself whether it is back
        assert time.monotonic() < limit
        appliance.request("POST", "sys/leases/revoke", {"lease_id": kept["lease_id"], "sync": True})
        time.sleep(0.1)
    while any(appliance.request("GET", "database/creds/orders-api").status != 200 for _ in range(8)):
        assert time.monotonic() < limit
        time.sleep(0.1)


def test_no_password_is_in_the_log_or_the_audit_file(appliance: Appliance) -> None:
    made = appliance.client().secrets.database.generate_credentials("orders-api")["data"]
    written = appliance.log + (appliance.data_dir / "audit.log").read_text()
    assert made["password"] not in written
    assert made["password"] not in json.dumps(appliance.client().secrets.database.read_role("orders-api"))
    assert ROOT_PASSWORD not in written


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        ("config/x", {"plugin_name": "nothing"}, "there is no plugin 'nothing'"),
        ("config/x", {"plugin_name": "postgresql"}, "connection_url is required"),
        ("config/x", {"plugin_name": "postgresql", "connection_url": "postgresql://h/d?sslmode=x"}, "sslmode"),
        ("config/x", {"plugin_name": ["a"]}, "plugin_name"),
        ("roles/x", {"db_name": "orders-db"}, "creation_statements are required"),
        ("roles/x", {"db_name": "orders-db", "creation_statements": "SELECT 1"}, "must name the account"),
        ("roles/x", {"db_name": "orders-db", "creation_statements": "DROP {{role}}"}, "there is no placeholder"),
        ("roles/x", {"db_name": "orders-db", "creation_statements": 7}, "must be a string or a list of strings"),
        ("rotate-root/nothing", {}, "failed to find entry"),
        ("reset/nothing", {}, "failed to find entry"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_bad_input_is_named_when_it_is_written(appliance: Appliance, path: str, body: Any, sentence: str) -> None:
    reply = appliance.request("POST", f"database/{path}", body)
    assert reply.status == 400
    assert sentence in reply.errors[0]
