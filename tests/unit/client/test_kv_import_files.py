"""Secrets in files: dotenv, JSON and rows of JSON."""

import io
import re

import pytest

from client.errors import LocalError
from client.exact_json import Number
from client.inputs import Inputs
from client.kv_moves.dotenv import parse_dotenv
from client.kv_moves.files import FileSecret, from_dotenv, from_json

DOTENV = [
    ("plain", "A=b", {"A": "b"}),
    ("empty", "A=\nB=", {"A": "", "B": ""}),
    ("export", "export A=b\n  export\tB = c ", {"A": "b", "B": "c"}),
    ("blanks", "\n  \nA = b c  \n\n", {"A": "b c"}),
    ("comments", "# x\nA=b # c\n  # y\nB=c#d", {"A": "b", "B": "c#d"}),
    ("comment at once", "A=#b\nC= # d", {"A": "#b", "C": ""}),
    ("names", "a.b-c_1=2", {"a.b-c_1": "2"}),
    ("equals", "A=b=c==", {"A": "b=c=="}),
    ("no interpolation", 'A=$B\nC="${A} \\$B"\nD=$(x)', {"A": "$B", "C": "${A} $B", "D": "$(x)"}),
    ("single", r"A='b\n#c\'d\\' # e", {"A": r"b\n#c'd" + "\\"}),
    ("double", r'A="b\n\t\"c\\\d" # e', {"A": 'b\n\t"c\\\\d'}),
    ("lines", 'A="b\n c # d\n"\nE=f', {"A": "b\n c # d\n", "E": "f"}),
    ("single lines", "A='b\nc'", {"A": "b\nc"}),
    ("backtick", "A=`b'\"\\n`", {"A": "b'\"\\n"}),
    ("carriage returns", "\ufeffA=b\r\nB='c\r\nd'\r\n", {"A": "b", "B": "c\nd"}),
    ("quotes inside", "A=b\"c'd", {"A": "b\"c'd"}),
    ("unicode", "A=ünï \N{KEY}", {"A": "ünï \N{KEY}"}),
]


@pytest.mark.parametrize(("text", "values"), [row[1:] for row in DOTENV], ids=[row[0] for row in DOTENV])
def test_dotenv(text: str, values: dict[str, str]) -> None:
    assert parse_dotenv(text) == values


BROKEN = [
    ("word", "A=b\nhush", "line 2 is not KEY=VALUE"),
    ("number", "1A=hush", "line 1 is not"),
    ("no end", "A=b\n\nB='hush\n\n", "line 3 begins a value in quotes that does not end"),
    ("no end, escaped", 'A="hush\\"', "does not end"),
    ("behind", "A='b' hush", "something behind a value in quotes"),
    ("twice", "A=hush\nB=c\nA=hush", "line 3 gives A a second time"),
    ("colon", "A: hush", "line 1 is not"),
]


@pytest.mark.parametrize(("text", "says"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_dotenv_that_is_none(text: str, says: str) -> None:
    with pytest.raises(LocalError, match=re.escape(says)) as caught:
        parse_dotenv(text)
    assert "hush" not in caught.value.sentence


def inputs(text: str) -> Inputs:
    return Inputs(io.BytesIO(text.encode()))


def test_a_dotenv_file_without_values_is_refused() -> None:
    with pytest.raises(LocalError, match="holds no KEY=VALUE"):
        from_dotenv(inputs("# nothing\n"), "-", "app")


@pytest.mark.parametrize("blank", ["", "\n", "  \n\t"], ids=["compact", "line", "blanks"])
def test_one_object(blank: str) -> None:
    text = blank + '{"apps/web": {"n": 1.10, "deep": {"a": [1]}},' + blank + '"/b/": {}}' + blank
    assert list(from_json(inputs(text), "-")) == [
        FileSecret("apps/web", {"n": Number("1.10"), "deep": {"a": [1]}}),
        FileSecret("b", {}),
    ]


def test_rows() -> None:
    rows = '{"path": "a", "data": {"x": 1}}\n\n{"data": {"path": "p", "data": "d"}, "path": "b/c"}'
    assert list(from_json(inputs(rows), "-")) == [
        FileSecret("a", {"x": 1}),
        FileSecret("b/c", {"path": "p", "data": "d"}),
    ]


def test_a_secret_may_be_called_path() -> None:
    assert list(from_json(inputs('{"path": {"a": 1}, "data": {"b": 2}}'), "-")) == [
        FileSecret("path", {"a": 1}),
        FileSecret("data", {"b": 2}),
    ]


def test_rows_may_be_longer_than_what_is_read_at_once() -> None:
    long = "x" * 200_000
    rows = "".join(f'{{"path": "a{number}", "data": {{"v": "{long}"}}}}\n' for number in range(3))
    assert [secret.name for secret in from_json(inputs(rows), "-")] == ["a0", "a1", "a2"]


JSON_BROKEN = [
    ("nothing", "", "is not JSON"),
    ("text", "hush", "is not JSON"),
    ("list", '[{"path": "a", "data": {}}]', "holds no secrets"),
    ("no secrets", "{}", "holds no secrets"),
    ("text for a secret", '{"a": {"b": 1}, "c": "hush"}', "under 'c' no object"),
    ("second row", '{"path": "a", "data": {}}\n{"path": "hush"}', "line 2 is no row"),
    ("row with more", '{"path": "a", "data": {}}\n{"path": "a", "data": {}, "x": "hush"}', "line 2 is no row"),
    ("empty path", '{"path": "/", "data": {}}', "empty path"),
    ("not a number", '{"a": {"b": NaN}}', "NaN"),
]


@pytest.mark.parametrize(("text", "says"), [row[1:] for row in JSON_BROKEN], ids=[row[0] for row in JSON_BROKEN])
def test_json_that_holds_no_secrets(text: str, says: str) -> None:
    with pytest.raises(LocalError, match=re.escape(says)) as caught:
        list(from_json(inputs(text), "-"))
    assert "hush" not in caught.value.sentence
