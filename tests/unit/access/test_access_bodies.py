"""Loose bodies: what Vault's clients send is taken, what is wrong is named without its value."""

import msgspec
import pytest

from core.bodies import Base64Bytes, Duration, StringList, StringMap, parse_body
from core.errors import InvalidRequestError


class Item(msgspec.Struct):
    plaintext: Base64Bytes = Base64Bytes()
    context: Base64Bytes | None = None


class Body(msgspec.Struct, rename={"kind": "type"}):
    ttl: Duration = Duration(7)
    policies: StringList = msgspec.field(default_factory=StringList)
    meta: StringMap | None = None
    plaintext: Base64Bytes = Base64Bytes()
    num_uses: int = 3
    renewable: bool = True
    kind: str = "service"
    items: list[Item] = []


class Required(msgspec.Struct):
    token: str


@pytest.mark.parametrize(
    ("data", "member", "value"),
    [
        ({"ttl": 3600}, "ttl", 3600),
        ({"ttl": "3600"}, "ttl", 3600),
        ({"ttl": "2160h0m0s"}, "ttl", 2160 * 3600),
        ({"ttl": ""}, "ttl", 0),
        ({"ttl": None}, "ttl", 7),
        ({"policies": ["a", "b"]}, "policies", ["a", "b"]),
        ({"policies": "a, b,,"}, "policies", ["a", "b"]),
        ({"policies": "a"}, "policies", ["a"]),
        ({"policies": ""}, "policies", []),
        ({"policies": None}, "policies", []),
        ({"policies": [1, True]}, "policies", ["1", "true"]),
        ({"meta": {"version": 2, "on": True, "f": 1.5, "none": None, "s": "x"}}, "meta",
         {"version": "2", "on": "true", "f": "1.5", "none": "", "s": "x"}),
        ({"meta": None}, "meta", None),
        ({"plaintext": "aGk="}, "plaintext", b"hi"),
        ({"plaintext": "aG\r\nk=\n"}, "plaintext", b"hi"),
        ({"plaintext": ""}, "plaintext", b""),
        ({"num_uses": "10"}, "num_uses", 10),
        ({"num_uses": 10.0}, "num_uses", 10),
        ({"renewable": "false"}, "renewable", False),
        ({"renewable": "0"}, "renewable", False),
        ({"renewable": 1}, "renewable", True),
        ({"type": None}, "kind", "service"),
        ({"no_such_member": {"deep": [1]}}, "num_uses", 3),
    ],
)  # fmt: skip
def test_what_clients_send_is_taken(data, member, value):
    assert getattr(parse_body(data, Body), member) == value


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"ttl": "s3cret"}, 'ttl must be a number of seconds or a duration like "1h30m"'),
        ({"ttl": True}, 'ttl must be a number of seconds or a duration like "1h30m"'),
        ({"ttl": -1}, "ttl must not be negative"),
        ({"ttl": 2**60}, 'ttl must be a number of seconds or a duration like "1h30m"'),
        ({"policies": {"s3cret": 1}}, "policies must be a list of strings, or one string with commas between them"),
        ({"policies": [["s3cret"]]}, "policies must be a list of strings, or one string with commas between them"),
        ({"meta": "s3cret"}, "meta must be an object whose values are strings"),
        ({"meta": {"s3cret": ["s3cret"]}}, "meta must be an object whose values are strings"),
        ({"plaintext": "s3cret!!"}, "plaintext must be standard base64"),
        ({"plaintext": "aGk"}, "plaintext must be standard base64"),
        ({"plaintext": "aGk=s3cret"}, "plaintext must be standard base64"),
        ({"plaintext": "_-8="}, "plaintext must be standard base64"),
        ({"plaintext": "s3crét"}, "plaintext must be standard base64"),
        ({"plaintext": 5}, "plaintext must be standard base64 in a string"),
        ({"num_uses": True}, "num_uses must be a whole number"),
        ({"num_uses": "s3cret"}, "num_uses must be a whole number"),
        ({"num_uses": 1.5}, "num_uses must be a whole number"),
        ({"renewable": "s3cret"}, "renewable must be true or false"),
        ({"renewable": 2}, "renewable must be true or false"),
        ({"type": 5}, "type must be a string"),
        ({"items": "s3cret"}, "items must be a list"),
        ({"items": [{}, {"plaintext": "s3cret"}]}, "items[1].plaintext must be standard base64"),
        ([], "the request body must be a JSON object"),
        (None, "the request body must be a JSON object"),
    ],
)
def test_what_is_wrong_is_named_without_its_value(data, sentence):
    with pytest.raises(InvalidRequestError) as caught:
        parse_body(data, Body)
    assert caught.value.sentence == sentence
    assert caught.value.__cause__ is None


def test_a_missing_member_is_named():
    with pytest.raises(InvalidRequestError, match=r"^missing token$"):
        parse_body({"token": None}, Required)


def test_nulls_in_nested_structs_follow_their_type():
    assert parse_body({"items": [{"context": None}]}, Body).items[0].context is None


def test_values_are_plain_and_can_be_stored():
    body = parse_body({"ttl": "1h", "policies": "a", "meta": {"a": 1}, "plaintext": "aGk="}, Body)
    for parsed in (body, parse_body({}, Body)):
        kinds = [type(parsed.ttl), type(parsed.policies), type(parsed.plaintext)]
        assert kinds == [int, list, bytes]
        assert msgspec.json.decode(msgspec.json.encode(parsed))["ttl"] == parsed.ttl
    assert type(body.meta) is dict
