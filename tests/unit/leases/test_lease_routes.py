"""`sys/leases/…` and the older forms, as clients send them."""

import pytest

from appliance.access.request import AccessRequest
from appliance.access.tokens import TokenEntry
from appliance.leases.measuring import count_irrevocable, overdue
from appliance.namespaces import ROOT
from appliance.router import RouteTable
from appliance.system.leases import LeaseRoutes
from core.bodies import parse_body
from core.errors import InvalidRequestError, NotFoundError, PermissionDeniedError
from core.requests import Operation
from tests.unit.leases.world import OTHER, TEAM

CALLER = TokenEntry(record_id="c", accessor="c", policies=(), path="p", issue_time=1, display_name="token-ops")


class Allowing:
    """An access list of one answer."""

    def __init__(self, *, sudo: bool = True) -> None:
        self.sudo = sudo
        self.asked: list[tuple[str, str, bool]] = []

    def allows(self, path: str, capability: str, *, sudo: bool = False) -> bool:
        self.asked.append((path, capability, sudo))
        return self.sudo or not sudo


@pytest.fixture
def ask(world):
    """Route, body and handler, as the pipeline does it after admission."""
    table = RouteTable(
        LeaseRoutes(world.operations, world.counts, world.clock, mount_paths=lambda _path: ["database/"]).routes()
    )

    async def call(operation, path, data=None, *, within=ROOT, acl=None):
        found = table.find(path)
        assert found is not None, path
        route, params = found
        method = route.methods[operation]
        request = AccessRequest(
            request_id="r",
            operation=operation,
            mount_path="sys/",
            path=path,
            params=params,
            data=data or {},
            token="t",
            entry=CALLER,
            acl=acl or Allowing(),
            within=within,
        )
        return await method.handler(request, parse_body(data or {}, method.body))

    call.table = table
    return call


UPDATE, LIST, READ = Operation.UPDATE, Operation.LIST, Operation.READ


async def test_lookup(world, token, ask):
    grant = await world.grant(token)
    world.clock.advance(10)
    data = (await ask(UPDATE, "leases/lookup", {"lease_id": grant.lease_id})).data
    assert data == {
        "id": grant.lease_id,
        "issue_time": "2027-01-15T08:00:00.000000Z",
        "expire_time": "2027-01-15T09:00:00.000000Z",
        "last_renewal": None,
        "renewable": True,
        "ttl": 3590,
        "path": "database/creds/app",
    }
    assert type(data["ttl"]) is int


async def test_lookup_of_a_login(world, ask):
    await world.tokens.add("l1", path="auth/approle/login", expires_at=int(world.clock.now()) + 60)
    data = (await ask(UPDATE, "leases/lookup", {"lease_id": "auth/approle/login/l1"})).data
    assert (data["path"], data["ttl"]) == ("auth/approle/login", 60)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [({}, "lease_id must be specified"), ({"lease_id": "database/creds/app/none"}, "invalid lease")],
)
async def test_lookup_of_nothing(ask, data, sentence):
    with pytest.raises(InvalidRequestError, match=sentence):
        await ask(UPDATE, "leases/lookup", data)


async def test_lists(world, token, ask):
    await world.grant(token)
    assert (await ask(LIST, "leases/lookup/")).data == {"keys": ["auth/", "database/"]}
    assert (await ask(LIST, "leases/lookup/database/creds/")).data == {"keys": ["app/"]}
    with pytest.raises(NotFoundError):
        await ask(LIST, "leases/lookup/nothing/")


async def test_the_top_list_needs_sudo_as_the_others_do(world, token, ask):
    await world.grant(token)
    acl = Allowing(sudo=False)
    with pytest.raises(PermissionDeniedError):
        await ask(LIST, "leases/lookup", within=TEAM, acl=acl)
    assert acl.asked == [("team-a/sys/leases/lookup/", "list", True)]


@pytest.mark.parametrize(
    "path",
    ["leases/lookup/a", "leases/revoke-prefix/a", "leases/revoke-force/a", "revoke-prefix/a", "revoke-force/a"],
)
def test_these_need_sudo(ask, path):
    assert ask.table.find(path)[0].sudo


@pytest.mark.parametrize("form", ["leases/renew", "leases/renew/{}", "renew", "renew/{}"])
async def test_renewal_in_every_form(world, token, ask, form):
    grant = await world.grant(token)
    data = {"increment": "900"} if "{}" in form else {"lease_id": grant.lease_id, "increment": 900}
    lease = (await ask(UPDATE, form.format(grant.lease_id), data)).lease
    assert (lease.lease_id, lease.ttl, lease.renewable) == (grant.lease_id, 900, True)


async def test_path_and_body_name_the_same_lease(world, token, ask):
    """Policies speak of the path. Vault takes what the body names, whatever the path was granted for."""
    grant, other = await world.grant(token), await world.grant(token)
    lease = (await ask(UPDATE, f"leases/renew/{grant.lease_id}", {"lease_id": grant.lease_id})).lease
    assert lease.lease_id == grant.lease_id
    for verb in ("leases/renew", "leases/revoke", "renew", "revoke"):
        with pytest.raises(InvalidRequestError, match="different leases"):
            await ask(UPDATE, f"{verb}/{other.lease_id}", {"lease_id": grant.lease_id})


@pytest.mark.parametrize("path", ["leases/renew", "leases/revoke"])
async def test_a_lease_must_be_named(ask, path):
    with pytest.raises(InvalidRequestError, match="lease_id must be specified"):
        await ask(UPDATE, path)


@pytest.mark.parametrize("increment", [-1, "-1h", "soon", [1]])
async def test_increments_that_are_none(world, token, ask, accounts, increment):
    grant = await world.grant(token)
    with pytest.raises(InvalidRequestError, match="increment"):
        await ask(UPDATE, "leases/renew", {"lease_id": grant.lease_id, "increment": increment})
    assert accounts.renewed == []


@pytest.mark.parametrize("form", ["leases/revoke", "leases/revoke/{}", "revoke", "revoke/{}"])
@pytest.mark.parametrize(("sync", "status"), [(None, None), (True, None), (False, 202), ("false", 202)])
async def test_revocation_in_every_form(world, token, ask, accounts, form, sync, status):
    grant = await world.grant(token)
    data = {} if "{}" in form else {"lease_id": grant.lease_id}
    response = await ask(UPDATE, form.format(grant.lease_id), data | ({} if sync is None else {"sync": sync}))
    assert (response.status, response.data) == (status, None)
    assert bool(accounts.revoked) is (status is None)
    assert await world.leases.lookup(grant.lease_id, within=ROOT) is None


async def test_revoking_nothing_is_as_good(ask):
    assert (await ask(UPDATE, "leases/revoke", {"lease_id": "database/creds/app/none"})).status is None


@pytest.mark.parametrize("form", ["leases/revoke-prefix/database/creds", "revoke-prefix/database/creds/"])
async def test_a_prefix_without_waiting_names_its_job(world, token, ask, accounts, form):
    await world.grant(token)
    response = await ask(UPDATE, form, {"sync": False})
    assert response.status == 202
    job_id = response.data["job_id"]
    view = (await ask(READ, f"leases/jobs/{job_id}")).data
    assert (view["state"], view["total"], view["done"], view["started_by"]) == ("running", 1, 0, "token-ops")
    assert view["prefix"] == "database/creds/"
    while await world.leases.worker.work():
        pass
    listed = (await ask(LIST, "leases/jobs")).data
    assert listed["keys"] == [job_id]
    assert listed["key_info"][job_id]["state"] == "finished"
    assert listed["key_info"][job_id]["done"] == len(accounts.revoked) == 1


async def test_force_waits_and_forgets(world, token, ask, accounts):
    await world.grant(token)
    accounts.trouble = ValueError("the password is hunter2")
    assert (await ask(UPDATE, "leases/revoke-force/database")).status is None
    assert await world.storage.count_records("lease") == 0


@pytest.mark.parametrize("prefix", ["/", "//"])
@pytest.mark.parametrize("verb", ["revoke-prefix", "revoke-force"])
async def test_an_empty_prefix_is_refused(world, token, ask, accounts, verb, prefix):
    await world.grant(token)
    with pytest.raises(InvalidRequestError, match="a prefix of lease ids must be given"):
        await ask(UPDATE, f"leases/{verb}/{prefix}")
    assert accounts.revoked == []


async def test_force_without_waiting_is_a_job(world, token, ask, accounts):
    """Mimir's own: the command shows a bar instead of waiting for one long answer."""
    await world.grant(token)
    response = await ask(UPDATE, "leases/revoke-force/database", {"sync": False})
    assert (await ask(READ, f"leases/jobs/{response.data['job_id']}")).data["force"] is True
    assert accounts.revoked == []


async def test_another_namespace_s_job_is_not_found(world, ask):
    response = await ask(UPDATE, "leases/revoke-prefix/database", {"sync": False}, within=TEAM)
    with pytest.raises(NotFoundError):
        await ask(READ, f"leases/jobs/{response.data['job_id']}", within=OTHER)
    with pytest.raises(NotFoundError):
        await ask(LIST, "leases/jobs", within=OTHER)


async def test_tidy_is_a_job(world, ask):
    response = await ask(UPDATE, "leases/tidy")
    assert response.status == 202
    assert (await ask(READ, f"leases/jobs/{response.data['job_id']}")).data["kind"] == "tidy"


async def make_irrevocable(world, token, accounts, count):
    for _ in range(count):
        await world.grant(token)
    accounts.trouble = InvalidRequestError("no such role")
    world.clock.advance(100_000)
    for _ in range(6):
        await world.leases.expire_due()
        world.clock.advance(1000)


async def test_counts_and_lists_of_the_irrevocable(world, token, ask, accounts):
    await make_irrevocable(world, token, accounts, 3)
    assert (await ask(READ, "leases/count", {"type": "irrevocable"})).data == {
        "lease_count": 3,
        "counts": {"acc_database": 3},
    }
    assert (await ask(READ, "leases/count", {"type": "all"})).data["lease_count"] == 3
    response = await ask(READ, "leases", {"type": "irrevocable"})
    assert response.data["lease_count"] == len(response.data["leases"]) == 3
    assert response.data["leases"][0]["mount_id"] == "acc_database"
    assert response.data["leases"][0]["error"] == "no such role"
    assert response.warnings is None
    limited = await ask(READ, "leases", {"type": "irrevocable", "limit": "2"})
    assert limited.data["lease_count"] == 2
    assert limited.warnings
    assert (await ask(READ, "leases", {"type": "irrevocable", "limit": "none"})).data["lease_count"] == 3


async def test_the_metrics_say_what_waits_for_an_operator_and_how_far_revocation_is_behind(world, token, accounts):
    await world.grant(token, ttl=60)
    assert (await count_irrevocable(world.storage), await overdue(world.storage, world.clock)) == (0, 0)
    world.clock.advance(90)
    assert await overdue(world.storage, world.clock) == 30
    await make_irrevocable(world, token, accounts, 2)
    assert (await count_irrevocable(world.storage), await overdue(world.storage, world.clock)) == (3, 0)


@pytest.mark.parametrize("limit", ["0", 0, -1, "-1", "many", "1.5", 2**40])
async def test_limits_that_are_none(ask, limit):
    with pytest.raises(InvalidRequestError, match="limit must be"):
        await ask(READ, "leases", {"type": "irrevocable", "limit": limit})


@pytest.mark.parametrize("path", ["leases", "leases/count"])
@pytest.mark.parametrize("data", [{}, {"type": "none"}])
async def test_a_type_must_be_named(ask, path, data):
    with pytest.raises(InvalidRequestError, match="type must be irrevocable"):
        await ask(READ, path, data)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({}, "name either entity_id, or target and mount"),
        ({"entity_id": "e", "target": "t", "mount": "database/"}, "name either entity_id, or target and mount"),
        ({"target": "orders-db"}, "target goes with the mount"),
        ({"mount": "database/"}, "name either entity_id"),
        ({"entity_id": "e", "mount": "database/"}, "target goes with the mount"),
        ({"target": "orders-db", "mount": "nowhere/"}, "there is no mount at that path"),
        ({"target": 7, "mount": "database/"}, "target"),
    ],
    ids=str,
)
async def test_whose_leases_must_be_said(ask, body, sentence):
    with pytest.raises(InvalidRequestError, match=sentence):
        await ask(UPDATE, "leases/revoke-by", body)


async def test_a_job_for_a_target_shows_how_far_it_is(ask, world, token):
    for name in ("orders-db", "users-db"):
        await world.grant(token, target=name)
    started = await ask(UPDATE, "leases/revoke-by", {"target": "orders-db", "mount": "database", "sync": False})
    assert started.status == 202
    shown = (await ask(READ, f"leases/jobs/{started.data['job_id']}")).data
    assert (shown["kind"], shown["target"], shown["total"], shown["scanned"]) == ("revoke-by", "orders-db", 2, 0)
    assert (await ask(UPDATE, "leases/revoke-by", {"entity_id": "nobody"})).status is None


def test_revoking_by_somebody_else_s_name_needs_sudo(ask):
    assert ask.table.find("leases/revoke-by")[0].sudo
