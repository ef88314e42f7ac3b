"""`mimir events …`: what is asked for, how it is printed, and how a broken stream goes on."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

from client.errors import DeniedError, NoAnswerError
from client.event_source import Message
from client.session import Session
from client.subscription import follow
from tests.cli.conftest import Mimir, Recorder

HOOK = "GET /v1/sys/events/webhooks/deploy"
STREAM = "GET /v1/sys/events/subscribe/*"


def event(number: int, **data: object) -> bytes:
    body = json.dumps({"id": f"e-{number}", "data": data}).encode()
    return b"id: %d\nevent: kv-v2/data-write\ndata: %b\n\n" % (number, body)


END = b'event: end\ndata: {"reason": "the token was revoked"}\n\n'


class Enough(Exception):  # noqa: N818 - no error: the test has seen what it wanted
    """Ends a stream that has no end."""


def followed(appliance: Recorder, *, after: str = "", breaks: int = 1) -> tuple[list[Message], list[str], list[float]]:
    """Messages until so many breaks, what was told, and the pauses."""
    client = Session({"MIMIR_ADDR": appliance.address, "MIMIR_TOKEN": "t"}).client()
    messages: list[Message] = []
    told: list[str] = []
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == breaks:
            raise Enough

    query = {"after": after} if after else {}
    with contextlib.suppress(Enough):
        for message in follow(client, "sys/events/subscribe/*", query, tell=told.append, pause=pause):
            messages.append(message)  # noqa: PERF402 - what came before the exception is wanted
    return messages, told, pauses


def test_each_event_is_a_line_of_json(appliance: Recorder, mimir: Mimir) -> None:
    appliance.answers(200, b": hello\n\n" + event(1, path="ü") + event(2, path="\x9b31m") + event(3))
    outcome = mimir("events", "subscribe", "--count", "2")
    assert outcome.code == 0
    first, second = outcome.out.splitlines()
    assert first == '{"id": "e-1", "data": {"path": "ü"}, "sequence": "1"}'
    assert json.loads(second)["data"] == {"path": "\x9b31m"}
    assert second.isprintable()
    assert appliance.only.headers["Accept"] == "text/event-stream"


def test_numbers_of_an_event_keep_their_digits(appliance: Recorder, mimir: Mimir) -> None:
    appliance.answers(200, b'data: {"n": 1.10}\n\n')
    assert mimir("events", "subscribe", "--count", "1").out == '{"n": 1.10}\n'


def test_a_field_alone_and_yaml(appliance: Recorder, mimir: Mimir) -> None:
    appliance.answers(200, event(1, path="a"))
    assert mimir("events", "subscribe", "--count", "1", "--field", "path").raw == b"a\n"
    assert (
        mimir("events", "subscribe", "--count", "1", "-o", "yaml").out
        == "---\nid: e-1\ndata:\n  path: a\nsequence: '1'\n"
    )


def test_what_is_asked_for_goes_into_path_and_query(appliance: Recorder, mimir: Mimir) -> None:
    appliance.answers(200, event(1))
    mimir("events", "subscribe", "kv-v2/data-*", "--path-prefix", "secret/data/a b", "--after", "7", "--count", "1")
    assert appliance.only.target == "/v1/sys/events/subscribe/kv-v2/data-*?path_prefix=secret%2Fdata%2Fa+b&after=7"


def test_a_broken_stream_goes_on_behind_the_last_event(appliance: Recorder) -> None:
    appliance.on(f"{STREAM}?after=7", 200, event(8) + event(9)[:-1])
    appliance.on(STREAM, 200, event(9))
    messages, told, pauses = followed(appliance, after="7", breaks=2)
    assert [request.headers.get("Last-Event-ID") for request in appliance.requests] == [None, "8"]
    assert [request.target for request in appliance.requests][1] == "/v1/sys/events/subscribe/*"
    assert [message.message_id for message in messages] == ["8", "9"]
    assert pauses == [1, 1]
    assert "trying again in 1 s" in told[0]


def test_pauses_grow_to_half_a_minute_and_an_event_makes_them_short_again(appliance: Recorder) -> None:
    appliance.on(STREAM, 200, b"")
    for _ in range(6):
        appliance.on(STREAM, 503, {"errors": ["sealed"]})
    appliance.on(STREAM, 200, event(1))
    _, told, pauses = followed(appliance, breaks=8)
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 1]
    assert "sealed" in told[1]


def test_the_end_of_a_stream_is_told_and_a_refusal_ends_it(appliance: Recorder, mimir: Mimir) -> None:
    appliance.on(STREAM, 200, event(1) + END)
    appliance.on(STREAM, 403, {"errors": ["permission denied"]})
    client = Session({"MIMIR_ADDR": appliance.address, "MIMIR_TOKEN": "t"}).client()
    told: list[str] = []
    with pytest.raises(DeniedError):
        list(follow(client, "sys/events/subscribe/*", {}, tell=told.append, pause=lambda _: None))
    assert told == ["the token was revoked; trying again in 1 s"]


@pytest.mark.parametrize(("status", "code"), [(403, 1), (400, 1), (404, 1), (503, 4), (429, 4)])
def test_a_stream_that_never_began_is_an_error_like_any(
    appliance: Recorder, mimir: Mimir, status: int, code: int
) -> None:
    appliance.answers(status, {"errors": ["no"]})
    assert mimir("events", "subscribe").code == code
    assert len(appliance.requests) == 1


def test_nobody_listening_is_no_answer(mimir: Mimir) -> None:
    assert mimir("events", "subscribe", MIMIR_ADDR="http://127.0.0.1:1").code == 3


@pytest.mark.parametrize("data", [b"[]", b"hello", b"NaN"], ids=["list", "text", "nan"])
def test_a_message_that_is_no_event_is_no_fault(appliance: Recorder, mimir: Mimir, data: bytes) -> None:
    appliance.answers(200, b"data: %b\n\n" % data)
    outcome = mimir("events", "subscribe", "--count", "1")
    assert (outcome.code, outcome.out) == (NoAnswerError.exit_code, "")


@pytest.mark.parametrize("words", [("--count", "0"), ("--wrap-ttl", "1m"), ("a", "b")], ids=" ".join)
def test_a_subscription_that_cannot_be(appliance: Recorder, mimir: Mimir, words: tuple[str, ...]) -> None:
    assert mimir("events", "subscribe", *words).code == 2
    assert appliance.requests == []


# --- webhooks -------------------------------------------------------------------------------------------------------


def test_a_webhook_is_made_of_its_options(appliance: Recorder, mimir: Mimir, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text("PEM")
    appliance.on(HOOK, 404, {"errors": []})
    appliance.gives(key="whsec_abc", name="deploy")
    outcome = mimir(
        *("events", "webhook", "create", "deploy", "--url", "https://a.example/h", "--type", "kv-v2/*"),
        *("--path-prefix", "secret/data/a", "--path-prefix", "secret/data/b", "--disabled", "--receiver-ca", f"@{ca}"),
    )
    assert "whsec_abc" in outcome.out
    assert appliance.targets()[-1] == "POST sys/events/webhooks/deploy"
    assert appliance.requests[-1].json == {
        "url": "https://a.example/h",
        "event_types": ["kv-v2/*"],
        "path_prefixes": ["secret/data/a", "secret/data/b"],
        "enabled": False,
        "ca_cert": "PEM",
    }


@pytest.mark.parametrize(
    "words",
    [
        ("create", "a"),
        ("update", "a"),
        ("replay", "a"),
        ("replay", "a", "--after", "x"),
        ("test",),
        ("create", "", "--url", "https://a.example"),
    ],
    ids=" ".join,
)
def test_a_webhook_command_that_lacks_something(appliance: Recorder, mimir: Mimir, words: tuple[str, ...]) -> None:
    assert mimir("events", "webhook", *words).code == 2
    assert appliance.requests == []


def test_a_key_is_not_written_on_the_command_line(appliance: Recorder, mimir: Mimir) -> None:
    words = ("events", "webhook", "create", "a", "--url", "https://a.example", "--key")
    outcome = mimir(*words, "whsec_geheim")
    assert outcome.code == 2
    assert "geheim" not in outcome.err
    assert appliance.requests == []
    appliance.on("GET /v1/sys/events/webhooks/a", 404, {"errors": []})
    appliance.answers(204)
    outcome = mimir(*words, "-", stdin=b"whsec_geheim\n")
    assert outcome.out == "Success! The webhook a is made.\n"
    assert appliance.requests[-1].json["key"] == "whsec_geheim"


def test_create_changes_nothing_that_is_there_and_update_makes_nothing(appliance: Recorder, mimir: Mimir) -> None:
    words = ("deploy", "--url", "https://a.example")
    appliance.gives(name="deploy")
    assert "update" in mimir("events", "webhook", "create", *words).err
    appliance.answers(404, {"errors": []})
    assert "create" in mimir("events", "webhook", "update", *words).err
    assert {request.method for request in appliance.requests} == {"GET"}


def test_a_test_message_that_was_not_taken_is_an_exit_code(appliance: Recorder, mimir: Mimir) -> None:
    appliance.gives(delivered=False, status=500, error="the receiver answered 500")
    outcome = mimir("events", "webhook", "test", "deploy")
    assert outcome.code == 1
    assert "the receiver answered 500" in outcome.out
    appliance.gives(delivered=True, status=200, error="")
    assert mimir("events", "webhook", "test", "deploy").code == 0


def test_a_webhook_shows_how_it_is_going(appliance: Recorder, mimir: Mimir) -> None:
    appliance.gives(name="deploy", url="https://a.example", ca_cert="", status={"pending": 3, "last_error": "x\x1b"})
    shown = mimir("events", "webhook", "read", "deploy").out
    assert r"last_error    x\x1b" in shown
    assert "ca_cert    -" in shown
    appliance.gives(keys=["deploy"], key_info={"deploy": {"url": "https://a.example", "enabled": True}})
    assert mimir("events", "webhook", "list").out.split()[-3:] == ["deploy", "https://a.example", "true"]
