"""`mimir kv` and `mimir secret`, against the server that they are for; in this process, as there are many calls."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Mimir, Outcome
from tests.support.appliance import Appliance

EXACT = '{"price": 1.10, "big": 12345678901234567890123, "deep": {"x": [1e400, 0.0]}}'


@pytest.fixture(scope="module", autouse=True)
def mounts(live: Appliance) -> None:
    """vault/ keeps versions; plain/ does not."""
    client = live.client()
    client.sys.enable_secrets_engine("kv", path="vault", options={"version": "2"})
    client.sys.enable_secrets_engine("kv", path="plain", options={"version": "1"})


@dataclass
class User:
    """Someone at a terminal with a token, or without one."""

    call: Mimir
    address: str
    token: str

    def mimir(self, *words: str, given: str = "", code: int = 0) -> Outcome:
        done = self.call(*words, stdin=given.encode(), MIMIR_ADDR=self.address, MIMIR_TOKEN=self.token)
        assert done.code == code, (words, done)
        return done

    def out(self, *words: str, given: str = "", code: int = 0) -> str:
        return self.mimir(*words, given=given, code=code).out.rstrip("\n")

    def refusal(self, *words: str, code: int = 1) -> str:
        done = self.mimir(*words, code=code)
        assert done.out == ""
        return done.err


@pytest.fixture
def user(mimir: Mimir, live: Appliance) -> User:
    return User(mimir, live.address, live.root_token)


def table(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def as_json(user: User, *words: str, code: int = 0) -> Any:
    return json.loads(user.out(*words, "-o", "json", code=code))["data"]


def test_a_secret_from_its_birth_to_its_end(user: User, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("geheim-1")
    put = user.mimir("kv", "put", "vault/app", f"password=@{tmp_path / 'password'}", "user=web", "--reason", "größer")
    assert ["version", "1"] in table(put.out)
    assert "geheim" not in put.out + put.err
    assert user.out("kv", "get", "-mount=vault", "app", "--field", "password") == "geheim-1"
    user.mimir("kv", "patch", "vault/app", "password=-", "--remove-data", "user", "--cas", "1", given="geheim-2")
    assert user.out("kv", "diff", "vault/app", code=1).splitlines()[2:] == ["changed    password", "removed    user"]
    user.mimir("kv", "rollback", "vault/app", "--version", "1")
    assert user.out("kv", "diff", "vault/app", "--from", "1") == "No difference."
    user.mimir("kv", "delete", "vault/app")
    assert "mimir kv undelete vault/app --versions 3" in user.refusal("kv", "get", "vault/app")
    assert as_json(user, "kv", "get", "vault/app", code=1)["metadata"]["version"] == 3
    user.mimir("kv", "undelete", "vault/app", "--versions", "3")
    user.mimir("kv", "destroy", "vault/app", "--versions", "2")
    assert "gone for good" in user.refusal("kv", "get", "vault/app", "--version", "2")
    [third, second, first] = table(user.out("kv", "metadata", "get", "vault/app"))[-3:]
    assert (first[-1], second[1], third[1:3]) == ("größer", "destroyed", ["enabled", "current"])
    user.mimir("kv", "metadata", "delete", "vault/app")
    assert "nothing is there" in user.refusal("kv", "get", "vault/app")


def test_numbers_come_back_digit_by_digit(user: User) -> None:
    user.mimir("kv", "put", "vault/numbers", "-", given=EXACT)
    wanted = EXACT.replace(" ", "")
    assert wanted in "".join(user.out("kv", "get", "vault/numbers", "-o", "json").split())
    assert wanted in "".join(user.out("secret", "read", "vault/data/numbers").split())
    user.mimir("kv", "put", "vault/numbers", "a=b")
    user.mimir("kv", "rollback", "vault/numbers", "--version", "1")
    assert wanted in "".join(user.out("kv", "get", "vault/numbers", "-o", "json").split())


def test_a_pending_version_becomes_the_current_one(user: User) -> None:
    user.mimir("kv", "put", "vault/staged", "a=1")
    user.mimir("kv", "put", "vault/staged", "a=2", "--stage", "pending")
    assert user.out("kv", "get", "vault/staged", "--field", "a") == "1"
    assert user.out("kv", "get", "vault/staged", "--stage", "pending", "--field", "a") == "2"
    user.mimir("kv", "promote", "vault/staged")
    assert user.out("kv", "get", "vault/staged", "--field", "a") == "2"
    assert table(user.out("kv", "stage", "get", "vault/staged"))[2:] == [["current", "2"], ["previous", "1"]]
    assert "no version that is pending" in user.refusal("kv", "promote", "vault/staged")
    user.mimir("kv", "disable", "vault/staged", "--versions", "2")
    assert "mimir kv enable" in user.refusal("kv", "get", "vault/staged")
    user.mimir("kv", "enable", "vault/staged", "--versions", "2")
    assert user.out("kv", "get", "vault/staged", "--field", "a") == "2"


def test_metadata_and_names(user: User) -> None:
    words = ("--owner", "web", "--rotate-every", "90d", "--custom-metadata", "a=b", "-max-versions=3", "-cas-required")
    user.mimir("kv", "metadata", "put", "vault/owned/x", *words)
    user.mimir("kv", "metadata", "patch", "vault/owned/x", "--owner", "ops", "--remove-custom-metadata", "a")
    shown = as_json(user, "kv", "metadata", "get", "vault/owned/x")
    assert (shown["owner"], shown["custom_metadata"], shown["max_versions"], shown["cas_required"]) == (
        *("ops", None),
        *(3, True),
    )
    user.mimir("kv", "put", "vault/owned/deep/y", "a=b")
    assert user.out("kv", "list", "vault/owned").split()[2:] == ["deep/", "x"]
    assert user.out("kv", "list", "-r", "-mount=vault", "owned").split()[2:] == ["deep/y", "x"]
    assert ["deep/y", "1"] in [row[:2] for row in table(user.out("kv", "list", "-r", "--detailed", "vault/owned"))]
    assert user.out("kv", "list", "vault/owned", "--limit", "1", "--after", "deep/").split()[2:] == ["x"]
    assert "check-and-set parameter required" in user.refusal("kv", "put", "vault/owned/x", "a=geheim")


def test_a_mount_learns_to_keep_versions(user: User) -> None:
    user.mimir("kv", "put", "plain/app", "a=1.10")
    assert "mimir kv enable-versioning plain/" in user.refusal("kv", "metadata", "get", "plain/app")
    assert user.out("kv", "list", "plain").split()[2:] == ["app"]
    user.mimir("kv", "enable-versioning", "plain")
    assert ["version", "1"] in table(user.out("kv", "get", "plain/app"))
    user.mimir("kv", "config", "write", "plain", "--max-versions", "2")
    assert user.out("kv", "config", "read", "plain", "--field", "max_versions") == "2"


def test_who_read_what_and_who_answers_for_it(user: User) -> None:
    user.mimir("kv", "put", "vault/insight/read", "a=b")
    user.mimir("kv", "metadata", "put", "vault/insight/read", "--owner", "web")
    user.mimir("kv", "put", "vault/insight/lonely", "a=b")
    user.mimir("kv", "metadata", "put", "vault/insight/ended", "--owner", "x", "--expires-at", "2020-01-01T00:00:00Z")
    user.mimir("kv", "get", "vault/insight/read")
    report = as_json(user, "kv", "report", "vault/insight", "--no-owner", "--overdue")["secrets"]
    assert {row["name"]: row["reasons"] for row in report} == {
        "insight/lonely": ["no_owner"],
        "insight/ended": ["overdue"],
    }
    assert table(user.out("kv", "search", "vault/insight", "--owner", "web"))[2:] == [
        ["insight/read", "web", "-", "-", "-"]
    ]
    assert user.out("kv", "search", "vault/insight", "nobody-has-this") == "None."


def test_changes_are_told_from_where_one_left_off(user: User) -> None:
    user.mimir("kv", "put", "vault/told/a", "password=geheim")
    user.mimir("kv", "put", "vault/told/b", "password=geheim")
    asked = ("events", "subscribe", "kv-v2/data-*", "--path-prefix", "vault/data/told/", "--count", "1", "--after")
    said = user.out(*asked, "0")
    first = json.loads(said)
    second = json.loads(user.out(*asked, first["sequence"]))
    paths = [event["data"]["event"]["metadata"]["path"] for event in (first, second)]
    assert paths == ["vault/data/told/a", "vault/data/told/b"]
    assert "geheim" not in said
    assert "a number" in user.refusal(*asked, "yesterday")


REFUSED = [
    (("get", "nowhere/app"), 1, "no engine is mounted there"),
    (("get", "transit/keys/x"), 1, "transit/ is no kv engine"),
    (("get", "vault/data/app2"), 1, "did you mean vault/app2?"),
    (("get", "vault/numbers", "--version", "99"), 1, "nothing is there"),
    (("put", "vault/cas", "a=geheim", "--cas", "7"), 1, "check-and-set parameter did not match"),
    (("patch", "vault/nobody", "a=geheim"), 1, "nothing is there"),
    (("rollback", "vault/numbers", "--version", "99"), 1, "nothing is there"),
    (("diff", "vault/nobody"), 2, "nothing is there"),
    (("metadata", "put", "vault/x", "--expires-at", "tomorrow"), 1, "RFC 3339"),
    (("metadata", "put", "vault/x", "--rotate-every", "90 days"), 1, "duration"),
    (("stage", "set", "vault/numbers", "current", "--version", "99"), 1, "no version 99"),
    (("enable", "vault/numbers", "--versions", "99"), 1, "no version 99"),
    (("report", "vault", "--unread-for", "long"), 1, "duration"),
    (("config", "write", "vault", "--delete-version-after", "soon"), 1, "duration"),
]


@pytest.mark.parametrize(("words", "code", "said"), REFUSED, ids=[" ".join(words) for words, _, _ in REFUSED])
def test_typical_mistakes(user: User, words: tuple[str, ...], code: int, said: str) -> None:
    refused = user.refusal("kv", *words, code=code)
    assert said in refused
    assert "geheim" not in refused


def test_a_generic_command_on_the_wrong_path_names_the_right_one(user: User) -> None:
    assert "mimir kv get" in user.refusal("secret", "read", "vault/numbers")
    assert "mimir kv put" in user.refusal("secret", "write", "vault/numbers", "a=geheim")


def test_a_stranger_is_told_to_log_in(user: User) -> None:
    user.token = ""
    assert "mimir login" in user.refusal("kv", "get", "vault/numbers")


def test_a_webhook_from_its_birth_to_its_end(user: User) -> None:
    made = as_json(user, "events", "webhook", "create", "cli", "--url", "http://127.0.0.1:1/hook", "--type", "kv-v2/*")
    assert made["key"].startswith("whsec_")
    assert "update" in user.refusal("events", "webhook", "create", "cli", "--url", "http://127.0.0.1:1/hook")
    assert ["delivered", "false"] in table(user.out("events", "webhook", "test", "cli", code=1))
    user.mimir("events", "webhook", "update", "cli", "--disabled")
    shown = user.out("events", "webhook", "read", "cli")
    assert ["enabled", "false"] in table(shown)
    assert made["key"] not in shown
    assert "at most" in user.refusal("events", "webhook", "replay", "cli", "--after", "999999999")
    user.mimir("events", "webhook", "delete", "cli")
    assert "create" in user.refusal("events", "webhook", "update", "cli", "--enabled")
    assert "https://" in user.refusal("events", "webhook", "create", "cli", "--url", "http://hooks.example.com/")
