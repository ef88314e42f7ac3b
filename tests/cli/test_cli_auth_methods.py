"""`mimir auth …` and logins with a method: what is sent, what is kept, and what never stands on a command line."""

import stat

import pytest

AUTH = {
    "client_token": "hvs.of-the-login",
    "accessor": "a-1",
    "policies": ["default", "ops"],
    "lease_duration": 3600,
    "renewable": True,
    "metadata": {"username": "bob"},
}
ANSWER = {"request_id": "r-1", "auth": AUTH, "data": None}

SENT = [
    (("enable", "approle"), "POST", "/v1/sys/auth/approle", {"type": "approle"}),
    (
        ("enable", "userpass", "--path", "auth/people/", "--description", "d", "--max-lease-ttl", "8h"),
        "POST",
        "/v1/sys/auth/people",
        {"type": "userpass", "description": "d", "config": {"max_lease_ttl": "8h"}},
    ),
    (
        ("enable", "approle", "--token-type", "batch", "--listing-visibility", "unauth", "--default-lease-ttl", "1h"),
        "POST",
        "/v1/sys/auth/approle",
        {
            "type": "approle",
            "config": {"token_type": "batch", "listing_visibility": "unauth", "default_lease_ttl": "1h"},
        },
    ),
    (("disable", "people/"), "DELETE", "/v1/sys/auth/people", None),
    (("list",), "GET", "/v1/sys/auth", None),
    (
        ("tune", "people", "--description", "", "--token-type", "service"),
        "POST",
        "/v1/sys/auth/people/tune",
        {"description": "", "token_type": "service"},
    ),
    (("move", "people", "auth/staff"), "POST", "/v1/sys/remount", {"from": "auth/people", "to": "auth/staff"}),
    (("help", "people"), "GET", "/v1/auth/people?help=1", None),
]


@pytest.mark.parametrize(("arguments", "method", "target", "body"), SENT, ids=[" ".join(row[0]) for row in SENT])
def test_each_command_sends_one_request(mimir, appliance, arguments, method, target, body):
    assert mimir("auth", *arguments).code == 0
    sent = appliance.only
    assert (sent.method, sent.target) == (method, target)
    assert (sent.json if sent.body else None) == body


def test_the_list_shows_what_counts_of_a_method(mimir, appliance):
    appliance.gives(
        **{
            "people/": {
                "type": "userpass",
                "accessor": "userpass_1",
                "description": "on call",
                "config": {"token_type": "default-service", "default_lease_ttl": 0, "max_lease_ttl": 28800},
            }
        }
    )
    assert mimir("auth", "list").out.splitlines()[-1].split() == (
        ["people/", "userpass", "userpass_1", "default-service", "system", "8h", "on", "call"]
    )


def test_a_move_tells_where_to_look(mimir, appliance):
    appliance.gives(migration_id="m-1")
    assert "mimir read sys/remount/status/m-1" in mimir("auth", "move", "a", "b").out


@pytest.mark.parametrize("arguments", [("tune", "people"), ("help",), ("help", "people", "--method", "approle")])
def test_a_command_with_nothing_to_do_is_wrong_usage(mimir, appliance, arguments):
    assert mimir("auth", *arguments).code == 2
    assert not appliance.requests


def test_help_for_a_method_asks_nobody(mimir, appliance):
    assert "role_id=@FILE" in mimir("auth", "help", "--method", "approle").out
    assert "--method aws" in mimir("auth", "help", "--method", "aws").out
    assert not appliance.requests


@pytest.mark.parametrize("spelling", [("login",), ("auth", "login")])
def test_a_password_is_asked_for_and_the_token_is_kept(mimir, appliance, home, monkeypatch, spelling):
    monkeypatch.setattr("click.termui.hidden_prompt_func", lambda _: "pass word")
    appliance.answers(200, ANSWER)
    outcome = mimir(*spelling, "--method", "userpass", "username=bob", terminal=True, MIMIR_TOKEN="")
    sent = appliance.only
    assert (sent.method, sent.target, sent.json) == ("PUT", "/v1/auth/userpass/login/bob", {"password": "pass word"})
    assert "X-Vault-Token" not in sent.headers
    path = home / ".mimir-token"
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("hvs.of-the-login", 0o600)
    assert "hvs.of-the-login" not in outcome.out + outcome.err
    assert "token_policies" in outcome.out


def test_a_login_does_not_send_the_token_in_use(mimir, appliance):
    appliance.answers(200, ANSWER)
    outcome = mimir("login", "--method", "userpass", "username=bob", "password=-", stdin=b"p\n")
    assert "X-Vault-Token" not in appliance.only.headers
    assert "takes precedence" in outcome.err


def test_approle_takes_its_ids_from_files_and_environment(mimir, appliance, tmp_path):
    appliance.answers(200, ANSWER)
    (tmp_path / "s").write_text("secret-1\n")
    mimir("login", "--method", "approle", "--path", "machines", f"secret_id=@{tmp_path / 's'}", MIMIR_ROLE_ID="role-1")
    sent = appliance.only
    assert (sent.target, sent.json) == ("/v1/auth/machines/login", {"role_id": "role-1", "secret_id": "secret-1"})


def test_approle_reads_the_secret_id_from_standard_input_or_leaves_it_out(mimir, appliance):
    appliance.answers(200, ANSWER)
    mimir("login", "--method", "approle", "role_id=r", stdin=b"secret-1\n")
    mimir("login", "--method", "approle", "role_id=r", "secret_id=")
    assert [sent.json for sent in appliance.requests] == [{"role_id": "r", "secret_id": "secret-1"}, {"role_id": "r"}]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--method", "approle", "role_id=r", "secret_id=hunter2"),
        ("--method", "userpass", "username=bob", "password=hunter2"),
        ("--method", "jwt", "--role", "r", "jwt=hunter2"),
    ],
)
def test_a_secret_as_an_argument_is_refused_and_not_repeated(mimir, appliance, arguments):
    outcome = mimir("login", *arguments)
    assert outcome.code == 2
    assert "command line is seen" in outcome.err
    assert "hunter2" not in outcome.err
    assert not appliance.requests


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--method", "approle", "secret_id="), "MIMIR_ROLE_ID"),
        (("--method", "approle", "--role", "web", "role_id=r"), "no --role"),
        (("--method", "userpass"), "username=NAME"),
        (("--role", "web"), "a token is all"),
        (("s.a", "s.b"), "a token is all"),
        (("--path", "x"), "a token is all"),
    ],
)
def test_a_login_that_cannot_be_meant_is_wrong_usage(mimir, appliance, arguments, said):
    outcome = mimir("login", *arguments)
    assert outcome.code == 2
    assert said in outcome.err
    assert not appliance.requests


@pytest.mark.parametrize(
    ("method", "said"),
    [("aws", "no login method aws (yet); it has: approle, token, userpass"), ("userpass", "Nothing is mounted there")],
)
def test_a_refused_login_says_what_may_be_missing(mimir, appliance, method, said):
    appliance.answers(403, {"errors": ["permission denied"]})
    outcome = mimir("login", "--method", method, "username=bob", "password=-", stdin=b"p")
    assert outcome.code == 1
    assert said in outcome.err


def test_a_name_with_a_slash_asks_no_other_path(mimir, appliance):
    assert mimir("login", "--method", "userpass", "username=../x", "password=-", stdin=b"p").code == 1
    assert not appliance.requests


def test_the_guides_login_says_what_the_server_says(mimir, appliance, home):
    appliance.answers(404, {"errors": ["no handler for route 'auth/aws/login'"]})
    outcome = mimir("auth", "login", "--method", "aws", "--role", "webapp-prod")
    assert appliance.only.json == {"role": "webapp-prod"}
    assert (outcome.code, outcome.out) == (1, "")
    assert "no handler for route 'auth/aws/login'" in outcome.err
    assert not list(home.iterdir())


def test_a_refused_login_does_not_advise_to_log_in(mimir, appliance):
    appliance.answers(403, {"errors": ["permission denied"]})
    outcome = mimir("login", "--method", "userpass", "username=bob", "password=-", stdin=b"p")
    assert outcome.code == 1
    assert "run `mimir login`" not in outcome.err
    assert "refused for a while" in outcome.err


def test_the_token_alone_for_a_script(mimir, appliance, home):
    appliance.answers(200, ANSWER)
    outcome = mimir("login", "--method", "approle", "role_id=r", "secret_id=", "--token-only")
    assert outcome.out == "hvs.of-the-login"
    assert not list(home.iterdir())


def test_what_is_not_kept_is_shown(mimir, appliance, home):
    appliance.answers(200, ANSWER)
    outcome = mimir("login", "--method", "approle", "role_id=r", "secret_id=", "--no-store")
    assert "hvs.of-the-login" in outcome.out
    assert not list(home.iterdir())


def test_a_wrapped_login_is_not_kept(mimir, appliance, home):
    appliance.answers(200, {"wrap_info": {"token": "hvs.wrapping", "ttl": 60}, "auth": None})
    outcome = mimir("login", "--method", "approle", "role_id=r", "secret_id=", "--wrap-ttl", "60s")
    assert "wrapping_token" in outcome.out
    assert not list(home.iterdir())


def test_an_answer_without_a_token_keeps_nothing(mimir, appliance, home):
    appliance.answers(200, {"auth": {"client_token": "", "mfa_requirement": {}}})
    assert mimir("login", "--method", "approle", "role_id=r", "secret_id=").code == 1
    assert not list(home.iterdir())
