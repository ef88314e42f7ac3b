"""`mimir secrets config` and `mimir secrets role`: what they send, what they show, what they refuse.

The appliance is a recorder; what the real one does with it is shown in `e2e/test_database_on_a_live_server.py`.
"""

import pytest

from client.errors import ExitCode

URL = "postgresql://{{username}}:{{password}}@db.internal:5432/orders"
CREATION = "CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'; GRANT x TO y;"
CONFIG = ("secrets", "config", "write", "database/config/orders-db")
ROLE = ("secrets", "role", "write", "database/roles/orders-api")

GUIDE = [
    (
        *(*CONFIG, "--plugin", "postgresql", "--connection-url", URL, "--allowed-roles", "orders-api"),
        *("--root-rotation-ttl", "24h"),
    ),
    (
        *(*ROLE, "--db-name", "orders-db", "--creation-statements", CREATION),
        *("--default-ttl", "1h", "--max-ttl", "4h"),
    ),
]


def test_a_connection_is_written_as_the_guide_prints_it(mimir, appliance):
    done = mimir(*GUIDE[0])
    assert done.code == ExitCode.OK
    assert (appliance.only.method, appliance.only.target) == ("POST", "/v1/database/config/orders-db")
    assert appliance.only.json == {
        "plugin_name": "postgresql",
        "connection_url": URL,
        "allowed_roles": ["orders-api"],
        "root_rotation_ttl": "24h",
    }
    assert done.out == "Success! The connection is written to database/config/orders-db.\n"


def test_a_role_is_written_as_the_guide_prints_it(mimir, appliance):
    assert mimir(*GUIDE[1]).code == ExitCode.OK
    assert (appliance.only.method, appliance.only.target) == ("POST", "/v1/database/roles/orders-api")
    assert appliance.only.json == {
        "db_name": "orders-db",
        "creation_statements": [CREATION],
        "default_ttl": "1h",
        "max_ttl": "4h",
    }


def test_every_option_of_a_connection_has_its_member(mimir, appliance, tmp_path):
    ca = tmp_path / "ca.pem"
    ca.write_text("-----BEGIN CERTIFICATE-----\n")
    rotation = tmp_path / "rotation.sql"
    rotation.write_text("ALTER ROLE x")
    words = [*CONFIG, "--username", "mimir", "--password", "-", "--password-policy", "strong", "--no-verify"]
    words += ["--tls-ca", f"@{ca}", "--username-template", "{{random 20}}", "--allowed-roles", "a,b"]
    words += ["--allowed-roles", "c", "--root-rotation-statements", f"@{rotation}", "max_open_connections=8"]
    assert mimir(*words, stdin=b" p w \n").code == ExitCode.OK
    assert appliance.only.json == {
        "username": "mimir",
        "password": " p w ",
        "password_policy": "strong",
        "verify_connection": False,
        "tls_ca": "-----BEGIN CERTIFICATE-----\n",
        "username_template": "{{random 20}}",
        "allowed_roles": ["a", "b", "c"],
        "root_rotation_statements": ["ALTER ROLE x"],
        "max_open_connections": "8",
    }


def test_every_option_of_a_role_has_its_member(mimir, appliance, tmp_path):
    sql = tmp_path / "creation.sql"
    sql.write_text("CREATE 1")
    words = [*ROLE, "--creation-statements", f"@{sql}", "--creation-statements", "CREATE 2"]
    for kind in ("revocation", "renew", "rollback", "verify"):
        words += [f"--{kind}-statements", kind]
    assert mimir(*words, "--password-policy", "strong", "extra=1").code == ExitCode.OK
    assert appliance.only.json == {
        "creation_statements": ["CREATE 1", "CREATE 2"],
        "revocation_statements": ["revocation"],
        "renew_statements": ["renew"],
        "rollback_statements": ["rollback"],
        "verify_statements": ["verify"],
        "credential_config": {"password_policy": "strong"},
        "extra": "1",
    }


def test_a_list_can_be_emptied(mimir, appliance):
    mimir(*CONFIG, "--allowed-roles", "")
    assert appliance.only.json == {"allowed_roles": []}


LOGIN = {"MIMIR_DATABASE_USERNAME": "mimir", "MIMIR_DATABASE_PASSWORD": "from-env"}


def test_user_and_password_come_from_the_environment(mimir, appliance):
    done = mimir(*GUIDE[0], **LOGIN)
    assert appliance.only.json["username"] == "mimir"
    assert appliance.only.json["password"] == "from-env"
    assert "from-env" not in done.out + done.err
    assert done.out.endswith("nobody knows its password any more: mimir dynamic rotate-root orders-db\n")


def test_options_go_before_the_environment(mimir, appliance, tmp_path):
    file = tmp_path / "password"
    file.write_text("from-file\n")
    mimir(*GUIDE[0], "--username", "other", f"password=@{file}", **LOGIN)
    assert (appliance.only.json["username"], appliance.only.json["password"]) == ("other", "from-file")


@pytest.mark.parametrize(
    "words",
    [("--allowed-roles", "x"), ("--plugin", "postgresql", "--connection-url", "postgresql://a@b/c")],
    ids=["another-change", "url-that-names-somebody"],
)
def test_the_environment_does_not_undo_a_rotation(mimir, appliance, words):
    """A password of before the rotation may still be set where the shell is."""
    mimir(*CONFIG, *words, **LOGIN)
    assert appliance.only.json.keys().isdisjoint({"username", "password"})


@pytest.mark.parametrize(
    "words", [("host=cache.internal",), ("--connection-url", "redis://cache.internal")], ids=["no-url", "nobody-in-it"]
)
def test_where_a_url_names_nobody_the_environment_counts(mimir, appliance, words):
    mimir(*CONFIG, "--plugin", "redis", *words, **LOGIN)
    assert (appliance.only.json["username"], appliance.only.json["password"]) == ("mimir", "from-env")


def test_a_terminal_is_asked_for_what_the_url_has_a_place_for(mimir, appliance, monkeypatch):
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: "mimir")
    monkeypatch.setattr("click.termui.hidden_prompt_func", lambda _: "typed")
    done = mimir(*GUIDE[0], terminal=True)
    assert (appliance.only.json["username"], appliance.only.json["password"]) == ("mimir", "typed")
    assert "typed" not in done.out + done.err


def test_nothing_typed_leaves_what_is_stored(mimir, appliance, monkeypatch):
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: "")
    monkeypatch.setattr("click.termui.hidden_prompt_func", lambda _: "")
    mimir(*GUIDE[0], terminal=True)
    assert appliance.only.json.keys().isdisjoint({"username", "password"})


@pytest.mark.parametrize(
    "words",
    [
        ("--password", "hunter2"),
        ("password=hunter2",),
        ("private_key=hunter2",),
        ("tls_certificate_key=hunter2",),
    ],
    ids=lambda words: words[0].split("=")[0],
)
def test_secrets_are_refused_as_arguments_and_not_repeated(mimir, appliance, words):
    done = mimir(*CONFIG, *words)
    assert done.code == ExitCode.USAGE
    assert "seen by every user of this machine" in done.err
    assert "hunter2" not in done.err
    assert appliance.requests == []


REFUSED = [
    (CONFIG, "say what to write"),
    (ROLE, "say what to write"),
    ((*CONFIG, "--plugin", "a", "plugin_name=b"), "give it once"),
    ((*CONFIG, "--plugin"), "requires an argument"),
    (("secrets", "config", "read", "orders-db"), "lacks the mount: write the path as database/config/NAME"),
    (("secrets", "config", "read", "config/orders-db"), "lacks the mount"),
    (("secrets", "config", "read", "database/config"), "lacks a name"),
    (("secrets", "config", "read", "database/config/"), "lacks a name"),
    (("secrets", "config", "read", "database/roles/x"), "is a role, not a connection: see `mimir secrets role --help`"),
    (("secrets", "role", "read", "database/config/x"), "is a connection, not a role"),
    (("secrets", "role", "read", "database/creds/x"), "see `mimir dynamic creds --help`"),
    (("secrets", "role", "write", "database/static-roles/x", "a=b"), "see `mimir dynamic static-role --help`"),
    (("secrets", "role", "delete", "x"), "database/roles/NAME"),
    (("secrets", "role", "list", "database/config"), "see `mimir secrets config --help`"),
]


@pytest.mark.parametrize(("words", "said"), REFUSED, ids=[" ".join(words[1:]) for words, _ in REFUSED])
def test_wrong_usage_is_explained_and_sends_nothing(mimir, appliance, words, said):
    done = mimir(*words)
    assert done.code == ExitCode.USAGE
    assert said in done.err
    assert appliance.requests == []


@pytest.mark.parametrize("content", [b"db.pem", b"\x30\x82"], ids=["name-of-a-file", "der"])
def test_a_ca_that_is_no_pem_is_refused(mimir, appliance, tmp_path, content):
    file = tmp_path / "ca"
    file.write_bytes(content)
    done = mimir(*CONFIG, "--tls-ca", f"@{file}")
    assert (done.code, appliance.requests) == (ExitCode.FAILED, [])
    assert "openssl x509" in done.err or "not UTF-8" in done.err


def test_standard_input_is_read_once(mimir, appliance):
    done = mimir(*ROLE, "--creation-statements", "-", "--revocation-statements", "-")
    assert "can be named once" in done.err
    assert appliance.requests == []


PATHS = [
    (("config", "read", "database/orders-db"), "GET /v1/database/config/orders-db"),
    (("config", "read", "/v1/team/db/config/orders-db"), "GET /v1/team/db/config/orders-db"),
    (("config", "list", "database"), "GET /v1/database/config?list=true"),
    (("config", "list", "database/config/"), "GET /v1/database/config?list=true"),
    (("config", "delete", "database/config/a"), "DELETE /v1/database/config/a"),
    (("role", "read", "team/db/orders-api"), "GET /v1/team/db/roles/orders-api"),
    (("role", "list", "database/roles"), "GET /v1/database/roles?list=true"),
    (("role", "delete", "database/orders-api"), "DELETE /v1/database/roles/orders-api"),
]


@pytest.mark.parametrize(("words", "request_line"), PATHS, ids=[" ".join(words) for words, _ in PATHS])
def test_paths_may_do_without_their_middle(mimir, appliance, words, request_line):
    appliance.gives(keys=[])
    assert mimir("secrets", *words).code == ExitCode.OK
    assert f"{appliance.only.method} {appliance.only.target}" == request_line


def test_a_connection_is_shown_for_people(mimir, appliance):
    appliance.gives(
        plugin_name="postgresql",
        connection_details={"connection_url": URL, "username": "mimir"},
        allowed_roles=["a", "b"],
        root_rotation_ttl=86400,
        last_root_rotation=1_790_000_000,
        root_credentials_rotate_statements=["ALTER 1, 2", "ALTER 3"],
    )
    lines = mimir("secrets", "config", "read", "database/config/orders-db").out.splitlines()
    rows = [tuple(line.split(None, 1)) for line in lines[2:]]
    assert ("root_rotation_ttl", "24h") in rows
    assert ("last_root_rotation", "2026-09-21T14:13:20Z") in rows
    assert ("connection_url", URL) in rows
    assert ("allowed_roles", "a, b") in rows
    assert [row for row in rows if row[0] == "ALTER"] == [("ALTER", "3")]


def test_a_role_is_shown_for_people(mimir, appliance):
    appliance.gives(db_name="orders-db", default_ttl=3600, max_ttl=5400, creation_statements=[], credential_config={})
    rows = [line.split() for line in mimir("secrets", "role", "read", "database/roles/x").out.splitlines()[2:]]
    assert rows == [
        ["creation_statements", "-"],
        ["db_name", "orders-db"],
        ["default_ttl", "1h"],
        ["max_ttl", "1h30m"],
    ]


@pytest.mark.parametrize(
    ("default_ttl", "max_ttl", "shown"),
    [
        (0, 0, ("1h (default)", "24h (default)")),
        (0, 600, ("10m (default)", "10m")),
        (172800, 0, ("48h", "48h (default)")),
    ],
)
def test_what_a_role_does_not_say_is_shown_as_it_is_meant(mimir, appliance, default_ttl, max_ttl, shown):
    appliance.gives(default_ttl=default_ttl, max_ttl=max_ttl)
    lines = mimir("secrets", "role", "read", "database/roles/x").out.splitlines()[2:]
    assert tuple(line.split(None, 1)[1] for line in lines) == shown


def test_a_refusal_of_the_appliance_is_told(mimir, appliance):
    appliance.answers(400, {"errors": ["error creating database object: orders-db: no answer"]})
    done = mimir(*GUIDE[0])
    assert done.code == ExitCode.FAILED
    assert "no answer" in done.err


def test_plugins_are_completed(mimir, monkeypatch):
    monkeypatch.setenv("COMP_WORDS", "mimir secrets config write a/b --plugin postgresql")
    monkeypatch.setenv("COMP_CWORD", "6")
    done = mimir(_MIMIR_COMPLETE="bash_complete")
    assert "plain,postgresql" in done.out.splitlines()
