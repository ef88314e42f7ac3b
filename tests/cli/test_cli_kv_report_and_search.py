"""`mimir kv report` and `mimir kv search`: pages behind cursors, and what is shown of a row."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.conftest import Mimir, Recorder
from tests.cli.kv_script import mounted

REPORT = "GET /v1/secret/report?limit=10000"
ROW = {
    "name": "app\x1b",
    "owner": "",
    "classification": "secret",
    "reasons": ["no_owner", "unread"],
    "last_read": {"at": "2026-01-01T00:00:00Z", "by": "web", "entity_id": "e"},
}


@pytest.fixture
def app(appliance: Recorder) -> Recorder:
    mounted(appliance, "secret", "secret/teams/web")
    return appliance


def rows(*found: dict[str, Any], following: str = "") -> dict[str, Any]:
    return {"data": {"secrets": list(found), "next": following}}


def test_pages_are_followed_to_the_end_though_one_is_empty(app: Recorder, mimir: Mimir) -> None:
    app.on(REPORT, 200, rows(ROW, following="c1"))
    app.on(f"{REPORT}&after=c1", 200, rows(following="c2"))
    app.on(f"{REPORT}&after=c2", 200, rows({"name": "z"}))
    assert json.loads(mimir("kv", "report", "secret", "-o", "json").out)["data"] == {
        "secrets": [ROW, {"name": "z"}],
        "next": "",
    }
    lines = mimir("kv", "report", "secret").out.splitlines()
    assert lines[-2].split() == [r"app\x1b", "-", "secret", "web", "2026-01-01T00:00:00Z", "no_owner,", "unread"]
    assert lines[-1].split() == ["z", *"-----"]


ASKED = [
    (("report", "secret", "--overdue", "--unread-for", "90d"), "unread_for=90d&overdue=true"),
    (("report", "secret/teams/web", "--never-read", "-no-owner"),
     "no_owner=true&never_read=true&prefix=teams%2Fweb%2F"),
    (("search", "secret", "data base"), "q=data+base"),
    (("search", "secret/teams/web", "--owner", "x", "--custom-metadata", "a=b"),
     "owner=x&custom_metadata=a%3Db&prefix=teams%2Fweb%2F"),
    (("search", "secret", "--classification", "secret"), "classification=secret"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "query"), ASKED, ids=[" ".join(words) for words, _ in ASKED])
def test_what_is_asked_for_goes_into_the_query(app: Recorder, mimir: Mimir, words: tuple[str, ...], query: str) -> None:
    app.answers(200, rows())
    outcome = mimir("kv", *words)
    assert (outcome.code, outcome.out) == (0, "None.\n")
    assert app.targets()[-1] == f"GET secret/{words[0]}?{query}&limit=10000"


def test_a_find_tells_where_it_was_found(app: Recorder, mimir: Mimir) -> None:
    app.answers(200, rows({"name": "a", "owner": "web", "custom_metadata": {"k": "v"}, "matches": ["owner", "name"]}))
    found = mimir("kv", "search", "secret", "web").out.splitlines()[-1].split()
    assert found == ["a", "web", "-", '{"k":', '"v"}', "owner,", "name"]


def test_a_refusal_on_a_later_page_shows_nothing_at_all(app: Recorder, mimir: Mimir) -> None:
    app.on(REPORT, 200, rows(ROW, following="c1"))
    app.on(f"{REPORT}&after=c1", 403, {"errors": ["permission denied"]})
    outcome = mimir("kv", "report", "secret")
    assert (outcome.code, outcome.out) == (1, "")


def test_a_wrapped_page_would_be_of_no_use(app: Recorder, mimir: Mimir) -> None:
    assert mimir("kv", "report", "secret", "--wrap-ttl", "1m").code == 2
    assert app.requests == []


@pytest.mark.parametrize("data", [{}, {"secrets": {}}, {"secrets": ["a"]}], ids=["none", "object", "texts"])
def test_rows_of_another_shape_are_no_fault(app: Recorder, mimir: Mimir, data: dict[str, Any]) -> None:
    app.answers(200, {"data": data})
    assert mimir("kv", "report", "secret").code == 3
    assert mimir("kv", "search", "secret", "x").code == 3
