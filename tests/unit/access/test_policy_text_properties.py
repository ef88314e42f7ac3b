"""The parser against anything at all: what it takes it says again, and what it does not take it refuses, soon."""

import json
import time

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.access.policy_text import parse_policy
from appliance.access.rules import Conditions, PathRule, TimeWindow
from core.errors import InvalidRequestError

NAMES = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_word = st.text("abcxyz019_-", min_size=1, max_size=6)
_scalar = st.booleans() | st.integers(1 - 2**63, 2**63 - 1) | _word | st.sampled_from(["foo*", "*", ""])
_parameters = st.none() | st.dictionaries(_word, st.lists(_scalar, max_size=3), max_size=3)
_windows = st.builds(
    lambda days, span, zone: TimeWindow(days=tuple(sorted(days)), start=span[0], end=span[1], timezone=zone),
    st.frozensets(st.integers(0, 6), min_size=1),
    st.tuples(st.integers(0, 1439), st.integers(1, 1440)).filter(lambda span: span[0] != span[1]),
    st.sampled_from(["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires"]),
)
_conditions = st.builds(
    Conditions,
    source_cidrs=st.lists(st.sampled_from(["10.0.0.0/8", "2001:db8::/32", "192.0.2.7/32"]), unique=True).map(tuple),
    time_windows=st.lists(_windows, max_size=2).map(tuple),
    environment=st.lists(st.sampled_from(["prod", "dev", "ein Test"]), unique=True).map(tuple),
    require_reason=st.booleans(),
).map(lambda conditions: None if conditions == Conditions() else conditions)
_paths = st.lists(st.sampled_from(["a", "b-c", "+", "{{identity.entity.id}}", "ü", 'q"q']), min_size=1, max_size=3)
_rules = st.builds(
    PathRule,
    path=st.tuples(_paths, st.sampled_from(["", "/*"])).map(lambda parts: "/".join(parts[0]) + parts[1]),
    capabilities=st.frozensets(st.sampled_from(["read", "update", "list", "sudo"])).map(lambda c: tuple(sorted(c))),
    allowed_parameters=_parameters,
    denied_parameters=_parameters,
    required_parameters=st.lists(_word, unique=True, max_size=2).map(tuple),
    min_wrapping_ttl=st.integers(0, 60),
    max_wrapping_ttl=st.just(0) | st.integers(60, 600),
    conditions=_conditions,
    expires_at=st.none() | st.integers(1, 2**33).map(float),
)


def as_settings(rule):
    """The block of a rule, as JSON and HCL both can say it."""
    body = {"capabilities": list(rule.capabilities)}
    for name in ("allowed_parameters", "denied_parameters"):
        if getattr(rule, name) is not None:
            body[name] = getattr(rule, name)
    body |= {"required_parameters": list(rule.required_parameters), "min_wrapping_ttl": rule.min_wrapping_ttl}
    body |= {"max_wrapping_ttl": f"{rule.max_wrapping_ttl}s"}
    if rule.expires_at is not None:
        body["expiration"] = int(rule.expires_at)
    conditions = rule.conditions or Conditions()
    for name in ("source_cidrs", "environment"):
        if getattr(conditions, name):
            body[name] = list(getattr(conditions, name))
    if conditions.time_windows:
        body["time_window"] = [as_window(window) for window in conditions.time_windows]
    return body | {"require_reason": conditions.require_reason}


def as_window(window):
    start, end = (f"{minutes // 60:02}:{minutes % 60:02}" for minutes in (window.start, window.end))
    return {"days": [NAMES[day] for day in window.days], "hours": f"{start}-{end}", "timezone": window.timezone}


def as_hcl(rule):
    lines = []
    for name, value in as_settings(rule).items():
        if name == "time_window":
            lines += [
                f"{name} {{\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in one.items()) + "}" for one in value
            ]
        else:
            lines.append(f"{name} = {json.dumps(value, ensure_ascii=False).replace(': ', ' = ')}")
    return f"path {json.dumps(rule.path, ensure_ascii=False)} {{\n" + "\n".join(lines) + "\n}\n"


def without_lines(rules):
    return [msgspec.structs.replace(rule, line=0) for rule in rules]


@settings(deadline=None, max_examples=60)
@given(st.lists(_rules, max_size=3))
def test_what_is_written_comes_back_in_either_form(rules):
    assert without_lines(parse_policy("p", "# \n" + "\n".join(map(as_hcl, rules)))) == rules
    as_json = json.dumps({"path": [{rule.path: as_settings(rule)} for rule in rules]})
    assert list(parse_policy("p", as_json)) == rules
    wrapped = 'policy "p" {\n' + "\n".join(map(as_hcl, rules)) + "}"
    assert without_lines(parse_policy("p", wrapped)) == rules


@settings(deadline=None, max_examples=60)
@given(_rules)
def test_rules_survive_their_storage(rule):
    assert msgspec.json.decode(msgspec.json.encode(rule), type=PathRule) == rule


def check_taken_or_refused(text):
    """What is taken can be stored, what is not is refused by a sentence that may be shown; nothing else happens."""
    try:
        rules = parse_policy("p", text)
    except InvalidRequestError as exc:
        sentence = exc.sentence
    else:
        msgspec.json.encode(rules)
        return
    assert sentence.isprintable()
    assert len(sentence) < 2000


@pytest.mark.parametrize("where", ["", "conditions"])
def test_a_stored_limit_that_is_not_known_is_not_passed_over(where):
    body = {"path": "a", "capabilities": ["read"], "conditions": {"require_reason": True}}
    (body[where] if where else body)["approvals"] = 2
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(json.dumps(body), type=PathRule)


_fragments = st.sampled_from(
    [
        *(
            'path "a" {',
            "path",
            '"',
            "{",
            "}",
            "[",
            "]",
            "=",
            ",",
            "\n",
            "#",
            "/*",
            "*/",
            "<<X\n",
            "${",
            "%{",
            "\\",
            "{{",
        ),
        *("capabilities = [", '"read"', "time_window {", 'days = ["mon"]', "allowed_parameters = {", "5", "-", "1e999"),
        *(
            "null",
            "true",
            "policy",
            "é",
            "\x00",
            "\udc80",
            "\u2028",
            '{"path":',
            '"a":',
            ":",
            "[]",
            "9" * 40,
            "1.",
            ".",
        ),
    ]
)


@settings(deadline=None, max_examples=300)
@given(
    st.lists(_fragments, max_size=25).map(" ".join)
    | st.text(max_size=80)
    | st.binary(max_size=80).map(lambda octets: octets.decode(errors="surrogateescape"))
)
def test_any_text_is_taken_or_refused(text):
    check_taken_or_refused(text)
    check_taken_or_refused("{" + text)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
_KEYS = st.sampled_from(
    [
        *("capabilities", "policy", "allowed_parameters", "denied_parameters", "required_parameters", "comment"),
        *("min_wrapping_ttl", "max_wrapping_ttl", "expiration"),
        *("source_cidrs", "time_window", "environment", "require_reason"),
    ]
)
_BODY = st.dictionaries(
    _KEYS, _JSON | st.dictionaries(st.sampled_from(["days", "hours", "timezone"]), _JSON, max_size=3), max_size=3
)


@settings(deadline=None, max_examples=300)
@given(_BODY | _JSON)
def test_any_json_in_a_path_is_taken_or_refused(body):
    check_taken_or_refused(json.dumps({"path": {"a": body}}))


@pytest.mark.parametrize(
    "bomb",
    [
        '{"path": {"a": {"allowed_parameters": {"x": [' + "9" * 5000 + "]}}}}",
        '{"path": {"a": {"allowed_parameters": {"x": [' + "9" * 400 + "]}}}}",
        '{"path": {"a": {"min_wrapping_ttl": ' + "9" * 400 + "}}}",
        '{"path": {"a": {"expiration": ' + "9" * 400 + "}}}",
        '{"path": {"a": {"allowed_parameters": {"x": [1e999]}}}}',
        '{"path": {"a": {"allowed_parameters": {"x": [NaN]}}}}',
        '{"path": {"a": {"allowed_parameters": {"x": [-Infinity]}}}}',
        '{"path": {"a": {"allowed_parameters": {"x": ["\\ud800"]}}}}',
        '{"path": {"a": {"allowed_parameters": {"\\ud800": []}}}}',
        '{"path": {"a": {"\\ud800": []}}}',
        '{"\\ud800": 1}',
        '{"path": {"a": {"comment": ' + "[" * 900 + "]" * 900 + "}}}",
        '{"path": {"a": {"allowed_parameters": {"x": [' + "[" * 20 + "]" * 20 + "]}}}}",
        "{" + ", ".join(f'"{i}": 0' for i in range(20_000)) + ', "19999": 1}',
        'path "a" {\n allowed_parameters = { x = [' + "9" * 5000 + "] }\n}",
        'path "a" {\n allowed_parameters = { x = [99999999999999999999] }\n}',
        'path "a" {\n allowed_parameters = { x = [1e999] }\n}',
        'path "a" {\n min_wrapping_ttl = 1e999\n}',
        'path "a" {\n time_window {' + "\n x {" * 300 + "\n}" * 300 + "\n}\n}",
        "{" * 100_000,
        "}" * 100_000,
        "{}" * 100_000,
        "{" * 1_000_000,
        'path "a" {' + "{" * 20_000,
        "\ud800",
    ],
)
def test_bombs_and_what_cannot_be_stored_are_refused_soon(bomb):
    started = time.monotonic()
    with pytest.raises(InvalidRequestError):
        parse_policy("p", bomb)
    assert time.monotonic() - started < 20
