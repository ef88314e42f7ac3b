"""`mimir dynamic`: what it sends, what it shows, and by which exit code it tells. The appliance is a recorder."""

import json

import pytest

from client.errors import ExitCode

ROWS = [
    (("creds", "orders-api"), "GET", "database/creds/orders-api", None),
    (("creds", "orders-api", "-mount=team/db"), "GET", "team/db/creds/orders-api", None),
    (("creds", "team/creds/orders-api"), "GET", "team/creds/orders-api", None),
    (("static-creds", "batch"), "GET", "database/static-creds/batch", None),
    (("rotate-root", "orders-db"), "POST", "database/rotate-root/orders-db", None),
    (("rotate-role", "batch", "--mount", "db/"), "POST", "db/rotate-role/batch", None),
    (("reset", "orders-db"), "POST", "database/reset/orders-db", None),
    (("reconcile", "a"), "POST", "database/reconcile/a", {"apply": False, "include_foreign": False}),
    (
        ("reconcile", "a", "--apply", "--include-foreign"),
        "POST",
        "database/reconcile/a",
        {"apply": True, "include_foreign": True},
    ),
    (("static-role", "read", "batch"), "GET", "database/static-roles/batch", None),
    (("static-role", "list"), "GET", "database/static-roles?list=true", None),
    (("static-role", "delete", "batch"), "DELETE", "database/static-roles/batch", None),
    (("static-role", "write", "batch", "--username", "b"), "POST", "database/static-roles/batch", {"username": "b"}),
]


@pytest.mark.parametrize(("words", "method", "path", "body"), ROWS, ids=[" ".join(row[0]) for row in ROWS])
def test_what_each_command_sends(mimir, appliance, words, method, path, body):
    appliance.gives(keys=[], username="u", password="p")
    assert mimir("dynamic", *words).code == ExitCode.OK
    sent = appliance.only
    assert (sent.method, sent.target) == (method, f"/v1/{path}")
    assert (sent.json if sent.body else None) == body


REFUSED = [
    (("creds",), "Missing argument"),
    (("creds", ""), "is empty"),
    (("creds", "orders-api", "--mount", "/"), "--mount is empty"),
    (("creds", "database/creds/x", "--mount", "db"), "give it, or --mount and a name"),
    (("creds", "database/config/x"), "is a connection"),
    (("static-role", "write", "batch"), "say what to write"),
    (
        ("static-role", "write", "b", "--rotation-period", "1h", "--rotation-schedule", "0 3 * * *"),
        "exclude each other",
    ),
    (("static-role", "write", "b", "password=hunter2"), "seen by every user"),
    (("verify", "r", "--wrap-ttl", "5m"), "does not go with verify"),
    (("reconcile", "c", "--wrap-ttl", "5m"), "does not go with reconcile"),
    (("rotate-root",), "Missing argument"),
    (("rotate-root", "a", "b"), "more than this command takes"),
]


@pytest.mark.parametrize(("words", "said"), REFUSED, ids=[" ".join(words) for words, _ in REFUSED])
def test_wrong_usage_is_explained_and_sends_nothing(mimir, appliance, words, said):
    done = mimir("dynamic", *words)
    assert done.code == ExitCode.USAGE
    assert said in done.err
    assert "hunter2" not in done.err
    assert appliance.requests == []


@pytest.mark.parametrize("command", ["verify", "rotate-root", "rotate-role", "reset", "reconcile"])
def test_a_name_with_a_slash_is_no_name(mimir, appliance, command):
    done = mimir("dynamic", command, "a/b")
    assert (done.code, appliance.requests) == (ExitCode.FAILED, [])
    assert "without a slash" in done.err


def test_credentials_come_with_their_lease(mimir, appliance):
    data = {"username": "v-orders-api-x", "password": "s3cret"}
    appliance.answers(200, {"lease_id": "database/creds/a/b", "lease_duration": 3600, "renewable": True, "data": data})
    rows = dict(line.split() for line in mimir("dynamic", "creds", "a").out.splitlines()[2:])
    assert rows == {"lease_id": "database/creds/a/b", "lease_duration": "1h", "lease_renewable": "true"} | data
    assert mimir("dynamic", "creds", "a", "--field", "password").out == "s3cret"


def test_static_credentials_say_how_long_they_stay(mimir, appliance):
    appliance.gives(username="batch", password="p", ttl=5400, rotation_period=86400, last_vault_rotation="2026-11-23T")
    rows = dict(line.split() for line in mimir("dynamic", "static-creds", "a").out.splitlines()[2:])
    assert (rows["ttl"], rows["rotation_period"], rows["last_vault_rotation"]) == ("1h30m", "24h", "2026-11-23T")


def test_every_option_of_a_static_role_has_its_member(mimir, appliance):
    words = ["--db-name", "orders-db", "--username", "a", "--alternate-username", "b", "--kv-path", "secret/apps"]
    words += ["--rotation-schedule", "0 3 * * *", "--rotation-window", "1h", "--rotation-statements", "ALTER"]
    mimir("dynamic", "static-role", "write", "r", *words, "--password-policy", "strong", "more=1")
    assert appliance.only.json == {
        "db_name": "orders-db",
        "username": "a",
        "alternate_username": "b",
        "kv_path": "secret/apps",
        "rotation_schedule": "0 3 * * *",
        "rotation_window": "1h",
        "rotation_statements": ["ALTER"],
        "credential_config": {"password_policy": "strong"},
        "more": "1",
    }


def verification(**changes):
    steps = [
        {"step": "create", "ok": True, "detail": "account made", "duration_ms": 12},
        {"step": "statements", "ok": True, "skipped": True, "detail": "the role has no verify_statements"},
        {"step": "login", "ok": True, "detail": "", "duration_ms": 7},
    ]
    data = {"role": "orders-api", "connection": "orders-db", "username": "v-x", "steps": steps, "ok": True}
    return data | {"grants": ["SELECT ON orders"]} | changes


def test_a_verification_shows_its_steps_and_what_was_granted(mimir, appliance):
    appliance.gives(**verification())
    done = mimir("dynamic", "verify", "orders-api")
    assert done.code == ExitCode.OK
    assert appliance.only.method == "POST"
    assert done.out == (
        "✓ The role orders-api works on orders-db, tried with the account v-x.\n\n"
        "Step          Result       Took     Detail\n"
        "----          ------       ----     ------\n"
        "create        ✓            12 ms    account made\n"
        "statements    - skipped    -        the role has no verify_statements\n"
        "login         ✓            7 ms     -\n\n"
        "What the account may do:\n  SELECT ON orders\n"
    )


@pytest.mark.parametrize("form", [(), ("-o", "json")], ids=["table", "json"])
def test_a_verification_that_fails_is_told_by_the_exit_code(mimir, appliance, form):
    failed = {"step": "login", "ok": False, "detail": "refused\x1b[2J", "duration_ms": 3}
    appliance.gives(**verification(ok=False, steps=[failed], grants=[]))
    done = mimir("dynamic", "verify", "orders-api", *form)
    assert done.code == ExitCode.FAILED
    if form:
        assert json.loads(done.out)["data"]["ok"] is False
    else:
        assert done.out.startswith("✗ The role orders-api does not work")
        assert "login    ✗ failed    3 ms    refused\\x1b[2J" in done.out


def test_an_answer_without_a_verdict_is_no_success(mimir, appliance):
    appliance.gives()
    assert mimir("dynamic", "verify", "orders-api").code == ExitCode.FAILED


CLEAN = {"connection": "a", "checked_accounts": 3, "checked_leases": 3, "orphan_accounts": [], "foreign_accounts": []}
CLEAN |= {"orphan_leases": [], "removed_accounts": 0, "revoked_leases": 0, "failures": [], "at": 1_790_000_000}
ORPHANS = CLEAN | {"orphan_accounts": ["v-a-1", "v-a-2"], "orphan_leases": ["database/creds/a/x"]}
FAILED = {"what": "v-a-2", "reason": "42501 insufficient_privilege"}

VERDICTS = [
    ("clean", (), CLEAN, 0, "Success! Accounts and leases agree."),
    ("orphans-left", (), ORPHANS, 1, "3 to mend: `mimir dynamic reconcile --apply` removes orphans."),
    ("orphans-removed", ("--apply",), ORPHANS | {"removed_accounts": 2, "revoked_leases": 1}, 0, "Nothing is left"),
    ("one-not-removed", ("--apply",), ORPHANS | {"failures": [FAILED]}, 1, "1 could not be mended"),
    ("foreign-do-not-count", (), CLEAN | {"foreign_accounts": ["v-b-1"]}, 0, "foreign account"),
    ("foreign-asked-for", ("--include-foreign",), CLEAN | {"foreign_accounts": ["v-b-1"]}, 1, "1 to mend"),
]


@pytest.mark.parametrize(
    ("words", "report", "code", "said"), [row[1:] for row in VERDICTS], ids=[row[0] for row in VERDICTS]
)
def test_the_exit_code_says_whether_something_is_left(mimir, appliance, words, report, code, said):
    appliance.gives(**report)
    done = mimir("dynamic", "reconcile", "a", *words)
    assert done.code == code
    assert said in done.out


def test_a_reconciliation_lists_what_it_found(mimir, appliance):
    appliance.gives(**ORPHANS | {"failures": [FAILED], "removed_accounts": 1, "revoked_leases": 1})
    lines = mimir("dynamic", "reconcile", "a", "--apply").out.splitlines()
    assert lines[2].split() == ["a", "3", "3", "2", "1", "0", "1", "1"]
    assert "a             orphan account    v-a-1                 -" in lines
    assert "a             orphan lease      database/creds/a/x    -" in lines
    assert lines[-3].endswith("failed            v-a-2                 42501 insufficient_privilege")


def of_all(appliance, **answers):
    appliance.on("GET /v1/database/config?list=true", 200, {"data": {"keys": list(answers)}})
    for name, (status, body) in answers.items():
        appliance.on(f"POST /v1/database/reconcile/{name}", status, body)


def test_without_a_connection_all_are_reconciled(mimir, appliance):
    of_all(appliance, a=(200, {"data": CLEAN}), b=(200, {"data": ORPHANS | {"connection": "b"}}))
    done = mimir("dynamic", "reconcile", "-o", "json")
    assert done.code == ExitCode.FAILED
    found = json.loads(done.out)
    assert [one["connection"] for one in found["connections"]] == ["a", "b"]
    assert found["left"] == 3


def test_one_database_that_is_away_does_not_hold_up_the_others(mimir, appliance):
    of_all(appliance, a=(503, {"errors": ["a: no answer"]}), b=(200, {"data": CLEAN | {"connection": "b"}}))
    done = mimir("dynamic", "reconcile")
    assert done.code == ExitCode.FAILED
    assert done.out.endswith("\n1 of the connections could not be compared.\n")
    assert "a             not compared    -       database/reconcile/a: a: no answer" in done.out
    assert appliance.requests[-1].target.endswith("/b")


def test_one_database_that_was_asked_for_and_is_away_is_an_error(mimir, appliance):
    appliance.answers(503, {"errors": ["a: no answer"]})
    done = mimir("dynamic", "reconcile", "a")
    assert (done.code, done.out) == (ExitCode.UNAVAILABLE, "")


def test_a_mount_without_connections_is_told(mimir, appliance):
    appliance.answers(404, {"errors": []})
    assert mimir("dynamic", "reconcile").code == ExitCode.FAILED


ASKING = [("rotate-root", "orders-db"), ("reconcile", "a", "--apply", "--include-foreign")]


@pytest.mark.parametrize("words", ASKING, ids=" ".join)
def test_a_no_at_the_terminal_changes_nothing(mimir, appliance, words):
    done = mimir("dynamic", *words, stdin=b"n\n", terminal=True)
    assert (done.code, done.out, appliance.requests) == (ExitCode.FAILED, "", [])
    assert "nothing was changed" in done.err


@pytest.mark.parametrize("words", ASKING, ids=" ".join)
@pytest.mark.parametrize("answer", ["y", "--yes"])
def test_a_yes_goes_on(mimir, appliance, words, answer):
    appliance.gives(**CLEAN)
    flag = ("--yes",) if answer == "--yes" else ()
    assert mimir("dynamic", *words, *flag, stdin=b"y\n", terminal=True).code == ExitCode.OK
    assert appliance.only.method == "POST"


def test_connections_are_a_table(mimir, appliance):
    appliance.on("GET /v1/database/config?list=true", 200, {"data": {"keys": ["a", "b", "gone"]}})
    about = {"plugin_name": "postgresql", "allowed_roles": ["x", "y"], "root_rotation_ttl": 86400}
    appliance.on("GET /v1/database/config/a", 200, {"data": about | {"last_root_rotation": 1_790_000_000}})
    about |= {"root_rotation_ttl": 0, "root_rotation_error": "no answer", "allowed_roles": []}
    appliance.on("GET /v1/database/config/b", 200, {"data": about})
    appliance.on("GET /v1/database/config/gone", 404, {"errors": []})
    assert mimir("dynamic", "connections").out.splitlines()[2:] == [
        "a       postgresql    x, y             24h              2026-09-21T14:13:20Z    -",
        "b       postgresql    -                -                -                       no answer",
    ]


def test_roles_of_both_kinds_are_one_table(mimir, appliance):
    appliance.on("GET /v1/database/roles?list=true", 200, {"data": {"keys": ["api"]}})
    appliance.on("GET /v1/database/static-roles?list=true", 200, {"data": {"keys": ["batch", "cron"]}})
    appliance.on("GET /v1/database/roles/api", 200, {"data": {"db_name": "a", "default_ttl": 3600, "max_ttl": 14400}})
    appliance.on("GET /v1/database/static-roles/batch", 200, {"data": {"db_name": "a", "rotation_period": 86400}})
    appliance.on(
        "GET /v1/database/static-roles/cron", 200, {"data": {"db_name": "b", "rotation_schedule": "0 3 * * *"}}
    )
    assert mimir("dynamic", "roles").out.splitlines()[2:] == [
        "api      dynamic    a             1h, at most 4h",
        "batch    static     a             changed every 24h",
        "cron     static     b             changed at 0 3 * * *",
    ]
    shown = json.loads(mimir("dynamic", "roles", "-o", "json").out)["roles"]
    assert [(one["name"], one["kind"]) for one in shown] == [
        ("api", "dynamic"),
        ("batch", "static"),
        ("cron", "static"),
    ]


def test_roles_of_a_mount_that_is_not_there_are_an_error(mimir, appliance):
    appliance.answers(404, {"errors": ['no handler for route "database/roles"']})
    done = mimir("dynamic", "roles")
    assert done.code == ExitCode.FAILED
    assert "mimir secrets engine enable TYPE" in done.err
