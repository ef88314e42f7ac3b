"""`mimir lease …`: what it sends, what it prints, and how it follows a long revocation."""

import json
import sys

import pytest

from client.api import Client
from client.commands import lease
from client.errors import ExitCode

ENTITY = "8609694a-cdbc-4b9b-8a3e-5a7d0c1e2f34"

ROWS = [
    (("list",), "GET", "/v1/sys/leases/lookup?list=true", None),
    (("list", "database/creds/"), "GET", "/v1/sys/leases/lookup/database/creds?list=true", None),
    (("list", "--irrevocable"), "GET", "/v1/sys/leases?type=irrevocable&limit=none", None),
    (("lookup", "a/b/c"), "PUT", "/v1/sys/leases/lookup", {"lease_id": "a/b/c"}),
    (("renew", "a/b/c"), "PUT", "/v1/sys/leases/renew", {"lease_id": "a/b/c"}),
    (("renew", "a/b/c", "--increment", "2h"), "PUT", "/v1/sys/leases/renew", {"lease_id": "a/b/c", "increment": "2h"}),
    (("revoke", "a/b/c"), "PUT", "/v1/sys/leases/revoke", {"lease_id": "a/b/c", "sync": False}),
    (("revoke", "a/b/c", "--sync"), "PUT", "/v1/sys/leases/revoke", {"lease_id": "a/b/c", "sync": True}),
    (("revoke", "--prefix", "a/b/"), "PUT", "/v1/sys/leases/revoke-prefix/a/b", {"sync": False}),
    (("revoke", "--prefix", "--force", "a"), "PUT", "/v1/sys/leases/revoke-force/a", {"sync": False}),
    (("revoke", "--entity", ENTITY), "PUT", "/v1/sys/leases/revoke-by", {"entity_id": ENTITY, "sync": False}),
    (
        ("revoke", "--target", "database/orders-db"),
        "PUT",
        "/v1/sys/leases/revoke-by",
        {"target": "orders-db", "mount": "database/", "sync": False},
    ),
    (
        ("revoke", "--target", "team/db/config/orders-db/"),
        "PUT",
        "/v1/sys/leases/revoke-by",
        {"target": "orders-db", "mount": "team/db/", "sync": False},
    ),
    (("count",), "GET", "/v1/sys/leases/count?type=all", None),
    (
        ("count", "--irrevocable", "--children"),
        "GET",
        "/v1/sys/leases/count?type=irrevocable&include_child_namespaces=true",
        None,
    ),
    (("tidy",), "PUT", "/v1/sys/leases/tidy", {}),
    (("jobs",), "GET", "/v1/sys/leases/jobs?list=true", None),
    (("jobs", "j-1"), "GET", "/v1/sys/leases/jobs/j-1", None),
]


@pytest.mark.parametrize(("arguments", "method", "target", "body"), ROWS, ids=[" ".join(row[0]) for row in ROWS])
def test_what_each_command_sends(mimir, appliance, arguments, method, target, body):
    appliance.gives(keys=[])
    assert mimir("lease", *arguments).code == ExitCode.OK
    sent = appliance.only
    assert (sent.method, sent.target) == (method, target)
    assert (sent.json if sent.body else None) == body


@pytest.mark.parametrize(
    "arguments",
    [
        ("lookup",),
        ("renew",),
        ("revoke",),
        ("revoke", ""),
        ("revoke", "a", "--force"),
        ("revoke", "--prefix"),
        ("revoke", "a", "--entity", "e"),
        ("revoke", "--entity", ""),
        ("revoke", "--entity", "e", "--prefix"),
        ("revoke", "--entity", "e", "--target", "database/a"),
        ("revoke", "--target", "orders-db"),
        ("revoke", "--target", "database/config"),
        ("revoke", "--target", "database/a", "--force"),
        ("list", "a", "--irrevocable"),
        ("jobs", "a", "b"),
    ],
    ids=" ".join,
)
def test_wrong_usage_sends_nothing(mimir, appliance, arguments):
    assert mimir("lease", *arguments).code == ExitCode.USAGE
    assert appliance.requests == []


def test_an_entity_is_named_by_name_also_when_answers_are_wrapped(mimir, appliance):
    appliance.on("GET /v1/identity/entity/name/orders-api", 200, {"data": {"id": ENTITY}})
    assert mimir("lease", "revoke", "--entity", "orders-api", "--wrap-ttl", "5m").code == ExitCode.OK
    asked, revoked = appliance.requests
    assert "X-Vault-Wrap-TTL" not in asked.headers
    assert revoked.json == {"entity_id": ENTITY, "sync": False}


@pytest.mark.parametrize(("status", "body"), [(404, {"errors": []}), (200, {"data": {}})], ids=["absent", "nameless"])
def test_without_the_id_of_the_entity_nothing_is_revoked(mimir, appliance, status, body):
    appliance.answers(status, body)
    assert mimir("lease", "revoke", "--entity", "orders-api").code != ExitCode.OK
    assert appliance.only.method == "GET"


def test_durations_are_written_for_people(mimir, appliance):
    appliance.gives(id="a/b/c", ttl=3600)
    assert "ttl    1h" in mimir("lease", "lookup", "a/b/c").out


def test_irrevocable_leases_come_with_their_reason(mimir, appliance):
    appliance.gives(lease_count=1, leases=[{"lease_id": "a/b/c", "mount_id": "acc_1", "error": "no\x1b such role"}])
    lines = mimir("lease", "list", "--irrevocable").out.splitlines()
    assert lines[0].split() == ["Lease", "Mount", "Reason"]
    assert lines[2] == "a/b/c    acc_1    no\\x1b such role"


def test_counts_end_with_the_sum(mimir, appliance):
    appliance.gives(lease_count=3, counts={"b_2": 1, "a_1": 2})
    assert [line.split() for line in mimir("lease", "count").out.splitlines()[2:]] == [
        ["a_1", "2"],
        ["b_2", "1"],
        ["all", "3"],
    ]


def test_jobs_are_a_table(mimir, appliance):
    job = {"job_id": "j-1", "kind": "revoke-prefix", "prefix": "a/", "state": "running", "total": 9, "done": 4}
    appliance.gives(keys=["j-1"], key_info={"j-1": job})
    lines = mimir("lease", "jobs").out.splitlines()
    assert lines[2].split()[:6] == ["j-1", "revoke-prefix", "a/", "running", "9", "4"]


def test_without_sync_the_job_is_named(mimir, appliance):
    appliance.answers(202, {"data": {"job_id": "j-1"}})
    outcome = mimir("lease", "revoke", "--prefix", "a")
    assert outcome.out == "Success! All are refused from now on. See how far it is: mimir lease jobs j-1\n"
    assert len(appliance.requests) == 1


@pytest.fixture
def job(appliance, monkeypatch):
    """One that runs when it is first looked at, and is finished after the first pause."""
    running = {"job_id": "j-1", "state": "running", "total": 100, "done": 40, "failed": 0}
    appliance.gives(**running)

    def finish(**end) -> None:
        monkeypatch.setattr(lease.time, "sleep", lambda _: appliance.gives(**running | {"state": "finished"} | end))

    finish(done=100)
    return finish


def test_with_sync_the_job_is_followed_to_its_end(mimir, appliance, job):
    outcome = mimir("lease", "revoke", "--prefix", "--sync", "a")
    assert outcome.code == ExitCode.OK
    assert outcome.out == "Success! 100 leases are revoked, 0 could not be.\n"
    assert outcome.err == ""
    assert [request.target for request in appliance.requests] == [
        "/v1/sys/leases/revoke-prefix/a",
        "/v1/sys/leases/jobs/j-1",
        "/v1/sys/leases/jobs/j-1",
        "/v1/sys/leases/jobs/j-1",
    ]


@pytest.mark.parametrize("words", [("--entity", ENTITY), ("--target", "database/orders-db")], ids=["entity", "target"])
def test_the_job_of_an_entity_or_a_target_is_followed_too(mimir, appliance, job, words):
    assert mimir("lease", "revoke", *words, "--sync").out == "Success! 100 leases are revoked, 0 could not be.\n"
    assert appliance.requests[0].target == "/v1/sys/leases/revoke-by"


def test_a_bar_is_shown_on_a_terminal_and_on_standard_error(mimir, job, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    outcome = mimir("lease", "revoke", "--prefix", "--sync", "a", "-o", "json")
    assert json.loads(outcome.out)["data"]["state"] == "finished"
    assert "Revoking" in outcome.err


def test_leases_that_could_not_be_revoked_fail_the_command(mimir, job):
    job(done=90, failed=10)
    outcome = mimir("lease", "revoke", "--prefix", "--sync", "a")
    assert outcome.code == ExitCode.FAILED
    assert "10 leases could not be revoked; this is tried again" in outcome.err


def test_with_force_they_do_not(mimir, job):
    job(done=90, failed=10)
    assert mimir("lease", "revoke", "--prefix", "--force", "--sync", "a").code == ExitCode.OK


def test_progress_that_may_not_be_read_does_not_hide_what_was_done(mimir, appliance, monkeypatch):
    appliance.gives(job_id="j-1")
    write = Client.write

    def refused_after(self, *arguments):
        answer = write(self, *arguments)
        appliance.answers(403, {"errors": ["permission denied"]})
        return answer

    monkeypatch.setattr(Client, "write", refused_after)
    outcome = mimir("lease", "revoke", "--prefix", "--sync", "a")
    assert outcome.code == ExitCode.FAILED
    assert "the leases are refused from now on, but how far it is cannot be read" in outcome.err
