"""Policy text: both forms of HCL, JSON, the old keyword, and a named line for everything that is wrong."""

import contextlib
import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.access.default_policy import DEFAULT_RULES, DEFAULT_TEXT
from appliance.access.policy_text import MAX_TEXT, parse_policy, policy_name
from appliance.access.rules import CAPABILITIES, PathRule
from core.errors import InvalidRequestError

GUIDE = """\
# Policy: orders-api can only read its own database credentials
policy "orders-api" {
  path "database/creds/orders-api" {
    capabilities = ["read"]
  }

  # Deny access to everything else
  path "database/creds/*" {
    capabilities = ["deny"]
  }
}
"""


def rules(text, name="p"):
    return [(rule.path, rule.capabilities) for rule in parse_policy(name, text)]


def test_the_default_policy_is_compiled_as_it_is_shipped():
    assert parse_policy("default", DEFAULT_TEXT) == DEFAULT_RULES


def test_the_wrapped_form_of_the_guide():
    assert parse_policy("orders-api", GUIDE) == (
        PathRule(path="database/creds/orders-api", capabilities=("read",), line=3),
        PathRule(path="database/creds/*", capabilities=("deny",), line=8),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('path "a" { capabilities = ["read", "list",] }', [("a", ("list", "read"))]),
        ('path "a" {\n  capabilities = [\n    "read", # why\n    "list"\n  ]\n}', [("a", ("list", "read"))]),
        ('path "/a/b" { capabilities = ["sudo", "read"] }', [("a/b", ("read", "sudo"))]),
        ('path "a" { capabilities = ["read", "deny"] }', [("a", ("deny",))]),
        ('path "a" { capabilities = [] }', [("a", ())]),
        ('path "a" {}', [("a", ())]),
        ('path "a" { policy = "read" }', [("a", ("list", "read"))]),
        ('path "a" { policy = "write" }', [("a", ("create", "delete", "list", "read", "update"))]),
        ('path "a" { policy = "sudo" }', [("a", ("create", "delete", "list", "read", "sudo", "update"))]),
        ('path "a" { policy = "deny" }', [("a", ("deny",))]),
        ('path "a" {\n policy = "read"\n capabilities = ["patch"]\n}', [("a", ("list", "patch", "read"))]),
        ('path "a" { comment = "x" }', [("a", ())]),
        ('path "a\\"b" {}', [('a"b', ())]),
        ('// c\n/* d\n e */\npath "a" {}\r\npath "b" {}', [("a", ()), ("b", ())]),
        ('path "a" {}\npath "a" { capabilities = ["deny"] }', [("a", ()), ("a", ("deny",))]),
        ('name = "p"\npath "a" {}', [("a", ())]),
        ('policy "P" { path "a" {} }', [("a", ())]),
        ("# nothing yet", []),
        ('{"path": {"secret/*": {"capabilities": ["read"]}}}', [("secret/*", ("read",))]),
        ('{"path": [{"a": {"policy": "deny"}}, {"b": [{"comment": ""}]}]}', [("a", ("deny",)), ("b", ())]),
        ('{"policy": {"p": {"path": {"a": {}}}}}', [("a", ())]),
        ('  {"path": {}}', []),
    ],
)  # fmt: skip
def test_what_is_understood(text, expected):
    assert rules(text) == expected


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('path "a" {\n  capabilities = ["read"\n}\n', "policy, line 3: this is not HCL"),
        ('path "a" {\n  capabilities = ["read"]\n', "policy, line 3: this is not HCL"),
        ("path a b c", "policy, line 1: this is not HCL"),
        ('path "a" {\n\n  capabilities @ 5\n}', "policy, line 3: this is not HCL"),
        ('path "a" {\n  capabilities = ["reed"]\n}', 'policy, line 2, path "a": "reed" is no capability'),
        ('path "a" {\n  capabilities = "read"\n}', 'policy, line 2, path "a": capabilities must be a list of strings'),
        ('path "a" {\n  capabilities = [5]\n}', 'policy, line 2, path "a": capabilities must be a list of strings'),
        ('path "a" {\n  capabilities = read\n}', "policy, line 2: only literal strings"),
        ('path "a" {\n  capabilities = concat(["read"])\n}', "policy, line 2: only literal strings"),
        ('path "a" {\n  capabilities = ["${read}"]\n}', "policy, line 2: strings with"),
        ('path "a/${x}" {}', "policy, line 1: strings with"),
        ('path "a" {\n  policy = "root"\n}', 'policy, line 2, path "a": policy must be'),
        ('\n\npath "a" {\n  capabilites = ["read"]\n}', 'policy, line 4, path "a": "capabilites" is not known'),
        ('path "a" {\n  inner {}\n}', 'policy, line 2, path "a": "inner" is not known in a path block'),
        ('path "a" {}\nrule "b" {}', 'policy, line 2: "rule" is not known here'),
        ("\npaths = 5", 'policy, line 2: "paths" is not known here'),
        ('path "a" {\n policy = "read"\n policy = "deny"\n}', 'policy, line 3: "policy" is given twice'),
        ('path "a" "b" {}', "policy, line 1: write path"),
        ("path {}", "policy, line 1: write path"),
        ("path a {}", "policy, line 1: write path"),
        ('path = "a"', "policy, line 1: write path"),
        ('path "" {}', "policy, line 1: a path must be"),
        ('path "/" {}', "policy, line 1: a path must be"),
        ('path "a\tb" {}', "policy, line 1: a path must be"),
        ('path "a\\qb" {}', "policy, line 1: this string has an unknown escape"),
        (f'path "{"x" * 1025}" {{}}', "policy, line 1: a path must be"),
        ('path "a/+*" {}', 'policy, line 1, path "a/+*": "+*" is not allowed'),
        ('policy "other" { path "a" {} }', 'the text names the policy "other", but it is being written as "p"'),
        ('policy "p" {}\npolicy "p" {}', "policy, line 2: one policy block"),
        ('path "a" {}\npolicy "p" {}', "policy, line 2: one policy block"),
        ('policy "p" {\n  version = 1\n}', 'policy, line 2: "version" is not known in a policy block'),
        ('{"path": {"a": {"capabilities": ["read"]}', "policy, line 1: this is not JSON"),
        ('{"path":\n\n oops}', "policy, line 3: this is not JSON"),
        ('{"paths": {}}', 'policy: "paths" is not known here'),
        ('{"path": {"a": {"capabilites": []}}}', 'policy, line 1, path "a": "capabilites" is not known'),
        ('{"path": {"a": 5}}', 'policy: "path" must hold objects'),
        ('{"path": "a"}', 'policy: "path" must hold objects'),
        ('{"path": {"a": {"policy": "deny"}, "a": {"policy": "read"}}}', 'policy: "a" is given twice'),
        ('{"policy": {}}', 'the policy must hold one "policy"'),
        ('{"policy": {"p": {"path": {}}, "q": {}}}', 'the policy must hold one "policy"'),
    ],
)
def test_what_is_wrong_is_refused_by_its_line(text, sentence):
    with pytest.raises(InvalidRequestError) as caught:
        parse_policy("p", text)
    assert caught.value.sentence.startswith(sentence)


@pytest.mark.parametrize(
    ("setting", "field", "value"),
    [
        ('allowed_parameters = { "Foo" = [], bar = ["a", 5] }', "allowed_parameters", {"foo": [], "bar": ["a", 5]}),
        ('allowed_parameters = { "*" = [] }', "allowed_parameters", {"*": []}),
        ('denied_parameters = { "x" = [true] }', "denied_parameters", {"x": [True]}),
        ("denied_parameters = {}", "denied_parameters", {}),
        ('required_parameters = ["a", "b"]', "required_parameters", ("a", "b")),
        ('min_wrapping_ttl = "1m"', "min_wrapping_ttl", 60),
        ("max_wrapping_ttl = 90", "max_wrapping_ttl", 90),
    ],
)
def test_constraints_are_parsed(setting, field, value):
    (rule,) = parse_policy("p", f'path "a" {{\n  capabilities = ["read"]\n  {setting}\n}}')
    assert getattr(rule, field) == value


@pytest.mark.parametrize(
    "setting",
    [
        'mfa_methods = ["a"]',
        "pagination_limit = 5",
        'list_scan_response_keys_filter_path = "x"',
        'control_group = { ttl = "1h" }',
        'control_group {\n factor "ops" {\n  identity {\n   approvals = 2\n  }\n }\n }',
    ],
)
def test_openbao_settings_that_nothing_enforces_are_refused(setting):
    with pytest.raises(InvalidRequestError, match=r'line 2, path "a": .* is not enforced by this version'):
        parse_policy("p", f'path "a" {{\n  {setting}\n}}')


@pytest.mark.parametrize(
    "setting",
    ['min_wrapping_ttl = "soon"', "max_wrapping_ttl = -1", "required_parameters = 5", 'allowed_parameters = ["a"]',
     'allowed_parameters = { a = "b" }', "allowed_parameters = { a = [[[[[1]]]]] }",
     "allowed_parameters = { a = [], a = [] }", "min_wrapping_ttl = 9\n  max_wrapping_ttl = 5"],
)  # fmt: skip
def test_malformed_constraints_are_refused(setting):
    with pytest.raises(InvalidRequestError, match=r"line [12]"):
        parse_policy("p", f'path "a" {{\n  {setting}\n}}')


@pytest.mark.parametrize(
    "bomb",
    [
        "[" * 50_000,
        'path "a" { capabilities = ' + "[" * 20_000 + "]" * 20_000 + " }",
        'path "a" {' * 2_000,
        'path "a" {\n' * 500 + "}\n" * 500,
        '{"path":' * 50_000,
        '{"path": {"a": {"capabilities": ' + "[" * 50_000 + "]" * 50_000 + "}}}",
        "/*" * 5_000,
        "<<X\n" * 500,
        'path "a" { capabilities = ["' + "\\" * 20_001,
        "(" * 5_000 + "1" + ")" * 5_000,
    ],
)
def test_bombs_are_refused_soon(bomb):
    started = time.monotonic()
    with pytest.raises(InvalidRequestError):
        parse_policy("p", bomb)
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("text", ["#" * (MAX_TEXT + 1), "é" * (MAX_TEXT // 2 + 1), "x" * 2**20])
def test_text_over_the_limit_is_not_even_parsed(text):
    with pytest.raises(InvalidRequestError, match="256 KiB"):
        parse_policy("p", text)


_SAFE = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=20)
_RULES = st.lists(
    st.tuples(
        _SAFE.filter(lambda path: path.strip("/") and "+*" not in path and "{{" not in path),
        st.lists(st.sampled_from(sorted(CAPABILITIES)), max_size=3),
    ),
    max_size=5,
)


def _quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@settings(max_examples=100, deadline=None)
@given(_RULES)
def test_hcl_and_json_say_the_same(written):
    """What is written in either form comes back as the same rules."""
    written = [(path, caps) for path, caps in written if "${" not in path and "%{" not in path]
    hcl = "\n".join(f"path {_quoted(path)} {{ capabilities = {json.dumps(caps)} }}" for path, caps in written)
    as_json = json.dumps({"path": [{path: {"capabilities": caps}} for path, caps in written]})
    expected = [
        (path.removeprefix("/"), ("deny",) if "deny" in caps else tuple(sorted(set(caps)))) for path, caps in written
    ]
    assert rules(hcl) == expected
    assert rules(as_json) == expected


def test_a_long_comment_is_one_token():
    assert rules("# a b c d\n" * 10_000 + "/* " + "x " * 50_000 + '*/ path "a" {}') == [("a", ())]


@pytest.mark.parametrize(
    "text", ["a = 1" + "+1" * 30_000, 'path "a" {}\n' * 12_000, "\n" * 50_000, "#\n" * 50_000, '"" ' * 50_000]
)
def test_text_with_too_many_tokens_is_not_even_parsed(text):
    with pytest.raises(InvalidRequestError, match="too long"):
        parse_policy("p", text)


@pytest.mark.parametrize("text", ["/*" * 100_000, '"' * 200_000, "/* " * 60_000, "\\" * 200_000, "#" * 200_000])
def test_counting_tokens_takes_linear_time(text):
    started = time.monotonic()
    with contextlib.suppress(InvalidRequestError):
        parse_policy("p", text)
    assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    "name", ["", " ", "a/b", "../x", ".", "..", "a b", "a,b", "é", "a\nb", "a\x00", "x" * 129, "%2f", "\u212a"]
)
def test_names_that_could_be_mistaken_are_refused(name):
    with pytest.raises(InvalidRequestError, match="policy name"):
        policy_name(name)


def test_names_are_lower_cased():
    assert policy_name(" Orders-API ") == "orders-api"
