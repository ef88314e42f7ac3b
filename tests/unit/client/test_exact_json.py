"""Numbers leave the client as they were written."""

from __future__ import annotations

import json

import pytest
import yaml

from client import exact_json, exact_yaml

NUMBERS = ["0", "-0", "1", "1.0", "1.10", "-1.50e-7", "1E5", "1e400", "12345678901234567890123", "0.1", "9" * 5000]


@pytest.mark.parametrize("text", NUMBERS, ids=lambda text: text[:24])
def test_a_number_comes_back_as_it_was_written(text):
    assert exact_json.dumps(exact_json.loads(text)) == text
    assert exact_json.compact(exact_json.loads(f'{{"a":[{text}]}}')) == f'{{"a":[{text}]}}'.encode()


VALUES = [
    {},
    [],
    {"a": []},
    {"a": {}, "b": [1, "x", None, True, {"c": [[]]}]},
    {"ü\n\x1b": "\ud800 \u2028"},
    [[], {}, "", 0],
]


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
@pytest.mark.parametrize("indent", [None, 2])
def test_it_lays_out_as_pythons_own(value, indent):
    """A number that Python has no place for makes the writer our own."""
    marker = exact_json.Number("7")
    for shown in (value, [value, marker], {"first": value, "second": marker}):
        plain = json.loads(exact_json.compact(shown)) if shown is not value else value
        assert exact_json.dumps(shown, indent=indent) == json.dumps(plain, indent=indent, ensure_ascii=False)
        assert exact_json.compact(shown) == json.dumps(plain, separators=(",", ":")).encode()


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '{"a": -Infinity}', "", "{", "01", "1.", "\xff"])
def test_what_is_no_json_is_refused(text):
    with pytest.raises(ValueError):
        exact_json.loads(text)


def test_endless_nesting_is_refused_either_way():
    with pytest.raises(exact_json.NestingError):
        exact_json.loads("[" * 100_000)
    value = exact_json.Number("7")
    for _ in range(5000):
        value = [value]
    with pytest.raises(exact_json.NestingError):
        exact_json.dumps(value)


@pytest.mark.parametrize("text", ["1.10", "12345678901234567890123", "-0"])
def test_yaml_has_the_same_digits(text):
    shown = exact_yaml.dumps(exact_json.loads(f'{{"a": {text}}}'))
    assert shown == f"a: {text}"


def test_yaml_says_that_a_number_is_one_where_it_would_not_look_so():
    assert yaml.safe_load(exact_yaml.dumps({"a": exact_json.Number("1e400")})) == {"a": float("inf")}
