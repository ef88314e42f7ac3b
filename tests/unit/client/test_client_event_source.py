"""Server-sent events as the standard cuts them (WHATWG HTML, 9.2.6)."""

from __future__ import annotations

import io

import pytest

from client.errors import NoAnswerError
from client.event_source import MAX_LINE, lines_of, messages


def parsed(text: str):
    return [(m.data, m.kind, m.message_id) for m in messages(lines_of(io.BytesIO(text.encode())))]


CASES = {
    "one": ("data: a\n\n", [("a", "", "")]),
    "no-blank": ("data:a\n\n", [("a", "", "")]),
    "two-blanks": ("data:  a\n\n", [(" a", "", "")]),
    "lines-are-joined": ("data: a\ndata: b\n\n", [("a\nb", "", "")]),
    "crlf": ("id: 7\r\nevent: x\r\ndata: a\r\n\r\n", [("a", "x", "7")]),
    "comment": (": keep-alive\n\ndata: a\n\n", [("a", "", "")]),
    "the-id-stays": ("id: 7\ndata: a\n\ndata: b\n\n", [("a", "", "7"), ("b", "", "7")]),
    "the-kind-does-not": ("event: x\ndata: a\n\ndata: b\n\n", [("a", "x", ""), ("b", "", "")]),
    "an-id-alone-counts": ("id: 9\n\ndata: b\n\n", [("b", "", "9")]),
    "an-id-with-nul-does-not": ("id: 9\0\ndata: b\n\n", [("b", "", "")]),
    "cut-off": ("data: a\n\ndata: b\n", [("a", "", "")]),
    "no-data": ("event: x\n\n", []),
    "unknown-field": ("retry: 5\nfoo\ndata: a\n\n", [("a", "", "")]),
    "nothing": ("", []),
}


@pytest.mark.parametrize("name", CASES)
def test_messages_are_cut_as_the_standard_says(name):
    text, expected = CASES[name]
    assert parsed(text) == expected


def test_an_endless_line_is_refused():
    with pytest.raises(NoAnswerError):
        parsed("data: " + "a" * (MAX_LINE + 1))
