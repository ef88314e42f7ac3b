"""One story of access, at a terminal against the real server: from an empty appliance to a revoked service.

An operator prepares a namespace for a team, with a policy, an approle for its service and a user for its people. The
service logs in with a secret id that nobody on the way could read, leases an account, and is refused elsewhere; the
operator finds out why, and takes everything back.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.e2e.conftest import Terminal
from tests.support.appliance import ROOT, Appliance

ENGINE = ROOT / "tests" / "support" / "leasing_distribution"
POLICY = """\
# What the service may do
path "robots/creds/app" { capabilities = ["read"] }
path "robots/creds/*" { capabilities=["deny"] }
"""
CARELESS = 'path "robots/*" { capabilities = ["read"] }\npath "*" { capabilities = ["read"] }\n'


@dataclass
class Person(Terminal):
    """Somebody with a home, who works in a namespace."""

    namespace: str = "team-a"

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | {"MIMIR_NAMESPACE": self.namespace}

    def kept(self, name: str, content: str) -> str:
        """A file at home, as an argument names it."""
        (self.home / name).write_text(content)
        return str(self.home / name)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """With a third party's engine, whose accounts are leased."""
    path = {"PYTHONPATH": f"{ROOT}{os.pathsep}{ENGINE}"}
    made = Appliance(tmp_path_factory.mktemp("story") / "data", env=path).start()
    yield made
    assert made.stop() == 0


def person(server: Appliance, home: Path, token: str = "") -> Person:
    home.mkdir()
    return Person(home, server.address, token)


def test_the_story(server: Appliance, tmp_path: Path) -> None:
    """The chapters, which stand below in their order."""
    admin = person(server, tmp_path / "admin", server.root_token)
    service, bob = person(server, tmp_path / "service"), person(server, tmp_path / "bob")
    the_operator_makes_room_for_a_team(admin)
    the_policy_is_laid_out_and_looked_over_before_it_is_written(admin)
    login_methods_for_the_service_and_for_people(admin)
    the_service_logs_in_with_a_secret_id_that_nobody_on_the_way_could_read(admin, service)
    the_service_leases_an_account_and_renews_it(admin, service)
    the_service_is_refused_and_the_operator_learns_why(admin, service)
    a_careless_change_is_seen_and_rolled_back(admin, service)
    bob_logs_in_and_his_entity_gets_a_policy(admin, bob)
    everything_is_taken_back(admin, service, bob)


def rows(text: str) -> list[list[str]]:
    """The cells of a table, without its heading."""
    return [re.split(r" {4,}", line.strip()) for line in text.splitlines()[2:]]


def accounts(admin: Person) -> list[str]:
    """Those that are open at the engine."""
    return [row[0] for row in rows(admin.out("list", "robots/accounts"))]


def the_operator_makes_room_for_a_team(admin: Person) -> None:
    admin.mimir("namespace", "create", "team-a", "--metadata", "owner=core", "--namespace", "")
    assert [[row[0], row[2]] for row in rows(admin.out("namespace", "list", "--namespace", ""))] == (
        [["team-a/", "owner=core"]]
    )
    admin.mimir("secrets", "engine", "enable", "accounts", "--path", "robots", "--max-lease-ttl", "2h")
    admin.mimir("write", "robots/roles/app", "ttl=1h", "max_ttl=24h")
    admin.mimir("write", "robots/roles/billing", "ttl=1h")
    assert "robots/" not in admin.out("secrets", "engine", "list", "--namespace", "")


def the_policy_is_laid_out_and_looked_over_before_it_is_written(admin: Person) -> None:
    file = admin.kept("app.hcl", POLICY)
    assert admin.out("policy", "fmt", "--check", file, code=1) == file
    admin.mimir("policy", "fmt", file)
    assert admin.out("policy", "fmt", "--check", file) == ""
    assert 'capabilities = ["deny"]' in Path(file).read_text()
    admin.mimir("policy", "lint", file)
    careless = admin.out("policy", "lint", "-", given=CARELESS, code=1)
    assert "over-broad" in careless
    admin.mimir("policy", "write", "app", file)
    assert admin.mimir("policy", "read", "app").stdout == Path(file).read_text()


def login_methods_for_the_service_and_for_people(admin: Person) -> None:
    admin.mimir("auth", "enable", "approle", "--max-lease-ttl", "8h")
    admin.mimir("auth", "enable", "userpass", "--path", "people", "--description", "on call")
    admin.mimir("write", "auth/approle/role/app", "token_policies=app", "token_ttl=20m", "secret_id_num_uses=1")
    admin.mimir("write", "auth/people/users/bob", "password=-", "token_ttl=10m", given="builder")
    paths = {row[0]: row for row in rows(admin.out("auth", "list"))}
    assert list(paths) == sorted(paths) == ["approle/", "people/", "token/"]
    assert paths["approle/"][4:6] == ["system", "8h"]
    tried = ("policy", "test", "--identity", "app", "--action", "read", "--path")
    assert admin.out(*tried, "robots/creds/app") == "✓ Allowed"
    assert admin.out(*tried, "robots/creds/billing", code=1) == "✗ Denied"


def the_service_logs_in_with_a_secret_id_that_nobody_on_the_way_could_read(admin: Person, service: Person) -> None:
    role_id = admin.out("read", "auth/approle/role/app/role-id", "--field", "role_id")
    wrapping = admin.out(
        "write", "--force", "auth/approle/role/app/secret-id", "--wrap-ttl", "2m", "--field", "wrapping_token"
    )
    assert "auth/approle/role/app/secret-id" in service.out("unwrap", "--lookup", "-", given=wrapping)
    secret_id = service.out("unwrap", "-", "--field", "secret_id", given=wrapping)
    assert "not valid" in service.refusal("unwrap", "-", "--field", "secret_id", given=wrapping)
    login = ("login", "--method", "approle", f"role_id=@{service.kept('role-id', role_id)}", "secret_id=-")
    done = service.mimir(*login, given=secret_id)
    token = (service.home / ".mimir-token").read_text().strip()
    assert token not in done.stdout + done.stderr
    assert "20m" in done.stdout
    assert "invalid role or secret" in service.refusal(*login, given=secret_id)  # it was good for one login
    shown = dict(row for row in rows(service.out("token", "lookup")) if len(row) == 2)
    assert (shown["namespace_path"], shown["policies"], shown["creation_ttl"]) == ("team-a/", "app, default", "20m")


def the_service_leases_an_account_and_renews_it(admin: Person, service: Person) -> None:
    leased = json.loads(service.out("read", "robots/creds/app", "-o", "json"))
    assert re.fullmatch(r"robots/creds/app/[0-9A-Za-z]{24}\.[0-9A-Za-z]{6}", leased["lease_id"])
    assert leased["lease_duration"] == 3600
    renewed = service.mimir("lease", "renew", leased["lease_id"], "--increment", "5h")  # `default` allows it
    assert dict(rows(renewed.stdout))["lease_duration"] in {"2h", "1h59m59s"}
    assert [leased["lease_id"].rpartition("/")[2]] == [
        row[0] for row in rows(admin.out("lease", "list", "robots/creds/app"))
    ]
    assert rows(admin.out("lease", "count"))[-1] == ["all", "1"]
    assert admin.refusal("lease", "list", "robots/creds/app", "--namespace", "")  # the root namespace has none there


def the_service_is_refused_and_the_operator_learns_why(admin: Person, service: Person) -> None:
    said = service.refusal("read", "robots/creds/billing")
    assert "permission denied" in said
    assert "policy app" not in said
    found = re.search(r"request id ([0-9a-f-]{36})", said)
    assert found is not None, said
    told = admin.out("policy", "explain", found[1])
    for shown in ("robots/creds/billing", "policy team-a/app, version 1, line ", "denied"):
        assert shown in told
    assert "permission denied" in service.refusal("policy", "explain", found[1])
    assert "permission denied" in service.refusal("policy", "list", "--namespace", "")
    assert accounts(admin) == ["1"]


def a_careless_change_is_seen_and_rolled_back(admin: Person, service: Person) -> None:
    admin.mimir("policy", "write", "app", "-", given=CARELESS)
    service.mimir("read", "robots/creds/billing")
    assert '+path "*" { capabilities = ["read"] }' in admin.out("policy", "diff", "app").splitlines()
    admin.mimir("policy", "rollback", "app", "--to", "1")
    assert "permission denied" in service.refusal("read", "robots/creds/billing")
    events = [row[:2] for row in rows(admin.out("policy", "versions", "app"))]
    assert events == [["3", "rolled back to 1"], ["2", "written"], ["1", "written"]]


def bob_logs_in_and_his_entity_gets_a_policy(admin: Person, bob: Person) -> None:
    login = ("login", "--method", "userpass", "--path", "people", "username=bob")
    assert "invalid username or password" in bob.refusal(*login, given="wrong\n")
    bob.mimir(*login, given="builder\n")
    assert "permission denied" in bob.refusal("read", "robots/creds/app")
    [row] = [row for row in rows(admin.out("identity", "entity", "list")) if row[1] == "bob"]
    admin.mimir("identity", "entity", "update", row[0], "--policy", "app")
    bob.mimir("read", "robots/creds/app")
    assert admin.out("policy", "test", "--identity", "bob", "--path", "robots/creds/app", "--action", "read") == (
        "✓ Allowed"
    )


def everything_is_taken_back(admin: Person, service: Person, bob: Person) -> None:
    assert len(accounts(admin)) == 3
    service.mimir("token", "revoke", "--self")
    assert "permission denied" in service.refusal("read", "robots/creds/app")
    done = admin.mimir("lease", "revoke", "--prefix", "robots", "--sync")
    assert re.fullmatch(r"Success! [0-3] leases? (is|are) revoked, 0 could not be\.\n", done.stdout)
    assert "nothing is there" in admin.refusal("list", "robots/accounts")
    admin.mimir("auth", "disable", "people")
    assert "permission denied" in bob.refusal("token", "lookup")
    admin.mimir("namespace", "delete", "team-a", "--namespace", "")
    assert "no such namespace" in admin.refusal("policy", "list")
