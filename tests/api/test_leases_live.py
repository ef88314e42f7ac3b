"""Leases of a third party's engine on a live server: two workers, a housekeeper, and SIGKILL."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.appliance import ROOT, Appliance

ENGINE = ROOT / "tests" / "support" / "leasing_distribution"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """With the engine's distribution installed, and mounted at robots/."""
    made = leasing_appliance(tmp_path_factory.mktemp("leases") / "data").start()
    mount(made)
    yield made
    assert made.stop() == 0


def leasing_appliance(data_dir: Path) -> Appliance:
    return Appliance(data_dir, env={"PYTHONPATH": f"{ROOT}{os.pathsep}{ENGINE}"})


def mount(server: Appliance) -> None:
    assert server.request("POST", "sys/mounts/robots", {"type": "accounts"}).status == 204
    assert server.request("POST", "robots/roles/app", {"ttl": "1h", "max_ttl": "2h"}).status == 204


@pytest.fixture(autouse=True)
def no_trouble(server: Appliance) -> Iterator[None]:
    yield
    server.request("POST", "robots/trouble", {})
    server.request("PUT", "sys/leases/revoke-force/robots", {})


def granted(server: Appliance, *, role: str = "app", token: str = "") -> str:
    reply = server.request("GET", f"robots/creds/{role}", token=token)
    assert reply.status == 200, reply.body
    return str(reply.json["lease_id"])


def accounts(server: Appliance) -> list[str]:
    reply = server.request("LIST", "robots/accounts")
    return list(reply.json["data"]["keys"]) if reply.status == 200 else []


def wait_until(reached, limit: float = 30.0) -> None:
    deadline = time.monotonic() + limit
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def finished(server: Appliance, job_id: str) -> dict:
    def job() -> dict:
        return dict(server.request("GET", f"sys/leases/jobs/{job_id}").json["data"])

    wait_until(lambda: job()["state"] == "finished", limit=60)
    return job()


def test_hvac_sees_a_lease_s_life(server):
    client = server.client()
    lease_id = granted(server)
    assert lease_id.startswith("robots/creds/app/")
    assert client.sys.read_lease(lease_id)["data"]["ttl"] <= 3600
    assert lease_id.rpartition("/")[2] in client.sys.list_leases("robots/creds/app")["data"]["keys"]
    renewed = client.sys.renew_lease(lease_id, increment=5400)
    assert (renewed["lease_id"], renewed["lease_duration"], renewed["renewable"]) == (lease_id, 5400, True)
    client.sys.revoke_lease(lease_id)
    assert accounts(server) == []
    assert server.request("PUT", "sys/leases/renew", {"lease_id": lease_id}).status == 400
    assert server.request("PUT", "sys/leases/lookup", {"lease_id": lease_id}).errors == ["invalid lease"]


def test_the_housekeeper_revokes_what_is_due(server):
    server.request("POST", "robots/roles/short", {"ttl": "1s"})
    granted(server, role="short")
    wait_until(lambda: accounts(server) == [])


def test_leases_go_with_their_token(server):
    made = server.request("POST", "auth/token/create", {"policies": ["root"], "ttl": "1h"}).json["auth"]
    lease_id = granted(server, token=made["client_token"])
    server.request("PUT", "auth/token/revoke", {"token": made["client_token"]})
    assert server.request("PUT", "sys/leases/renew", {"lease_id": lease_id}).errors == ["lease not found"]
    wait_until(lambda: accounts(server) == [])


def test_every_worker_refuses_a_prefix_at_once(server):
    """New connections land on either worker."""
    server.request("POST", "robots/trouble", {"slow": 0.05})
    leases = [granted(server) for _ in range(40)]
    job = server.request("PUT", "sys/leases/revoke-prefix/robots", {"sync": False}).json["data"]["job_id"]
    for lease_id in leases:
        assert server.request("PUT", "sys/leases/renew", {"lease_id": lease_id}).errors == ["lease not found"]
        assert server.request("PUT", "sys/leases/lookup", {"lease_id": lease_id}).errors == ["invalid lease"]
    assert finished(server, job)["done"] == 40


def test_what_fails_is_told_and_can_be_forced(server):
    granted(server)
    server.request("POST", "robots/trouble", {"revoke": "the account is locked"})
    reply = server.request("PUT", "sys/leases/revoke-prefix/robots", {})
    assert reply.status == 400
    assert "failed to revoke 1 of 1 leases" in reply.errors[0]
    assert server.request("PUT", "sys/leases/revoke-force/robots", {}).status == 204
    assert server.request("GET", "sys/leases/count?type=all").json["data"]["lease_count"] == 0
    assert accounts(server) != []  # what force means


@pytest.mark.parametrize("path", ["sys/leases/lookup/robots/?list=true", "sys/leases/lookup/?list=true"])
def test_lists_need_sudo(server, path):
    """The policy `default` is left out: its exact rule for sys/leases/lookup comes before any pattern."""
    granted(server)
    for capabilities, status in (('"list"', 403), ('"list", "sudo"', 200)):
        policy = f'path "sys/leases/lookup*" {{ capabilities = [{capabilities}] }}'
        assert server.request("PUT", "sys/policies/acl/lister", {"policy": policy}).status == 204
        wanted = {"policies": ["lister"], "no_default_policy": True}
        made = server.request("POST", "auth/token/create", wanted).json["auth"]["client_token"]
        assert server.request("GET", path, token=made).status == status


@pytest.mark.heavy  # a job is taken over when its claim has ended; tests/leases has the same on real stores
def test_a_killed_housekeeper_s_job_is_resumed(tmp_path):
    server = leasing_appliance(tmp_path / "data").start()
    try:
        mount(server)
        server.request("POST", "robots/trouble", {"slow": 0.02})
        for _ in range(300):
            granted(server)
        job_id = server.request("PUT", "sys/leases/revoke-prefix/robots", {"sync": False}).json["data"]["job_id"]
        wait_until(lambda: server.request("GET", f"sys/leases/jobs/{job_id}").json["data"]["done"] > 0)
        for pid in housekeepers(server):
            os.kill(pid, signal.SIGKILL)
        job = finished(server, job_id)
        assert (job["done"], job["failed"]) == (300, 0)
        assert accounts(server) == []
    finally:
        server.kill()


def housekeepers(server: Appliance) -> list[int]:
    """The children that are no workers, by their command line."""
    assert server.process is not None
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    return [int(pid) for pid in children if b"housekeeper" in Path(f"/proc/{pid}/cmdline").read_bytes()]
