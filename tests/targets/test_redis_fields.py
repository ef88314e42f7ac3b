"""What may be written of a connection to Redis and of its roles; no server."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InvalidRequestError
from dynamic.target import ConnectionDetails, StatementKind
from dynamic.targets.redis import PLUGIN
from dynamic.targets.redis_address import Address, address_of
from dynamic.targets.redis_rules import parse_rules

SECRET = "s3cr3t-password"


def address(username: str = "mimir", password: str = SECRET, **options: Any) -> Address:
    return address_of(ConnectionDetails(name="cache-db", username=username, password=password, options=options))


@pytest.mark.parametrize(
    ("options", "hosts"),
    [
        ({"host": "redis.example.com"}, ["redis.example.com:6379"]),
        ({"host": "r1", "port": 7000}, ["r1:7000"]),
        ({"host": "r1", "port": "7000"}, ["r1:7000"]),
        ({"host": "h1:1,h2", "port": 7000}, ["h1:1", "h2:7000"]),
        ({"host": "::1"}, ["[::1]:6379"]),
        ({"host": "[2001:db8::1]:7000"}, ["[2001:db8::1]:7000"]),
        ({"connection_url": "rediss://h1:6380,h2/0"}, ["h1:6380", "h2:6379"]),
        ({"connection_url": "redis://{{username}}:{{password}}@localhost:7000"}, ["localhost:7000"]),
        ({"connection_url": "valkeys://h1"}, ["h1:6379"]),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else None,
)
def test_hosts_of_redis(options: dict[str, Any], hosts: list[str]) -> None:
    assert [str(host) for host in address(**options).hosts] == hosts


def test_credentials_in_a_redis_url_are_unquoted() -> None:
    found = address(username="", password="", connection_url="rediss://app%40x:p%2Fw%3A@h1")
    assert (found.username, found.password) == ("app@x", "p/w:")


def test_without_a_name_redis_is_asked_as_default() -> None:
    assert address(username="", host="localhost").username == "default"


@pytest.mark.parametrize(
    ("options", "is_tls"),
    [
        ({"host": "localhost"}, False),
        ({"host": "127.0.0.1"}, False),
        ({"host": "localhost", "tls": True}, True),
        ({"host": "h1"}, True),
        ({"host": "localhost,h1"}, True),
        ({"host": "h1", "tls": "false"}, False),
        ({"connection_url": "redis://localhost"}, False),
        ({"connection_url": "rediss://localhost"}, True),
        ({"connection_url": "redis://h1", "tls": False}, False),
    ],
    ids=lambda value: str(value)[:50] if isinstance(value, dict) else None,
)
def test_redis_is_reached_by_tls_unless_it_is_near_or_somebody_says_so(options: dict[str, Any], is_tls: bool) -> None:
    tls = address(**options).tls
    assert (tls is not None) is is_tls
    assert tls is None or tls.check_hostname


def test_insecure_tls_of_redis_takes_any_certificate() -> None:
    tls = address(host="h1", insecure_tls="true").tls
    assert tls is not None
    assert not tls.check_hostname


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "host is required"),
        ({"host": ""}, "host is required"),
        ({"host": 7}, "host must be a string"),
        ({"host": "localhost://127.0.0.1"}, "port must be a whole number"),
        ({"host": "h1,"}, "host must name hosts"),
        ({"host": "h1:"}, "host must name hosts"),
        ({"host": "a b"}, "host must name hosts"),
        ({"host": "[::1"}, "host must name hosts"),
        ({"host": "1:2:3"}, "host must name hosts"),
        ({"host": "h1:x"}, "port must be a whole number"),
        ({"host": "h1", "port": 0}, "port must be between 1 and 65535"),
        ({"host": "h1", "port": 65536}, "port must be between"),
        ({"host": "h1", "port": True}, "port must be a whole number"),
        ({"host": "h1", "port": "-1"}, "port must be a whole number"),
        ({"host": "h1", "tls": "perhaps"}, "tls must be true or false"),
        ({"host": "h1", "tls": False, "ca_cert": "x"}, "are for connections with TLS"),
        ({"host": "h1", "ca_cert": "no PEM"}, "CA certificates must be PEM"),
        ({"host": "h1", "tls_certificate": "x"}, "belong together"),
        ({"host": "h1", "tls_certificate": "x", "private_key": "y"}, "belong together"),
        ({"connection_url": "redis://h1"}, "in the clear: write rediss://"),
        ({"connection_url": "redis://localhost", "tls": True}, "write rediss://"),
        ({"connection_url": "rediss://h1", "tls": False}, "say one thing"),
        ({"connection_url": "rediss://h1", "host": "h2"}, "give one or the other"),
        ({"connection_url": "http://h1"}, "must be a URL such as"),
        ({"connection_url": "h1:6379"}, "must be a URL such as"),
        ({"connection_url": "rediss://h1?ssl_cert_reqs=none"}, "takes no parameters"),
        ({"connection_url": "rediss://h1/etc/passwd"}, "number of a database"),
        ({"connection_url": "rediss://"}, "must name hosts"),
        ({"connection_url": "rediss://[::1"}, "must name hosts"),
        ({"connection_url": "rediss://h1\n"}, "never"),
        ({"connection_url": f"rediss://u:{SECRET}\x00@h1"}, "must be a URL such as"),
    ],
    ids=lambda value: ascii(value)[:60] if isinstance(value, dict) else "",
)
def test_bad_fields_of_redis(options: dict[str, Any], sentence: str) -> None:
    if sentence == "never":  # space at the ends is nothing
        assert address(**options).hosts
        return
    with pytest.raises(InvalidRequestError) as caught:
        address(**options)
    assert sentence in caught.value.sentence
    assert SECRET not in caught.value.sentence


@pytest.mark.parametrize("mark", ["{{username}}", "{{password}}"])
def test_a_mark_in_a_redis_url_needs_its_field(mark: str) -> None:
    with pytest.raises(InvalidRequestError, match="was given"):
        address(username="", password="", connection_url=f"rediss://{mark}:x@h1")


def test_redis_needs_a_password() -> None:
    with pytest.raises(InvalidRequestError, match="password is required"):
        address(password="", host="localhost")


@pytest.mark.parametrize(
    "options",
    [{"persistence_mode": "RDB"}, {"max_open_connections": 0}, {"max_open_connections": "many"}],
    ids=["mode", "none", "words"],
)
def test_bad_options_of_redis(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError):
        PLUGIN.open(ConnectionDetails(name="c", password=SECRET, options={"host": "localhost"} | options))


# --- rules --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statements", "rules"),
    [
        ((), ("~*", "+@read")),
        (('["~cache:*", "+@read"]',), ("~cache:*", "+@read")),
        (("~cache:* +@read",), ("~cache:*", "+@read")),
        (("~cache:*", "+@read"), ("~cache:*", "+@read")),
        (('["%R~jobs:*", "%RW~a[0-9]?\\\\*", "&news.*"]',), ("%R~jobs:*", "%RW~a[0-9]?\\*", "&news.*")),
        (("allkeys resetchannels -@all +config|get -@dangerous",), None),
        (("+get (+set ~x:* -@read)",), ("+get", "(+set ~x:* -@read)")),
        (("~{user}:* +json.get +FT.SEARCH",), None),
    ],
    ids=["default", "json", "words", "list", "kinds", "plain", "selector", "modules"],
)
def test_rules_of_redis(statements: tuple[str, ...], rules: tuple[str, ...] | None) -> None:
    assert parse_rules(statements) == (rules or tuple(statements[0].split()))
    PLUGIN.check_statements(StatementKind.CREATION, statements)


@pytest.mark.parametrize(
    "rule",
    [">hunter2", "<hunter2", "#" + "0" * 64, "!" + "0" * 64, "on", "OFF", "nopass", "NoPass", "resetpass", "reset"],
)
@pytest.mark.parametrize("shape", ['["~*", "%s"]', "~* %s", "(+get %s)"], ids=["json", "words", "selector"])
def test_a_redis_role_never_carries_passwords_or_switches(rule: str, shape: str) -> None:
    with pytest.raises(InvalidRequestError, match="passwords and switches are set by the engine") as caught:
        PLUGIN.check_statements(StatementKind.CREATION, (shape % rule,))
    assert "hunter2" not in caught.value.sentence


@pytest.mark.parametrize(
    "statement",
    [
        '["~*", 7]',
        '{"rules": []}',
        '["~*"',
        '"~*"',
        "read",
        "+",
        "+@",
        '~a"b',
        '["~a b"]',
        '["~a\\n>x"]',
        '[""]',
        "(+get ~x",
        "((+get))",
        "+get)",
        "%Z~x",
        "+get;flushall",
        "{{name}}",
        "+@read " * 300,
    ],
)
def test_what_is_no_rule_of_redis(statement: str) -> None:
    with pytest.raises(InvalidRequestError, match="creation_statements"):
        PLUGIN.check_statements(StatementKind.CREATION, (statement,))


@settings(max_examples=200, deadline=None)
@given(st.text("+-@~&%RWabon>#<!( )\"'\n", max_size=12))
def test_no_text_becomes_more_than_rules_of_redis(text: str) -> None:
    try:
        rules = parse_rules((text,)) + parse_rules((json.dumps([text]),))
    except InvalidRequestError:
        return
    for part in " ".join(rules).replace("(", " ").replace(")", " ").split():
        assert part[0] in "+-~&%a"
        assert not {'"', "'"} & set(part)


@pytest.mark.parametrize(
    "kind",
    [
        StatementKind.REVOCATION,
        StatementKind.ROLLBACK,
        StatementKind.RENEWAL,
        StatementKind.ROTATION,
        StatementKind.ROOT_ROTATION,
    ],
)
def test_redis_takes_no_other_statements(kind: StatementKind) -> None:
    PLUGIN.check_statements(kind, ())
    with pytest.raises(InvalidRequestError, match=kind.value):
        PLUGIN.check_statements(kind, ("ACL DELUSER {{name}}",))


@pytest.mark.parametrize("statement", ["GET 'x", '["GET", 7]', "[]", "   "])
def test_verify_statements_of_redis_are_commands(statement: str) -> None:
    PLUGIN.check_statements(StatementKind.VERIFICATION, ("GET cache:1", '["GET", "a b"]'))
    with pytest.raises(InvalidRequestError, match="verify_statements"):
        PLUGIN.check_statements(StatementKind.VERIFICATION, (statement,))
