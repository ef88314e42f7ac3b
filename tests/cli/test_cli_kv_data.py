"""`mimir kv get|put|patch|rollback|diff`: what they send, print and refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Mimir, Recorder
from tests.cli.kv_script import BLOCK, mounted, secret, version_answer

DATA = "GET /v1/secret/data/app"


@pytest.fixture
def app(appliance: Recorder) -> Recorder:
    """secret/ is of version 2, old/ of version 1."""
    mounted(appliance, "secret/app", "secret")
    mounted(appliance, "old/app", "old", mount="old/", version=None)
    appliance.answers(200, {"data": BLOCK})
    return appliance


# --- paths ----------------------------------------------------------------------------------------------------------

STYLES = [
    ("secret/app",),
    ("/secret/app/",),
    ("v1/secret/app",),
    ("--mount", "secret", "app"),
    ("-mount=secret", "app"),
    ("-mount", "secret/", "/app"),
]


@pytest.mark.parametrize("words", STYLES, ids=" ".join)
def test_both_styles_name_the_same_secret(app: Recorder, mimir: Mimir, words: tuple[str, ...]) -> None:
    app.on(DATA, 200, secret({"a": "b"}))
    assert mimir("kv", "get", *words).code == 0
    assert app.targets()[1] == "GET secret/data/app"


def test_a_mount_in_a_namespace_below_keeps_its_path(appliance: Recorder, mimir: Mimir) -> None:
    mounted(appliance, "team/secret/app", mount="team/secret/")
    appliance.on("GET /v1/team/secret/data/app", 200, secret({"a": "b"}))
    assert mimir("kv", "get", "team/secret/app").code == 0


def test_a_name_goes_out_percent_encoded_and_whole(appliance: Recorder, mimir: Mimir) -> None:
    mounted(appliance, "secret/%C3%BC%252F/a%20b")
    appliance.on("GET /v1/secret/data/%C3%BC%252F/a%20b", 200, secret({"a": "b"}))
    assert mimir("kv", "get", "secret/ü%2F/a b").code == 0


def test_version_1_has_no_data_in_its_paths(app: Recorder, mimir: Mimir) -> None:
    app.on("GET /v1/old/app", 200, {"data": {"user": "web"}})
    assert mimir("kv", "get", "old/app").out.split()[-2:] == ["user", "web"]
    assert mimir("kv", "put", "old/app", "user=web").out == "Success! Data written to: old/app\n"
    assert app.requests[-1].json == {"user": "web"}


@pytest.mark.parametrize(
    "words",
    [
        ("get", "old/app", "--version", "1"),
        ("get", "old/app", "--stage", "pending"),
        ("put", "old/app", "a=b", "--cas", "1"),
        ("put", "old/app", "a=b", "--stage", "pending"),
        ("put", "old/app", "a=b", "--reason", "x"),
        ("patch", "old/app", "a=b"),
        ("rollback", "old/app", "--version", "1"),
        ("delete", "old/app", "--versions", "1"),
        ("undelete", "old/app", "--versions", "1"),
        ("destroy", "old/app", "--versions", "1"),
        ("disable", "old/app", "--versions", "1"),
        ("metadata", "get", "old/app"),
        ("metadata", "put", "old/app", "--owner", "x"),
        ("stage", "get", "old/app"),
        ("promote", "old/app"),
        ("list", "old", "--detailed"),
        ("report", "old"),
        ("search", "old", "x"),
        ("config", "read", "old"),
    ],
    ids=" ".join,
)
def test_what_version_1_lacks_is_told_with_the_way_out(app: Recorder, mimir: Mimir, words: tuple[str, ...]) -> None:
    outcome = mimir("kv", *words)
    assert outcome.code == 1
    assert "version 1" in outcome.err
    assert "mimir kv enable-versioning old/" in outcome.err
    assert len(app.requests) == 1


def test_a_diff_of_version_1_cannot_be_found_out(app: Recorder, mimir: Mimir) -> None:
    assert mimir("kv", "diff", "old/app").code == 2


def test_another_engine_is_told_by_its_type(appliance: Recorder, mimir: Mimir) -> None:
    mounted(appliance, "transit/keys/a", mount="transit/", kind="transit", version=None)
    outcome = mimir("kv", "get", "transit/keys/a")
    assert outcome.code == 1
    assert "transit/ is no kv engine, but transit" in outcome.err


def test_a_refused_preflight_ends_it(appliance: Recorder, mimir: Mimir) -> None:
    appliance.answers(403, {"errors": ["preflight capability check returned 403"]})
    assert "preflight capability check returned 403" in mimir("kv", "get", "secret/app").err
    assert len(appliance.requests) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("get", "secret"), "name a secret below the mount"),
        (("get", "/"), "the path is empty"),
        (("get", "--mount", "/", "app"), "--mount is empty"),
        (("get", "secret/app", "--version", "0"), "0 is not in the range"),
        (("get", "secret/app", "--version", "x"), "not a valid integer"),
        (("get", "secret/app", "--version", "1", "--stage", "pending"), "both choose a version"),
        (("put", "secret/app"), "Missing argument"),
        (("put", "secret/app", "a=b", "--cas", "-1"), "-1 is not in the range"),
        (("patch", "secret/app"), "nothing to change"),
        (("patch", "secret/app", "a=b", "--remove-data", "a"), "both set and removed"),
        (("rollback", "secret/app"), "Missing option '--version'"),
        (("undelete", "secret/app"), "Missing option '--versions'"),
        (("destroy", "secret/app", "--versions", "0"), "whole numbers from 1 on"),
        (("destroy", "secret/app", "--versions", "one"), "whole numbers from 1 on"),
        (("delete", "secret/app", "--versions", ","), "whole numbers from 1 on"),
        (("metadata", "patch", "secret/app"), "say what to change"),
        (("config", "write", "secret"), "say what to change"),
        (("search", "secret"), "say what to look for"),
        (("diff", "secret/app", "--from", "0"), "0 is not in the range"),
        (("rollback", "secret/app", "--version", "1", "--wrap-ttl", "1m"), "--wrap-ttl"),
        (("list", "secret", "--wrap-ttl", "1m"), "--wrap-ttl"),
        (("stage", "set", "secret/app", "blue"), "Missing option '--version'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_usage(app: Recorder, mimir: Mimir, words: tuple[str, ...], said: str) -> None:
    outcome = mimir("kv", *words)
    assert outcome.code == 2
    assert said in outcome.err
    assert all("sys/internal" in target for target in app.targets())


# --- values ---------------------------------------------------------------------------------------------------------

EXACT = b'{"price":1.10,"big":12345678901234567890123,"deep":{"x":[1E400,-0.0]}}'


def test_numbers_of_a_file_are_sent_digit_by_digit(app: Recorder, mimir: Mimir, tmp_path: Path) -> None:
    file = tmp_path / "app.json"
    file.write_bytes(EXACT)
    assert mimir("kv", "put", "secret/app", f"@{file}").code == 0
    assert app.requests[-1].body == b'{"data":%b}' % EXACT
    assert mimir("kv", "patch", "secret/app", "-", stdin=EXACT).code == 0
    assert app.requests[-1].body == b'{"data":%b}' % EXACT


def test_numbers_of_an_answer_are_printed_digit_by_digit(app: Recorder, mimir: Mimir) -> None:
    app.on(DATA, 200, version_answer(EXACT, 3))
    assert EXACT in "".join(mimir("kv", "get", "secret/app", "-o", "json").out.split()).encode()
    assert mimir("kv", "get", "secret/app", "--field", "price").out == "1.10\n"
    assert "12345678901234567890123" in mimir("kv", "get", "secret/app").out
    assert "price: 1.10\n" in mimir("kv", "get", "secret/app", "-o", "yaml").out


def test_rolled_back_values_keep_their_digits_and_no_writer_is_run_over(app: Recorder, mimir: Mimir) -> None:
    app.on(f"{DATA}?version=2", 200, version_answer(EXACT, 2))
    app.on(DATA, 200, version_answer(b'{"a":"b"}', 5))
    outcome = mimir("kv", "rollback", "secret/app", "--version", "2", "--reason", "back")
    assert outcome.code == 0, outcome.err
    assert app.requests[-1].body == b'{"data":%b,"options":{"cas":5}}' % EXACT
    assert app.requests[-1].headers["X-Mimir-Reason"] == "back"


def test_a_value_is_never_echoed(app: Recorder, mimir: Mimir, tmp_path: Path) -> None:
    file = tmp_path / "p"
    file.write_text("geheim-file")
    words = ("secret/app", "a=geheim-word", f"b=@{file}", "c=-")
    for command in ("put", "patch"):
        outcome = mimir("kv", command, *words, stdin=b"geheim-stdin")
        assert app.requests[-1].json["data"] == {"a": "geheim-word", "b": "geheim-file", "c": "geheim-stdin"}
        assert "geheim" not in outcome.out + outcome.err
        assert "version            3" in outcome.out
    app.answers(400, {"errors": ["check-and-set parameter did not match the current version"]})
    outcome = mimir("kv", "put", *words, "--cas", "2", stdin=b"geheim-stdin")
    assert outcome.code == 1
    assert "geheim" not in outcome.out + outcome.err
    assert "check-and-set" in outcome.err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (b'{"geheim": 1', "standard input is not JSON"),
        (b'["geheim"]', "holds JSON, but no object"),
        (b'{"geheim": NaN}', "not JSON"),
        (b'{"a":' + b"[" * 100_000, "not JSON"),
        (b"\xff\xfe\xff", "not JSON"),
    ],
    ids=["cut", "list", "nan", "deep", "bytes"],
)
def test_a_broken_object_is_refused_without_showing_it(app: Recorder, mimir: Mimir, given: bytes, said: str) -> None:
    outcome = mimir("kv", "put", "secret/app", "-", stdin=given)
    assert outcome.code == 1
    assert said in outcome.err
    assert "geheim" not in outcome.err
    assert app.requests == []


def test_a_word_that_is_no_pair_is_not_repeated(app: Recorder, mimir: Mimir) -> None:
    outcome = mimir("kv", "put", "secret/app", "geheim")
    assert outcome.code == 1
    assert "geheim" not in outcome.err


def test_options_go_beside_the_data(app: Recorder, mimir: Mimir) -> None:
    mimir("kv", "put", "-cas=0", "secret/app", "a=b", "--stage", "pending", "--reason", "größer")
    sent = app.requests[-1]
    assert sent.json == {"data": {"a": "b"}, "options": {"cas": 0, "stage": "pending"}}
    assert sent.headers["X-Mimir-Reason"].encode("latin-1").decode() == "größer"


@pytest.mark.parametrize("reason", ["a\nX-Vault-Token: b", "x" * 513], ids=["lines", "long"])
def test_a_reason_is_one_short_line(app: Recorder, mimir: Mimir, reason: str) -> None:
    outcome = mimir("kv", "put", "secret/app", "a=b", "--reason", reason)
    assert outcome.code == 1
    assert app.requests == []


def test_a_patch_is_a_merge_patch(app: Recorder, mimir: Mimir) -> None:
    mimir("kv", "patch", "secret/app", "a=b", "--remove-data", "old", "--cas", "2")
    sent = app.requests[-1]
    assert (sent.method, sent.headers["Content-Type"]) == ("PATCH", "application/merge-patch+json")
    assert sent.json == {"data": {"a": "b", "old": None}, "options": {"cas": 2}}


# --- showing --------------------------------------------------------------------------------------------------------


def test_a_secret_is_shown_as_vaults_client_shows_it(app: Recorder, mimir: Mimir) -> None:
    app.on(DATA, 200, secret({"user": "web", "deep": {"a": [1]}, "esc": "\x1b[31m\nx"}))
    shown = mimir("kv", "get", "secret/app").out
    assert shown.splitlines()[1] == "secret/data/app"
    assert "deletion_time      n/a" in shown
    assert 'deep    {"a": [1]}' in shown
    assert r"esc     \x1b[31m\nx" in shown
    assert "\x1b" not in shown


def test_one_field_is_printed_byte_for_byte(app: Recorder, mimir: Mimir) -> None:
    app.on(DATA, 200, secret({"key": "a\x1b\nb", "version": "mine"}))
    assert mimir("kv", "get", "secret/app", "--field", "key").raw == b"a\x1b\nb"
    assert mimir("kv", "get", "-field=version", "secret/app").raw == b"mine"
    outcome = mimir("kv", "get", "secret/app", "--field", "created_time")
    assert outcome.code == 1
    assert "no field 'created_time'" in outcome.err


GONE = [
    ({"deletion_time": "2026-11-22T11:00:00Z"}, "was deleted at 2026-11-22T11:00:00Z", "mimir kv undelete secret/app"),
    ({"destroyed": True}, "is destroyed", "gone for good"),
    ({"state": "disabled"}, "is disabled", "mimir kv enable secret/app --versions 3"),
]


@pytest.mark.parametrize(("block", "why", "way_out"), GONE, ids=["deleted", "destroyed", "disabled"])
def test_a_version_without_data_says_why(
    app: Recorder, mimir: Mimir, block: dict[str, object], why: str, way_out: str
) -> None:
    app.on(DATA, 404, secret(None, **block))
    outcome = mimir("kv", "get", "secret/app")
    assert (outcome.code, outcome.out) == (1, "")
    assert why in outcome.err
    assert way_out in outcome.err
    outcome = mimir("kv", "get", "secret/app", "-o", "json")
    assert outcome.code == 1
    assert json.loads(outcome.out)["data"]["metadata"]["version"] == 3
    assert mimir("kv", "diff", "secret/app").code == 2


def test_a_secret_that_is_not_there(app: Recorder, mimir: Mimir) -> None:
    app.on(DATA, 404, {"errors": []})
    outcome = mimir("kv", "get", "secret/app")
    assert outcome.code == 1
    assert "secret/data/app: nothing is there" in outcome.err


def test_who_writes_data_into_the_path_is_told(appliance: Recorder, mimir: Mimir) -> None:
    mounted(appliance, "secret/data/app")
    appliance.answers(404, {"errors": []})
    assert "did you mean secret/app?" in mimir("kv", "get", "secret/data/app").err
    assert "did you mean secret/app?" in mimir("kv", "patch", "secret/data/app", "a=b").err


def test_an_answer_of_another_shape_is_no_fault(app: Recorder, mimir: Mimir) -> None:
    for body in ({"data": {"data": [], "metadata": BLOCK}}, {"data": {}}, {"data": {"data": {}, "metadata": {}}}):
        app.script[DATA] = [(200, body)]
        for words in (("get", "secret/app"), ("rollback", "secret/app", "--version", "1"), ("diff", "secret/app")):
            outcome = mimir("kv", *words)
            assert outcome.code == 3 or "rollback" in words, words
            assert "fault of mimir" not in outcome.err
    app.script["GET /v1/sys/internal/ui/mounts/secret/app"] = [(200, {"data": {}})]
    assert mimir("kv", "get", "secret/app").code == 3


# --- differences ----------------------------------------------------------------------------------------------------


@pytest.fixture
def two(app: Recorder) -> Recorder:
    app.on(DATA, 200, version_answer(b'{"same":1,"n":1.1,"new":"geheim-new","deep":{"a":true}}', 2))
    app.on(f"{DATA}?version=2", 200, version_answer(b'{"same":1,"n":1.1,"new":"geheim-new","deep":{"a":true}}', 2))
    app.on(f"{DATA}?version=1", 200, version_answer(b'{"same":1,"n":1.10,"old":"geheim-old","deep":{"a":1}}', 1))
    return app


def test_a_difference_shows_names_alone(two: Recorder, mimir: Mimir) -> None:
    outcome = mimir("kv", "diff", "secret/app")
    assert outcome.code == 1
    rows = [line.split() for line in outcome.out.splitlines()[2:]]
    assert rows == [["changed", "deep.a"], ["changed", "n"], ["added", "new"], ["removed", "old"]]
    assert "geheim" not in mimir("kv", "diff", "secret/app", "-o", "json").out


def test_values_are_shown_when_they_are_asked_for(two: Recorder, mimir: Mimir) -> None:
    outcome = mimir("kv", "diff", "secret/app", "--show-values")
    rows = [line.split() for line in outcome.out.splitlines()[2:]]
    assert ["changed", "n", "1.10", "1.1"] in rows
    assert ["added", "new", "-", "geheim-new"] in rows
    shown = json.loads(mimir("kv", "diff", "secret/app", "--show-values", "-o", "json").out)
    assert shown["removed"] == {"old": "geheim-old"}
    assert (shown["from"], shown["to"]) == (1, 2)


def test_no_difference_is_0_and_no_answer_stays_what_it_is(two: Recorder, mimir: Mimir) -> None:
    outcome = mimir("kv", "diff", "secret/app", "--from", "2", "--to", "2")
    assert (outcome.code, outcome.out) == (0, "No difference.\n")
    assert mimir("kv", "diff", "secret/app", "--address", "http://127.0.0.1:1").code == 3
    two.script[DATA] = [(403, {"errors": ["permission denied"]})]
    assert mimir("kv", "diff", "secret/app").code == 2


def test_the_first_version_has_none_before_it(app: Recorder, mimir: Mimir) -> None:
    app.on(DATA, 200, version_answer(b"{}", 1))
    outcome = mimir("kv", "diff", "secret/app")
    assert outcome.code == 2
    assert "no version before 1" in outcome.err
