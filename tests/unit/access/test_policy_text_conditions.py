"""Mimir's conditions and OpenBao's expiry as policies write them, in HCL and JSON; each error with its line."""

import json

import pytest

from appliance.access.policy_text import parse_policy
from appliance.access.rules import Conditions, PathRule, TimeWindow
from core.errors import InvalidRequestError

OFFICE = TimeWindow(days=(0, 1, 2, 3, 4), start=480, end=1080, timezone="Europe/Berlin")
SUNDAY = TimeWindow(days=(6,))

FULL = """\
path "secret/prod/*" {
  capabilities = ["read"]
  source_cidrs = ["10.0.0.0/8", "192.0.2.7"]
  time_window {
    days     = ["mon-fri"]
    hours    = "08:00-18:00"
    timezone = "Europe/Berlin"
  }
  time_window {
    days = ["sun"]
  }
  environment    = ["prod", "stage"]
  require_reason = true
}
"""
CONDITIONS = Conditions(
    source_cidrs=("10.0.0.0/8", "192.0.2.7/32"),
    time_windows=(OFFICE, SUNDAY),
    environment=("prod", "stage"),
    require_reason=True,
)


def conditions(*settings):
    text = "\n".join(['path "a" {', 'capabilities = ["read"]', *settings, "}"])
    return parse_policy("p", text)[0].conditions


def windows(value):
    return conditions(f"time_window = {value}").time_windows


def refused(text):
    with pytest.raises(InvalidRequestError) as caught:
        parse_policy("p", text)
    return caught.value.sentence


def test_all_conditions_as_blocks():
    (rule,) = parse_policy("p", FULL)
    assert rule == PathRule(path="secret/prod/*", capabilities=("read",), line=1, conditions=CONDITIONS)


def test_all_conditions_in_json():
    body = {
        "capabilities": ["read"],
        "source_cidrs": ["10.0.0.0/8", "192.0.2.7"],
        "time_window": [
            {"days": ["mon-fri"], "hours": "08:00-18:00", "timezone": "Europe/Berlin"},
            {"days": ["sun"]},
        ],
        "environment": ["prod", "stage"],
        "require_reason": True,
    }
    (rule,) = parse_policy("p", json.dumps({"path": {"secret/prod/*": body}}))
    assert rule.conditions == CONDITIONS
    body["time_window"] = body["time_window"][1]
    (rule,) = parse_policy("p", json.dumps({"path": {"secret/prod/*": body}}))
    assert rule.conditions.time_windows == (SUNDAY,)


def test_a_window_as_a_map_and_as_a_list_of_maps():
    assert windows('{ days = ["sun"] }') == (SUNDAY,)
    assert windows('[{ days = ["sun"] }, { hours = "08:00-18:00" }]') == (SUNDAY, TimeWindow(start=480, end=1080))


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        ('["mon"]', (0,)),
        ('["Monday", "FRI"]', (0, 4)),
        ('["mon-fri"]', (0, 1, 2, 3, 4)),
        ('["sat-mon"]', (0, 5, 6)),
        ('["mon-mon"]', (0,)),
        ('["mon-sun"]', (0, 1, 2, 3, 4, 5, 6)),
        ('["tue-wed", "wed-thu"]', (1, 2, 3)),
        ('"mon - fri"', (0, 1, 2, 3, 4)),
    ],
)
def test_days(days, expected):
    assert windows(f"{{ days = {days} }}")[0].days == expected


@pytest.mark.parametrize(
    ("hours", "start", "end"),
    [
        ("00:00-24:00", 0, 1440),
        ("08:00-18:30", 480, 1110),
        ("22:00-06:00", 1320, 360),
        ("22:00-00:00", 1320, 1440),
        ("23:59-00:01", 1439, 1),
        (" 08:00 - 09:00 ", 480, 540),
    ],
)
def test_hours(hours, start, end):
    (window,) = windows(f'{{ hours = "{hours}" }}')
    assert (window.start, window.end) == (start, end)


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("source_cidrs = []", "source_cidrs must be a list of 1 to 256 strings"),
        ('source_cidrs = "10.0.0.0/8"', "source_cidrs must be a list"),
        ('source_cidrs = ["10.0.0/8"]', "source_cidrs must be a list of networks"),
        ('source_cidrs = ["intranet"]', "source_cidrs must be a list of networks"),
        ('source_cidrs = [""]', "source_cidrs must be a list of networks"),
        ("source_cidrs = [10]", "source_cidrs must be a list of strings"),
        ("environment = []", "environment must be a list"),
        ('environment = "prod"', "environment must be a list"),
        ('environment = [""]', "environment must be a list"),
        ('require_reason = "yes"', "require_reason must be true or false"),
        ("require_reason = 1", "require_reason must be true or false"),
        ("time_window = []", "time_window must be a block or a list"),
        ('time_window = "office"', "time_window must be a block or a list"),
        ("time_window = [[]]", "time_window must be a block or a list"),
        ("time_window = {}", "time_window: needs days, hours or both"),
        ('time_window = { timezone = "UTC" }', "time_window: needs days, hours or both"),
        ('time_window = { days = ["someday"] }', "time_window: days must be a list"),
        ('time_window = { days = ["mon-"] }', "time_window: days must be a list"),
        ('time_window = { days = ["mon-fri-sun"] }', "time_window: days must be a list"),
        ("time_window = { days = [] }", "time_window: must be a list of 1 to 256 strings"),
        ("time_window = { days = 5 }", "time_window: must be a list of 1 to 256 strings"),
        ('time_window = { hours = "8-18" }', "time_window: hours must be like"),
        ('time_window = { hours = "8:00-18:00" }', "time_window: hours must be like"),
        ('time_window = { hours = "08:00" }', "time_window: hours must be like"),
        ('time_window = { hours = ["08:00-09:00"] }', "time_window: hours must be like"),
        ('time_window = { hours = "08:60-09:00" }', "time_window: hours must be like"),
        ('time_window = { hours = "24:00-08:00" }', "time_window: hours go from"),
        ('time_window = { hours = "08:00-24:01" }', "time_window: hours go from"),
        ('time_window = { hours = "08:00-08:00" }', "time_window: hours must not end when they start"),
        ('time_window = { hours = "25:00-26:00" }', "time_window: hours must be like"),
        ('time_window = { hours = "\u0660\u0668:00-09:00" }', "time_window: hours must be like"),
        ('time_window = { days = ["mon"], timezone = "Berlin" }', "time_window: timezone must be a name"),
        ('time_window = { days = ["mon"], timezone = "../../etc/passwd" }', "time_window: timezone must be a name"),
        ('time_window = { days = ["mon"], timezone = "/etc/localtime" }', "time_window: timezone must be a name"),
        ('time_window = { days = ["mon"], timezone = "localtime" }', "time_window: timezone must be a name"),
        ('time_window = { days = ["mon"], timezone = "Europe" }', "time_window: timezone must be a name"),
        ('time_window = { days = ["mon"], timezone = "" }', "time_window: timezone must be a name"),
        ('time_window = { days = ["mon"], timezone = 1 }', "time_window: timezone must be a name"),
    ],
)
def test_malformed_conditions_are_refused_with_their_line(setting, sentence):
    text = f'path "a" {{\n  capabilities = ["read"]\n  {setting}\n}}'
    assert refused(text).startswith(f'policy, line 3, path "a": {sentence}')


def test_an_unknown_member_of_a_window_names_its_own_line():
    block = 'path "a" {\n  time_window {\n    days = ["mon"]\n    hour = "08:00-09:00"\n  }\n}'
    assert refused(block).startswith('policy, line 4, path "a": time_window has days, hours and timezone only: "hour"')
    as_map = 'path "a" {\n  time_window = {\n    days = ["mon"]\n    hour = "08:00-09:00"\n  }\n}'
    assert refused(as_map).startswith('policy, line 4, path "a"')
    labelled = 'path "a" {\n  time_window "office" {\n    days = ["mon"]\n  }\n}'
    assert 'line 2, path "a": time_window has days' in refused(labelled)
    in_json = '{"path": {"a": {"time_window":\n {"days": ["mon"],\n "hour": "08:00-09:00"}}}}'
    assert refused(in_json).startswith('policy, line 3, path "a": time_window has')


def test_a_wrong_member_of_the_second_window_names_its_line():
    text = 'path "a" {\n  time_window {\n    days = ["mon"]\n  }\n  time_window {\n    hours = "late"\n  }\n}'
    assert refused(text).startswith('policy, line 6, path "a": time_window: hours must be like')
    empty = 'path "a" {\n  time_window {\n    days = ["mon"]\n  }\n\n  time_window {\n  }\n}'
    assert refused(empty).startswith('policy, line 6, path "a": time_window: needs')


def test_an_unknown_key_in_json_names_its_line_where_that_is_certain():
    assert refused('{"path":\n{"a":\n{"source_cidr": []}}}').startswith('policy, line 3, path "a": "source_cidr"')
    twice = '{"path":\n{"a":\n{"x": []},\n"b": {"x": 1}}}'
    assert refused(twice) == 'policy, path "a": "x" is not known in a path block'


def test_a_block_and_a_setting_of_one_name_are_refused():
    window = 'time_window {\n  days = ["mon"]\n }'
    assert "line 5: " in refused(f'path "a" {{\n {window}\n time_window = {{ days = ["mon"] }}\n}}')
    assert '"time_window" is given twice' in refused(f'path "a" {{\n time_window = {{}}\n {window}\n}}')
    assert '"days" is given twice' in refused('path "a" {\n time_window {\n days = ["mon"]\n days = ["tue"]\n}\n}')


def test_too_many_windows_and_networks_are_refused():
    assert "up to 64" in refused('path "a" {\n' + 'time_window {\n days = ["mon"]\n}\n' * 65 + "}")
    networks = ", ".join(f'"10.0.{i}.0/24"' for i in range(200)) + ", " + ", ".join(['"10.0.0.0/24"'] * 57)
    assert "1 to 256" in refused(f'path "a" {{\n source_cidrs = [{networks}]\n}}')


@pytest.mark.parametrize(
    "setting",
    [
        'source_cidrs = ["10.0.0.0/8"]',
        'environment = ["prod"]',
        "require_reason = false",
        'time_window = { days = ["mon"] }',
        'allowed_parameters = { "x" = [] }',
        "denied_parameters = {}",
        'required_parameters = ["x"]',
        "min_wrapping_ttl = 5",
        "max_wrapping_ttl = 5",
    ],
)
def test_deny_takes_no_condition_and_no_parameter_rule(setting):
    name = setting.split(" ", maxsplit=1)[0]
    sentence = refused(f'path "a" {{\n  capabilities = ["read", "deny"]\n  {setting}\n}}')
    assert sentence.startswith(f'policy, line 3, path "a": a path that is denied cannot have {name}: deny always holds')
    assert "a path that is denied" in refused(f'path "a" {{\n  policy = "deny"\n  {setting}\n}}')


def test_require_reason_false_is_no_condition():
    assert conditions("require_reason = false") is None


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ('"2027-01-15T08:00:00Z"', 1_800_000_000),
        ('"2027-01-15T09:00:00+01:00"', 1_800_000_000),
        ('"2027-01-15T08:00:00.5Z"', 1_800_000_000.5),
        ("1800000000", 1_800_000_000),
    ],
)
def test_expiration(written, moment):
    (rule,) = parse_policy("p", f'path "a" {{\n capabilities = ["read"]\n expiration = {written}\n}}')
    assert rule.expires_at == moment
    (denying,) = parse_policy("p", f'path "a" {{\n capabilities = ["deny"]\n expiration = {written}\n}}')
    assert denying.expires_at == moment


@pytest.mark.parametrize(
    "written",
    [
        '"tomorrow"',
        '"2027-01-15"',
        '"2027-01-15T08:00:00"',
        '"2027-01-15 08:00:00Z"',
        '"2027-02-30T08:00:00Z"',
        '"20270115T080000Z"',
        '"1h"',
        '""',
        "0",
        "-5",
        "true",
        "null",
        "[]",
        "1e30",
    ],
)
def test_an_expiration_that_is_no_moment_is_refused(written):
    assert "expiration must be a time like" in refused(f'path "a" {{\n expiration = {written}\n}}')


def test_parameters_may_be_written_as_a_block():
    (rule,) = parse_policy("p", 'path "a" {\n allowed_parameters {\n  x = ["1"]\n  Y = []\n }\n}')
    assert rule.allowed_parameters == {"x": ["1"], "y": []}


def test_a_parameter_that_is_named_in_two_cases_is_refused():
    assert "names a parameter twice" in refused('path "a" {\n allowed_parameters = { "x" = ["1"], "X" = [] }\n}')


@pytest.mark.parametrize(
    "path", ["a/{{identity.entity.id}}/*", "{{ identity.groups.names.ops.id }}/x", "a/{{identity.entity.name}}*"]
)
def test_templates_in_paths_are_kept_as_written(path):
    assert parse_policy("p", f'path "{path}" {{}}')[0].path == path


@pytest.mark.parametrize("path", ["a/{{identity.entity.email}}", "a/{{", "a/}}", "a/{{x}}", "{{identity.entity.id}}}}"])
def test_malformed_templates_are_refused(path):
    assert refused(f'\npath "{path}" {{}}').startswith(f'policy, line 2, path "{path}": ')
