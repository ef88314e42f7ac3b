"""`mimir kv import|export`: contradictions are found before anything is sent, and what is shown holds no values."""

import json

import pytest

VAULT = ("--from-vault", "http://127.0.0.1:1", "--source-mount", "kv", "--to", "secret/")
EXPORT = ("--from-export", "f", "--transit-key", "k", "--to", "secret/")

USAGE = [
    ("import", "--to", "secret/"),
    ("import", "--from-json", "f"),
    ("import", "--from-json", "f", "--from-dotenv", "g", "--to", "secret/"),
    ("import", "--from-vault", "http://127.0.0.1:1", "--to", "secret/"),
    ("import", "--from-json", "f", "--to", "secret/", "--source-mount", "kv"),
    ("import", "--from-json", "f", "--to", "secret/", "--source-token-file", "t"),
    ("import", "--from-export", "f", "--to", "secret/"),
    ("import", "--from-json", "f", "--transit-key", "k", "--to", "secret/"),
    ("import", *VAULT, "--on-conflict", "new-version"),
    ("import", *EXPORT, "--on-conflict", "new-version"),
    ("import", *VAULT, "--on-conflict", "overwrite"),
    ("import", *VAULT, "--parallel", "0"),
    ("import", *VAULT, "s.a-token"),
    ("export", "secret/", "--out", "f"),
    ("export", "secret/", "--transit-key", "k"),
    ("export", "--transit-key", "k", "--out", "f"),
]


@pytest.mark.parametrize("words", USAGE, ids=" ".join)
def test_what_contradicts_itself_is_wrong_usage(mimir, appliance, words):
    outcome = mimir("kv", *words)
    assert outcome.code == 2
    assert not appliance.requests
    assert "s.a-token" not in outcome.err


def mounted(appliance, **options):
    appliance.gives(path="secret/", type="kv", options={"version": "2"} | options)


LOCAL = [
    (("import", "--from-json", "/no/such", "--to", "secret/"), "'/no/such' cannot be read"),
    (("import", "--from-dotenv", "/no/such", "--to", "secret/app"), "'/no/such' cannot be read"),
    (("import", "--from-json", "-", "--to", "secret/"), "standard input is not JSON"),
    (("import", "--from-dotenv", "-", "--to", "secret/"), "--to names the secret"),
    (("import", "--from-export", "-", "--transit-key", "k", "--to", "secret/"), "needs a file"),
    (("import", "--from-export", "/no/such", "--transit-key", "k", "--to", "secret/"), "'/no/such' cannot be read"),
    (("import", "--from-export", "/dev/null", "--transit-key", "k", "--to", "secret/"), "no file that"),
]


@pytest.mark.parametrize(("words", "says"), LOCAL, ids=[" ".join(words) for words, _ in LOCAL])
def test_what_cannot_be_read_is_told_before_anything_is_written(mimir, appliance, words, says):
    mounted(appliance)
    outcome = mimir("kv", *words, stdin=b"A=hush")
    assert outcome.code in {1, 2}
    assert says in outcome.err
    assert [request.method for request in appliance.requests] == ["GET"]
    assert "hush" not in outcome.err
    assert outcome.out == ""  # no summary of nothing
    assert "go on" not in outcome.err


def test_a_line_of_standard_input_is_named(mimir, appliance):
    mounted(appliance)
    outcome = mimir("kv", "import", "--from-dotenv", "-", "--to", "secret/app", stdin=b"A=1\nhush\n")
    assert outcome.err == "Error: standard input: line 2 is not KEY=VALUE\n"


def test_version_1_takes_no_versions(mimir, appliance):
    mounted(appliance, version="1")
    outcome = mimir("kv", "import", "--from-json", "-", "--to", "secret/", stdin=b'{"a": {"b": "c"}}')
    assert outcome.code == 1
    assert "enable-versioning" in outcome.err


def test_a_dry_run_of_a_file_only_looks(mimir, appliance):
    mounted(appliance)
    words = ("kv", "import", "--from-json", "-", "--to", "secret/x", "--dry-run")
    outcome = mimir(*words, "-o", "json", stdin=b'{"a": {"b": "hush"}, "c": {}}')
    assert outcome.code == 0
    assert [row["path"] for row in json.loads(outcome.out)["found"]] == ["secret/x/a", "secret/x/c"]
    assert [request.method for request in appliance.requests] == ["GET"]
    assert "hush" not in outcome.out


def test_an_export_needs_a_free_place(mimir, appliance, tmp_path):
    out = tmp_path / "x"
    out.write_text("mine")
    outcome = mimir("kv", "export", "secret/", "--transit-key", "k", "--out", str(out))
    assert (outcome.code, out.read_text(), appliance.requests) == (1, "mine", [])


def test_an_export_that_fails_leaves_nothing_behind(mimir, appliance, tmp_path):
    mounted(appliance)
    outcome = mimir("kv", "export", "secret/", "--transit-key", "k", "--out", str(tmp_path / "x"))
    assert outcome.code in {1, 3}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home"]


@pytest.mark.parametrize(
    ("environ", "source", "ours"),
    [
        ({"VAULT_TOKEN": "s.there", "MIMIR_TOKEN": "s.here"}, "s.there", "s.here"),
        ({"VAULT_TOKEN": "s.there", "MIMIR_TOKEN": ""}, "s.there", None),
    ],
    ids=["both", "theirs alone"],
)
def test_each_side_gets_its_own_token(mimir, appliance, environ, source, ours):
    """The recorder is both servers."""
    mounted(appliance)
    words = ("--from-vault", appliance.address, "--source-mount", "secret", "--to", "secret", "--source-namespace", "n")
    mimir("kv", "import", *words, VAULT_ADDR="http://127.0.0.1:1", VAULT_NAMESPACE="other", **environ)
    first, second = appliance.requests[:2]
    assert (first.headers.get("X-Vault-Token"), second.headers.get("X-Vault-Token")) == (ours, source)
    assert (first.headers.get("X-Vault-Namespace"), second.headers.get("X-Vault-Namespace")) == (None, "n")


def test_source_and_target_must_not_be_the_same(mimir, appliance):
    mounted(appliance)
    words = ("--from-vault", appliance.address, "--source-mount", "secret", "--to", "secret/copy")
    outcome = mimir("kv", "import", *words, VAULT_TOKEN="s.x")
    assert outcome.code == 2
    assert "the same mount" in outcome.err


def test_the_token_of_the_source_may_be_in_a_file(mimir, appliance, home):
    mounted(appliance)
    (home / "token").write_text("s.of-file\n")
    words = ("--from-vault", appliance.address, "--source-mount", "secret", "--to", "secret")
    mimir("kv", "import", *words, "--source-token-file", str(home / "token"), VAULT_TOKEN="s.other")
    assert appliance.requests[1].headers["X-Vault-Token"] == "s.of-file"
    assert appliance.requests[0].headers["X-Mimir-Reason"] == "mimir kv import --from-vault"
