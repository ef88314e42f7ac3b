"""`mimir policy …`: the guide's words, exit codes, and files that are changed only when they should be."""

import json

import pytest

ALLOWED = {
    "allowed": True,
    "decision": "allowed",
    "reason": "it grants read",
    "rule": "database/creds/orders-api",
    "identity": {"kind": "role", "name": "orders-api", "policies": ["default", "orders-api"]},
    "condition": "",
    "rules": [{"policy": "orders-api", "version": 3, "line": 3, "path": "database/creds/orders-api"}],
}
DENIED = ALLOWED | {"allowed": False, "decision": "condition", "condition": "the time is \x1b[31mwrong"}
TEST = ("policy", "test", "--identity", "orders-api", "--path", "database/creds/orders-api", "--action", "read")


# --- test ---------------------------------------------------------------------------------------------------------


def test_the_guides_words_and_exit_codes(mimir, appliance):
    appliance.gives(**ALLOWED)
    assert (mimir(*TEST).out, mimir(*TEST).code) == ("✓ Allowed\n", 0)
    assert (appliance.requests[0].method, appliance.requests[0].target) == ("POST", "/v1/sys/policies/test")
    wanted = {"identity": "orders-api", "path": "database/creds/orders-api", "action": "read"}
    assert appliance.requests[0].json == wanted
    appliance.gives(**DENIED)
    assert (mimir(*TEST).out, mimir(*TEST).code) == ("✗ Denied\n", 1)


def test_what_a_request_would_bring_is_sent(mimir, appliance):
    appliance.gives(**ALLOWED)
    options = ("--at", "2026-11-28T03:00:00Z", "--from", "10.0.0.1", "--reason", "ticket 7", "--data", "ttl=1h")
    mimir(*TEST, *options)
    sent = appliance.only.json
    assert (sent["at"], sent["from"], sent["reason"]) == ("2026-11-28T03:00:00Z", "10.0.0.1", "ticket 7")
    assert sent["data"] == {"ttl": "1h"}


def test_policies_instead_of_an_identity(mimir, appliance):
    appliance.gives(**ALLOWED)
    mimir("policy", "test", "--policy", "a", "--policy", "b", "--path", "x", "--action", "read")
    assert appliance.only.json == {"policies": ["a", "b"], "path": "x", "action": "read"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("--path", "x", "--action", "read"),
        ("--identity", "a", "--policy", "b", "--path", "x", "--action", "read"),
        ("--identity", "a", "--action", "read"),
        ("--identity", "a", "--path", "x"),
    ],
)
def test_half_a_question_is_not_sent(mimir, appliance, arguments):
    assert mimir("policy", "test", *arguments).code == 2
    assert appliance.requests == []


def test_explain_shows_what_decided_and_no_control_character(mimir, appliance):
    appliance.gives(**DENIED)
    out = mimir(*TEST, "--explain").out
    assert out.startswith("✗ Denied\n\n")
    assert "identity    orders-api (role)\n" in out
    assert "decided by  policy orders-api, version 3, line 3\n" in out
    assert "\x1b" not in out


def test_json_has_the_same_exit_code(mimir, appliance):
    appliance.gives(**DENIED)
    outcome = mimir(*TEST, "-o", "json")
    assert (json.loads(outcome.out)["data"]["allowed"], outcome.code) == (False, 1)
    appliance.gives(**ALLOWED)
    assert mimir(*TEST, "-o", "json").code == 0


def test_a_refused_trial_is_no_denial(mimir, appliance):
    appliance.answers(403, {"errors": ["permission denied"]})
    outcome = mimir(*TEST)
    assert (outcome.out, outcome.code) == ("", 1)
    assert "permission denied" in outcome.err


# --- explain ------------------------------------------------------------------------------------------------------


def test_a_refusal_is_told(mimir, appliance):
    appliance.gives(
        request_id="r-1", at="2026-11-22T13:00:00Z", path="secret/data/x", operation="read", namespace="", policy="web",
        version=2, line=7, rule="secret/*", reason='policy "web" version 2: it is denied', policies=["default", "web"],
    )  # fmt: skip
    out = mimir("policy", "explain", "r-1").out
    assert appliance.only.target == "/v1/sys/policies/explain/r-1"
    assert "decided by    policy web, version 2, line 7\n" in out
    assert "policies      default, web\n" in out
    assert "namespace" not in out


# --- fmt ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def messy(tmp_path):
    path = tmp_path / "p.hcl"
    path.write_text("messy")
    path.chmod(0o640)
    return path


def test_a_file_is_changed_and_named(mimir, appliance, messy):
    appliance.gives(policy="tidy\n", changed=True)
    outcome = mimir("policy", "fmt", str(messy))
    assert (outcome.out, outcome.code) == (f"{messy}\n", 0)
    assert (messy.read_bytes(), messy.stat().st_mode & 0o777) == (b"tidy\n", 0o640)
    assert appliance.only.json == {"policy": "messy"}
    assert {path.name for path in messy.parent.iterdir()} == {"home", "p.hcl"}


def test_check_changes_nothing(mimir, appliance, messy):
    appliance.gives(policy="tidy\n", changed=True)
    outcome = mimir("policy", "fmt", "--check", str(messy))
    assert (outcome.out, outcome.code, messy.read_text()) == (f"{messy}\n", 1, "messy")
    messy.write_text("tidy\n")
    assert (mimir("policy", "fmt", "--check", str(messy)).out, mimir("policy", "fmt", "--check", str(messy)).code) == (
        "",
        0,
    )


def test_a_tidy_file_is_not_touched(mimir, appliance, messy):
    messy.write_text("tidy\n")
    before = messy.stat()
    appliance.gives(policy="tidy\n", changed=False)
    assert mimir("policy", "fmt", str(messy)).out == ""
    assert (messy.stat().st_ino, messy.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_link_stays_a_link(mimir, appliance, messy, tmp_path):
    (tmp_path / "link.hcl").symlink_to(messy)
    appliance.gives(policy="tidy\n", changed=True)
    mimir("policy", "fmt", str(tmp_path / "link.hcl"))
    assert (tmp_path / "link.hcl").is_symlink()
    assert messy.read_text() == "tidy\n"


def test_standard_input_goes_to_standard_output(mimir, appliance):
    appliance.gives(policy="tidy\n", changed=True)
    assert mimir("policy", "fmt", "-", stdin=b"messy").raw == b"tidy\n"
    assert mimir("policy", "fmt", "-", "other.hcl", stdin=b"messy").code == 2


def test_a_refused_text_leaves_the_file(mimir, appliance, messy):
    appliance.answers(400, {"errors": ["policy, line 1: this is not HCL"]})
    outcome = mimir("policy", "fmt", str(messy))
    assert (outcome.code, messy.read_text()) == (1, "messy")
    assert "line 1" in outcome.err


def test_an_answer_without_a_text_leaves_the_file(mimir, appliance, messy):
    appliance.gives()
    assert mimir("policy", "fmt", str(messy)).code == 1
    assert messy.read_text() == "messy"


# --- lint ---------------------------------------------------------------------------------------------------------


def finding(severity="warning", line=7, path="secret/x"):
    return {"line": line, "severity": severity, "rule": "shadowed", "path": path, "message": "this never decides"}


def test_findings_are_printed_as_compilers_do(mimir, appliance, messy):
    appliance.gives(findings=[finding(), finding("error", line=0, path="")])
    outcome = mimir("policy", "lint", str(messy))
    assert outcome.out.splitlines() == [
        f'{messy}:7: warning: path "secret/x": this never decides [shadowed]',
        f"{messy}: error: this never decides [shadowed]",
    ]
    assert outcome.code == 1
    assert appliance.only.json == {"policy": "messy"}


def test_hints_are_no_failure(mimir, appliance):
    appliance.gives(findings=[finding("hint")])
    assert mimir("policy", "lint", "stored").code == 0
    assert appliance.only.json == {"name": "stored"}
    appliance.gives(findings=[])
    assert mimir("policy", "lint", "stored").out == "Nothing found.\n"


def test_a_file_that_is_not_there_is_no_name(mimir, appliance):
    assert "no such file" in mimir("policy", "lint", "./absent.hcl").err
    assert appliance.requests == []


def test_findings_as_json(mimir, appliance):
    appliance.gives(findings=[finding()])
    outcome = mimir("policy", "lint", "-", "-o", "json", stdin=b"x")
    assert (json.loads(outcome.out)["data"]["findings"], outcome.code) == ([finding()], 1)


# --- history ------------------------------------------------------------------------------------------------------


def test_versions_are_a_table(mimir, appliance):
    author = {"display_name": "userpass-anna", "accessor": "a", "entity_id": ""}
    appliance.gives(
        keys=["2", "1"],
        versions=[
            {"version": 2, "event": "rolled back", "restored": 1, "written_at": "t2", "author": author},
            {"version": 1, "event": "written", "restored": None, "written_at": None, "author": {}},
        ],
    )
    out = mimir("policy", "versions", "p").out
    assert appliance.only.target == "/v1/sys/policies/acl/p/versions"
    assert out.splitlines()[2:] == [
        "2          rolled back to 1    t2      userpass-anna",
        "1          written             -       -",
    ]


def test_a_diff_is_printed_as_it_is(mimir, appliance):
    appliance.gives(diff="--- p version 1\n+++ p version 2\n-a\n+\tb\x1b\n")
    out = mimir("policy", "diff", "p", "--from", "1", "--to", "2").out
    assert out == "--- p version 1\n+++ p version 2\n-a\n+\tb\\x1b\n"
    assert appliance.only.target == "/v1/sys/policies/acl/p/diff?from=1&to=2"
    appliance.gives(diff="")
    assert mimir("policy", "diff", "p").out == "No difference.\n"


def test_rolling_back(mimir, appliance):
    appliance.gives(name="p", version=4, restored=2)
    assert "version 2 again, as version 4" in mimir("policy", "rollback", "p", "--to", "2", "--cas", "3").out
    assert (appliance.only.method, appliance.only.target) == ("POST", "/v1/sys/policies/acl/p/rollback")
    assert appliance.only.json == {"version": 2, "cas": 3}
    assert mimir("policy", "rollback", "p").code == 2
    assert mimir("policy", "rollback", "p", "--to", "0").code == 2


# --- read and write -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["no line break", "one\n", "two\n\n", "\r\n# ü\r\n", "\t\x1b[0m"])
def test_into_a_pipe_a_policy_is_its_bytes(mimir, appliance, text):
    appliance.gives(name="p", policy=text)
    assert mimir("policy", "read", "p").raw == text.encode()
    assert mimir("policy", "read", "p", "--version", "3").raw == text.encode()
    assert appliance.requests[1].target == "/v1/sys/policies/acl/p/versions/3"


def test_a_policy_with_a_term_and_a_condition(mimir, appliance):
    appliance.answers(204)
    mimir("policy", "write", "p", "-", "--ttl", "1h", "--cas", "0", stdin=b"x")
    assert appliance.only.json == {"policy": "x", "ttl": "1h", "cas": 0}
    both = ("--ttl", "1h", "--expiration", "2027-01-01T00:00:00Z")
    assert mimir("policy", "write", "p", "-", *both, stdin=b"x").code == 2
