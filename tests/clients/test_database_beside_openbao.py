"""The same requests to the database engine at a real OpenBao and at Mimir, over one real PostgreSQL.

The requests are in database_requests/, in the lines that `tests.clients.beside` reads; a reason is one of `ACCEPTED`.
$D is the connection URL, $N a user of the database and $W its password (each server has one of its own), $G a role.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.clients.bao import Bao
from tests.clients.beside import Caller, Reply, faults_of, scripts
from tests.support.postgres import NetworkPostgres

pytestmark = pytest.mark.heavy  # needs another server's program

SCRIPTS = scripts(Path(__file__).with_name("database_requests"))
ACCEPTED = {
    "period": "a change says what changes, and no more",
    "policies": "a password policy that there is none of is refused when it is written, and not when it is used",
    "statements": "statements that make no account are refused when they are written",
    "ttls": "a default longer than the maximum is refused",
    "unchecked": "a role whose connection is not there yet is stored with a warning",
}
OURS_ALONE = frozenset(
    {"root_rotation_ttl", "verify_statements", "last_root_rotation", "next_vault_rotation", "mount_type"}
)
UNSEEN = frozenset({"password", "last_vault_rotation", "ttl"})


@pytest.fixture(scope="module")
def database() -> Iterator[NetworkPostgres]:
    server = NetworkPostgres()
    yield server
    server.remove()


async def _user(server: NetworkPostgres, name: str) -> None:
    connection = await asyncpg.connect(server.url("postgres"))
    await connection.execute(
        f"CREATE ROLE {name} LOGIN SUPERUSER PASSWORD 'secret-{name}'; CREATE ROLE group_{name} LOGIN"
    )
    await connection.close()


@pytest.mark.parametrize("script", SCRIPTS)
def test_requests_see_no_difference(ours: Bao, theirs: Bao, database: NetworkPostgres, script: str) -> None:
    mount = f"beside-{script}"
    url = f"postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{database.port}/postgres?sslmode=disable"
    callers = []
    for server, who in ((theirs, "theirs"), (ours, "ours")):
        name = f"{who}_{script}"
        asyncio.run(_user(database, name))
        kept = {"D": url, "N": name, "W": f"secret-{name}", "G": f"group_{name}", "M": mount}
        caller = Caller(server, mount, kept=kept, patch_type="application/merge-patch+json")
        assert caller.ask(f'POST /sys/mounts/{mount} {{"type":"database"}}').status == 204
        callers.append(caller)
    faults = faults_of(SCRIPTS[script], *callers, accepted=ACCEPTED, compare=differences)
    assert not faults, "\n".join(faults)


def differences(theirs: Reply, ours: Reply) -> list[str]:
    """What a client could notice; not that OpenBao calls some of its callers' mistakes its own (500)."""
    if theirs.status == 500 and ours.status in {400, 403, 404}:
        return []
    found = [] if theirs.status == ours.status else [f"status {ours.status}, theirs {theirs.status}"]
    if theirs.status >= 400 and ours.status >= 400:
        return found
    if bool(theirs.warnings) != bool(ours.warnings):
        found.append(f"warnings {ours.warnings}, theirs {theirs.warnings}")
    leases = [(reply.body.get("renewable"), reply.body.get("lease_duration")) for reply in (theirs, ours)]
    if leases[0] != leases[1]:
        found.append(f"lease {leases[1]}, theirs {leases[0]}")
    return found + in_value(theirs.data, ours.data, "")


def in_value(theirs: Any, ours: Any, where: str) -> list[str]:
    """Members, their types and values; names that each server has its own of apart."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        found = [f"{where}.{name} is missing: {theirs[name]!r}" for name in sorted(theirs.keys() - ours.keys())]
        found += [
            f"{where}.{name} is more: {ours[name]!r}" for name in sorted(ours.keys() - theirs.keys() - OURS_ALONE)
        ]
        for name in sorted((theirs.keys() & ours.keys()) - UNSEEN):
            if name == "username" and str(theirs[name]).startswith("v-"):
                continue
            found += in_value(theirs[name], ours[name], f"{where}.{name}")
        return found
    plain = (str(value).replace("theirs_", "ours_") for value in (theirs, ours))
    return [] if type(theirs) is type(ours) and len(set(plain)) == 1 else [f"{where} is {ours!r}, theirs {theirs!r}"]
