"""The guide's way with policies, at a terminal against the real server; and what goes beyond it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.e2e.conftest import Terminal
from tests.support.appliance import Appliance

GUIDE = """\
# Policy: orders-api can only read its own database credentials
policy "orders-api" {
  path "database/creds/orders-api" {
    capabilities = ["read"]
  }

  # Deny access to everything else
  path "database/creds/*" {
    capabilities = ["deny"]
  }
}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "policies").mkdir()
    path = tmp_path / "policies" / "orders-api.hcl"
    path.write_text(GUIDE)
    return path


def asked(path: str) -> tuple[str, ...]:
    return ("policy", "test", "--identity", "orders-api", "--path", path, "--action", "read")


def test_the_guide(user: Terminal, file: Path) -> None:
    user.mimir("policy", "write", "orders-api", str(file))
    assert user.mimir(*asked("database/creds/orders-api")).stdout == "✓ Allowed\n"
    assert user.mimir(*asked("database/creds/users-api"), code=1).stdout == "✗ Denied\n"
    explained = user.out(*asked("database/creds/users-api"), "--explain", code=1)
    assert "decided by  policy orders-api, version" in explained
    assert "line 8" in explained


def test_a_refused_callers_request_id_tells_the_operator_why(user: Terminal, live: Appliance, tmp_path: Path) -> None:
    text = 'path "transit/keys/mine" { capabilities = ["read"] }\npath "transit/keys/*" { capabilities = ["deny"] }\n'
    user.mimir("policy", "write", "mine-only", "-", given=text)
    token = user.out("token", "create", "--policy", "mine-only", "--field", "token")
    little = Terminal(tmp_path, live.address, token)
    said = little.refusal("transit", "key", "read", "theirs")
    assert "permission denied" in said
    assert "deny" not in said.replace("denied", "")
    found = re.search(r"request id ([0-9a-f-]{36})", said)
    assert found is not None, said
    told = user.out("policy", "explain", found[1])
    for shown in ("transit/keys/theirs", "policy mine-only, version 1, line 2", "default, mine-only"):
        assert shown in told
    assert "permission denied" in little.refusal("policy", "explain", found[1])


def test_versions_diff_and_rollback(user: Terminal) -> None:
    first, second = (f'path "transit/{name}" {{ capabilities = ["read"] }}\n' for name in ("one", "two"))
    user.mimir("policy", "write", "changing", "-", given=first)
    user.mimir("policy", "write", "changing", "-", given=second)
    assert "check-and-set" in user.refusal("policy", "write", "changing", "-", "--cas", "1", given=first)
    assert f"-{first}+{second}" in user.mimir("policy", "diff", "changing").stdout
    user.mimir("policy", "delete", "changing")
    user.mimir("policy", "rollback", "changing", "--to", "1")
    assert user.mimir("policy", "read", "changing").stdout == first
    assert user.mimir("policy", "read", "changing", "--version", "2").stdout == second
    rows = [row.split() for row in user.out("policy", "versions", "changing").splitlines()[2:]]
    assert [row[0] for row in rows] == ["4", "3", "2", "1"]
    assert rows[0][1:5] == ["rolled", "back", "to", "1"]


def test_fmt_and_lint(user: Terminal, file: Path) -> None:
    assert user.mimir("policy", "fmt", "--check", str(file)).stdout == ""
    file.write_text('path "transit//x" {capabilities=["read"]} # why')
    assert user.mimir("policy", "fmt", "--check", str(file), code=1).stdout == f"{file}\n"
    user.mimir("policy", "fmt", str(file))
    assert file.read_text() == 'path "transit//x" {\n  capabilities = ["read"]\n} # why\n'
    assert f"{file}:1: error: " in user.out("policy", "lint", str(file), code=1)
    user.mimir("policy", "write", "linted", str(file))
    assert "linted:1: error: " in user.out("policy", "lint", "linted", code=1)
    file.write_text(GUIDE.replace("database/creds", "transit/keys"))
    assert user.out("policy", "lint", str(file)) == "Nothing found."
