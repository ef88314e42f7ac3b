"""Text for people: cells, columns, addresses, base64."""

import pytest

from client.endpoint import parse_address
from client.errors import LocalError
from client.inputs import clean_base64
from client.table import cell, columns, duration
from client.text import printable


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        ("", ""),
        ([], "-"),
        (["a", None, 1], "a, -, 1"),
        ({}, "-"),
        ({"a": "\x1b"}, '{"a": "\\u001b"}'),
        ("a\tb", "a\\tb"),
        ("\u202egnirts", "\\u202egnirts"),
        ("grün", "grün"),
    ],
)
def test_a_cell_is_one_safe_line(value, text):
    assert cell(value) == text


def test_columns_without_rows_are_a_heading():
    assert columns(("A", "Bc"), []) == "A    Bc\n-    --"


@pytest.mark.parametrize(
    ("value", "text"), [(3600, "1h"), (5400, "1h30m"), (0, "0s"), (None, None), ("1h", "1h"), (True, True)]
)
def test_durations_are_written_for_people(value, text):
    assert duration(value) == text


def test_printable_keeps_what_is_printable():
    assert printable("a ü ✓") == "a ü ✓"


@pytest.mark.parametrize(
    ("text", "scheme", "host", "port", "prefix"),
    [
        ("http://127.0.0.1:8200", "http", "127.0.0.1", 8200, ""),
        ("https://mimir.example", "https", "mimir.example", 443, ""),
        ("http://h/", "http", "h", 80, ""),
        ("http://[::1]:8200/a/b/", "http", "::1", 8200, "/a/b"),
    ],
)
def test_an_address_is_taken_apart(text, scheme, host, port, prefix):
    endpoint = parse_address(text)
    assert (endpoint.scheme, endpoint.host, endpoint.port, endpoint.prefix) == (scheme, host, port, prefix)


@pytest.mark.parametrize(
    "text", ["", "h", "//h", "http:h", "http://:80", "http://h:x", "unix:run", "https://h#f", "http:// h"]
)
def test_a_malformed_address_is_refused(text):
    with pytest.raises(LocalError, match=r"write it as http://127\.0\.0\.1:8200"):
        parse_address(text)


@pytest.mark.parametrize("content", [b"a", b"a===", b"aGk=aGk=", b"aGk_", b"\x00", "ü".encode()])
def test_what_is_not_base64_is_refused(content):
    with pytest.raises(LocalError, match="pipe it through `base64`"):
        clean_base64(content, what="plaintext")


def test_base64_may_be_empty_and_wrapped():
    assert clean_base64(b"\n", what="plaintext") == ""
    assert clean_base64(b" aG\r\nk=\n", what="plaintext") == "aGk="
