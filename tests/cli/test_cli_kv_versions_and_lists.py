"""`mimir kv` on versions, labels, metadata, folders and mounts: what it sends and how it takes the answers."""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import pytest

from client import pages
from client.progress import progress_in_pages
from tests.cli.conftest import Mimir, Recorder
from tests.cli.kv_script import mounted

LIST = "GET /v1/secret/metadata/"


@pytest.fixture
def app(appliance: Recorder) -> Recorder:
    mounted(appliance, "secret/app", "secret", "secret/teams")
    mounted(appliance, "old/app", "old", mount="old/", version=None)
    appliance.answers(204)
    return appliance


SENT = [
    (("delete", "secret/app"), "DELETE secret/data/app", None),
    (("delete", "secret/app", "--versions", "1,3"), "POST secret/delete/app", {"versions": [1, 3]}),
    (("delete", "-versions=1", "-versions=3", "secret/app"), "POST secret/delete/app", {"versions": [1, 3]}),
    (("undelete", "secret/app", "--versions", "2"), "POST secret/undelete/app", {"versions": [2]}),
    (("destroy", "-mount=secret", "app", "-versions=2"), "POST secret/destroy/app", {"versions": [2]}),
    (("disable", "secret/app", "--versions", "2"), "POST secret/states/app", {"versions": [2], "state": "disabled"}),
    (("enable", "secret/app", "--versions", "2"), "POST secret/states/app", {"versions": [2], "state": "enabled"}),
    (("delete", "old/app"), "DELETE old/app", None),
    (("stage", "set", "secret/app", "x", "--version", "4"), "POST secret/stages/app", {"stage": "x", "version": 4}),
    (
        ("stage", "set", "secret/app", "x", "--version", "4", "--cas", "0"),
        "POST secret/stages/app",
        {"stage": "x", "version": 4, "cas": 0},
    ),
    (("stage", "remove", "secret/app", "x y"), "DELETE secret/stages/app?stage=x+y", None),
    (("metadata", "delete", "secret/app"), "DELETE secret/metadata/app", None),
    (("metadata", "put", "secret/app"), "POST secret/metadata/app", {}),
    (
        (
            "metadata",
            "put",
            "-mount=secret",
            "-max-versions=0",
            "-cas-required=false",
            "-delete-version-after=3h",
            "app",
        ),
        "POST secret/metadata/app",
        {"max_versions": 0, "cas_required": False, "delete_version_after": "3h"},
    ),
    (
        ("metadata", "put", "secret/app", "--owner", "web", "--classification", "secret", "--rotate-every", "90d"),
        "POST secret/metadata/app",
        {"owner": "web", "classification": "secret", "rotate_every": "90d"},
    ),
    (
        ("metadata", "patch", "secret/app", "--custom-metadata", "a=b", "--remove-custom-metadata", "c", "--owner", ""),
        "PATCH secret/metadata/app",
        {"owner": "", "custom_metadata": {"a": "b", "c": None}},
    ),
    (
        ("metadata", "patch", "secret/app", "-cas=3", "-cas-required"),
        "PATCH secret/metadata/app",
        {"metadata_cas": 3, "cas_required": True},
    ),
    (("config", "write", "secret", "--max-versions", "0"), "POST secret/config", {"max_versions": 0}),
    (("config", "write", "/secret/", "--no-cas-required"), "POST secret/config", {"cas_required": False}),
    (("enable-versioning", "old"), "POST sys/mounts/old/tune", {"options": {"version": "2"}}),
]


@pytest.mark.parametrize(("words", "target", "body"), SENT, ids=[" ".join(words) for words, _, _ in SENT])
def test_what_is_sent(app: Recorder, mimir: Mimir, words: tuple[str, ...], target: str, body: Any) -> None:
    outcome = mimir("kv", *words)
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("Success!")
    assert app.targets()[-1] == target
    assert (app.requests[-1].json if body is not None else app.requests[-1].body) == (body if body is not None else b"")


WITH_REASON = [
    ("delete", "secret/app"),
    ("destroy", "secret/app", "--versions", "1"),
    ("disable", "secret/app", "--versions", "1"),
    ("stage", "set", "secret/app", "x", "--version", "1"),
]


@pytest.mark.parametrize("words", WITH_REASON, ids=" ".join)
def test_each_change_can_say_why(app: Recorder, mimir: Mimir, words: tuple[str, ...]) -> None:
    mimir("kv", *words, "--reason", "CHG-7")
    assert app.requests[-1].headers["X-Mimir-Reason"] == "CHG-7"


def test_a_mount_that_keeps_versions_is_not_asked_again(app: Recorder, mimir: Mimir) -> None:
    outcome = mimir("kv", "enable-versioning", "secret")
    assert (outcome.code, len(app.requests)) == (1, 1)
    assert "keeps versions already" in outcome.err


def test_a_folder_is_no_mount(appliance: Recorder, mimir: Mimir) -> None:
    mounted(appliance, "secret/teams")
    for words in (
        ("config", "read", "secret/teams"),
        ("enable-versioning", "secret/teams"),
        ("list", "-mount=secret/teams"),
    ):
        outcome = mimir("kv", *words)
        assert outcome.code == 1, words
        assert "no engine is mounted at secret/teams/" in outcome.err


@pytest.mark.parametrize(
    "words",
    [
        ("metadata", "put", "secret/app", "--custom-metadata", "a"),
        ("metadata", "put", "secret/app", "--custom-metadata", "=b"),
    ],
    ids=["no-value", "no-name"],
)
def test_custom_metadata_are_pairs(app: Recorder, mimir: Mimir, words: tuple[str, ...]) -> None:
    assert mimir("kv", *words).code == 1
    assert app.requests == []


# --- labels ---------------------------------------------------------------------------------------------------------


def test_promote_moves_current_to_the_pending_version(app: Recorder, mimir: Mimir) -> None:
    app.on("GET /v1/secret/stages/app", 200, {"data": {"stages": {"current": 3, "pending": 4}}})
    assert mimir("kv", "promote", "secret/app").out == "Success! Version 4 of secret/app is current.\n"
    assert app.requests[-1].json == {"stage": "current", "version": 4, "cas": 3}


@pytest.mark.parametrize("stages", [{"current": 3}, {"current": 3, "pending": "4"}], ids=["none", "text"])
def test_nothing_pending_is_nothing_to_promote(app: Recorder, mimir: Mimir, stages: dict[str, Any]) -> None:
    app.on("GET /v1/secret/stages/app", 200, {"data": {"stages": stages}})
    outcome = mimir("kv", "promote", "secret/app")
    assert outcome.code == 1
    assert "--stage pending" in outcome.err
    assert [request.method for request in app.requests] == ["GET", "GET"]


def test_stages_are_a_table(app: Recorder, mimir: Mimir) -> None:
    app.on("GET /v1/secret/stages/app", 200, {"data": {"stages": {"current": 3, "b\x1b": 4}}})
    assert r"b\x1b" in mimir("kv", "stage", "get", "secret/app").out
    app.script["GET /v1/secret/stages/app"] = [(200, {"data": {}})]
    assert mimir("kv", "stage", "get", "secret/app").code == 3


# --- metadata -------------------------------------------------------------------------------------------------------

METADATA = {
    "current_version": 2,
    "owner": "",
    "custom_metadata": {"a": "b"},
    "versions": {
        "2": {"created_time": "t2", "deletion_time": "", "destroyed": False, "state": "enabled", "stages": ["current"],
              "created_by": {"name": "web", "entity_id": "e"}, "created_from": "10.0.0.1", "reason": "why\x1b"},
        "10": {"created_time": "t10", "deletion_time": "", "destroyed": True},
        "1": None,
    },
}  # fmt: skip


def test_metadata_tell_who_made_which_version(app: Recorder, mimir: Mimir) -> None:
    app.on("GET /v1/secret/metadata/app", 200, {"data": METADATA})
    lines = mimir("kv", "metadata", "get", "secret/app").out.splitlines()
    assert ["owner", "-"] in [line.split() for line in lines]
    assert lines[-2].split() == ["10", "destroyed", "-", "t10", "-", "-", "-", "-"]
    assert lines[-1].split() == ["2", "enabled", "current", "t2", "-", "web", "10.0.0.1", r"why\x1b"]


def test_metadata_of_another_shape_are_no_fault(app: Recorder, mimir: Mimir) -> None:
    app.on("GET /v1/secret/metadata/app", 200, {"data": {"versions": []}})
    assert mimir("kv", "metadata", "get", "secret/app").code == 3


# --- lists ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PAGE", 2)


def keys(*names: str, **details: Any) -> dict[str, Any]:
    return {"data": {"keys": list(names)} | ({"key_info": details} if details else {})}


def test_a_long_list_is_fetched_in_pages(app: Recorder, mimir: Mimir, small_pages: None) -> None:
    app.on(f"{LIST}?list=true&limit=2", 200, keys("a", "b"))
    app.on(f"{LIST}?list=true&limit=2&after=b", 200, keys("c/", "d"))
    app.on(f"{LIST}?list=true&limit=2&after=d", 404, {"errors": []})
    assert mimir("kv", "list", "secret").out.split()[2:] == ["a", "b", "c/", "d"]
    assert json.loads(mimir("kv", "list", "secret", "-o", "json").out)["data"]["keys"] == ["a", "b", "c/", "d"]


def test_a_short_page_is_the_last(app: Recorder, mimir: Mimir, small_pages: None) -> None:
    app.on(f"{LIST}?list=true&limit=2", 200, keys("a"))
    assert mimir("kv", "list", "secret").code == 0
    assert len(app.requests) == 2


@pytest.mark.parametrize("names", [("a", "b", "c"), ("b",)], ids=["more", "fewer"])
def test_an_appliance_without_pages_is_asked_once(
    app: Recorder, mimir: Mimir, small_pages: None, names: tuple[str, ...]
) -> None:
    app.answers(200, keys(*names))
    assert mimir("kv", "list", "secret").out.split()[2:] == list(names)
    assert len(app.requests) == 2


def test_an_appliance_that_repeats_itself_is_not_asked_for_ever(app: Recorder, mimir: Mimir, small_pages: None) -> None:
    app.answers(200, keys("a", "b"))
    assert mimir("kv", "list", "secret").code == 0
    assert len(app.requests) == 3


def test_limit_and_after_choose_a_part(app: Recorder, mimir: Mimir, small_pages: None) -> None:
    app.on(f"{LIST}?list=true&limit=2&after=x", 200, keys("y", "z"))
    app.on(f"{LIST}?list=true&limit=1&after=z", 200, keys("zz"))
    outcome = mimir("kv", "list", "secret", "--after", "x", "--limit", "3")
    assert outcome.out.split()[2:] == ["y", "z", "zz"]


LISTS = [
    (("secret/teams",), "secret/metadata/teams/?list=true"),
    (("-r", "secret/teams"), "secret/metadata/teams/?scan=true"),
    (("-mount=secret", "teams", "--detailed"), "secret/detailed-metadata/teams/?list=true"),
    (("-mount=secret", "--detailed", "-r"), "secret/detailed-metadata/?scan=true"),
    (("old",), "old/?list=true"),
    (("old/app", "-r"), "old/app/?scan=true"),
]


@pytest.mark.parametrize(("words", "target"), LISTS, ids=[" ".join(words) for words, _ in LISTS])
def test_where_names_are_asked_for(app: Recorder, mimir: Mimir, words: tuple[str, ...], target: str) -> None:
    app.answers(200, keys("a"))
    assert mimir("kv", "list", *words).code == 0
    assert app.targets()[-1] == f"GET {target}&limit=1000"


def test_details_stand_beside_the_names(app: Recorder, mimir: Mimir) -> None:
    app.answers(200, keys("a", "b/", "c", a={"current_version": 3, "owner": "web", "custom_metadata": {}}, c=7))
    rows = [line.split() for line in mimir("kv", "list", "secret", "--detailed").out.splitlines()[2:]]
    assert rows == [["a", "3", "-", "web", "-", "-"], ["b/", *"-----"], ["c", *"-----"]]


def test_an_empty_folder_and_a_wrong_path(app: Recorder, mimir: Mimir) -> None:
    app.answers(404, {"errors": []})
    assert "nothing is there" in mimir("kv", "list", "secret/teams").err
    mounted(app, "secret/metadata/teams")
    assert "did you mean secret/teams?" in mimir("kv", "list", "secret/metadata/teams").err


@pytest.mark.parametrize("data", [{}, {"keys": "abc"}, {"keys": [1]}], ids=["none", "text", "numbers"])
def test_a_list_of_another_shape_is_no_fault(app: Recorder, mimir: Mimir, data: dict[str, Any]) -> None:
    app.answers(200, {"data": data})
    assert mimir("kv", "list", "secret").code == 3


def test_an_engines_own_words_say_why_nothing_is_there(appliance: Recorder, mimir: Mimir) -> None:
    appliance.answers(404, {"data": None, "warnings": ["Invalid path for a versioned K/V secrets engine."]})
    assert "Invalid path for a versioned K/V secrets engine" in mimir("secret", "read", "secret/app").err


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("steps", "shown"), [([3], False), ([3, 4], True)], ids=["one", "two"])
def test_a_count_is_shown_from_the_second_page_on(
    monkeypatch: pytest.MonkeyPatch, steps: list[int], shown: bool
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal := _Terminal())
    with progress_in_pages("Listing", wanted=True) as advance:
        for step in steps:
            advance(step)
    assert ("Listing 7" in terminal.getvalue()) is shown
    assert bool(terminal.getvalue()) is shown
