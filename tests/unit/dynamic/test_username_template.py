"""`username_template`, by the examples of Vault's documentation ("Username templating")."""

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidRequestError
from dynamic.username_template import parse_template


def made(text: str, role: str = "my-role", display_name: str = "token-with-a-long-name") -> str:
    return parse_template(text, longest=200).render(role=role, display_name=display_name)


POSTGRESQL = (
    '{{ printf "v-%s-%s-%s-%s" (.DisplayName | truncate 8) (.RoleName | truncate 8) (random 20) (unix_time)'
    " | truncate 63 }}"
)
MYSQL = (
    '{{ printf "v-%s-%s-%s-%s" (.DisplayName | truncate 10) (.RoleName | truncate 10) (random 20) (unix_time)'
    " | truncate 32 }}"
)
MONGODB = (
    '{{ printf "v-%s-%s-%s-%s" (.DisplayName | truncate 15) (.RoleName | truncate 15) (random 20) (unix_time)'
    ' | replace "." "-" | truncate 100 }}'
)
REDIS = (
    '{{ printf "V_%s_%s_%s_%s" (.DisplayName | uppercase | truncate 8) (.RoleName | uppercase | truncate 8)'
    " (random 20) (unix_time) | truncate 45 }}"
)


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        # defaults of Vault's plugins
        (POSTGRESQL, r"v-token-wi-my-role-[0-9A-Za-z]{20}-\d{10}"),
        (MYSQL, r"v-token-with-my-role-[0-9A-Za-z]{11}"),
        (MONGODB, r"v-token-with-a-lo-my-role-[0-9A-Za-z]{20}-\d{10}"),
        (REDIS, r"V_TOKEN-WI_MY-ROLE_[0-9A-Za-z]{20}_\d{5}"),
        ("{{.DisplayName}}_{{.RoleName}}", "token-with-a-long-name_my-role"),
        ("{{ .RoleName | lowercase | sha256 | truncate 8 }}", r"[0-9a-f]{8}"),
        ("{{ truncate_sha256 12 .DisplayName }}", r"toke[0-9a-f]{8}"),
        ('x{{ replace "-" "_" .RoleName }}y', "xmy_roley"),
        ("{{ base64 .RoleName }}", "bXktcm9sZQ=="),
        ("{{ uuid }}", r"[0-9a-f-]{36}"),
        ("{{ unix_time_millis }}", r"\d{13}"),
        ('{{ timestamp "2006_01_02T15_04_05Z" }}', r"\d{4}_\d\d_\d\dT\d\d_\d\d_\d\dZ"),
        ("a {{- .RoleName -}} b", "amy-roleb"),
        ("{{ `raw\\n` }}", r"raw\\n"),
        ('{{ "a\\"b" }}', 'a"b'),
        ('{{ printf "%d%%%5s|%-5s|%q|%x|%.2s" 7 "a" "b" "c" "d" "efg" }}', r'7%    a\|b    \|"c"\|64\|ef'),
        ("plain", "plain"),
    ],
)
def test_names_as_documented(text: str, pattern: str) -> None:
    assert re.fullmatch(pattern, made(text)), made(text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "empty"),
        ("{{", "character 1: an action is not closed"),
        ("a{{ }}", "character 5: an action is empty"),
        ("{{ .Token }}", "there is no field .Token; there are .DisplayName and .RoleName"),
        ("{{ env }}", "there is no function env; there are base64, "),
        ("{{ if .RoleName }}x{{ end }}", "there is no function if"),
        ("{{ $x := 1 }}", "'$x := 1 ' is not understood"),
        ("{{ .RoleName | 7 }}", "a pipe leads into a function"),
        ("{{ (.RoleName }}", "a parenthesis is not closed"),
        ("{{ .RoleName) }}", "a parenthesis is closed that was not opened"),
        ("{{ truncate .RoleName 8 }}", "truncate does not take 2 such values"),
        ("{{ truncate 8 }}", "truncate does not take 1 such values"),
        ("{{ random 0 }}", "a number must be between 1 and 1000"),
        ("{{ random 5000 }}", "a number must be between 1 and 1000"),
        ("{{ random 300 }}", "makes names of 300 characters, and the database takes 200"),
        ('{{ printf "%s" }}', "printf does not take 1 such values"),
        ('{{ printf "%s" "a" "b" }}', "printf does not take 3 such values"),
        ('{{ printf "%d" "a" }}', "printf does not take 2 such values"),
        ('{{ "\\q" }}', "is no escape"),
        ('{{ "a\\n" }}', "control characters"),
        ("{{ truncate_sha256 8 .RoleName }}", "takes more than 8"),
        ("{{ " + "(" * 20 + "1" + ")" * 20 + " }}", "too many parentheses"),
        ("x" * 2000, "at most 1024 characters"),
    ],
    ids=lambda value: value[:32],
)
def test_what_is_wrong_is_named_when_it_is_written(text: str, sentence: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        parse_template(text, longest=200)
    assert sentence in caught.value.sentence


def test_a_name_that_comes_out_too_long_later_is_refused() -> None:
    template = parse_template("{{ .RoleName }}-{{ random 10 }}", longest=20)
    with pytest.raises(InvalidRequestError, match=r"end it with \| truncate 20"):
        template.render(role="a-role-with-a-long-name", display_name="")


@given(st.text(alphabet='{}()|."`- %sd19aRoleNamtuc\\', max_size=40))
def test_a_template_is_parsed_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidRequestError):
        assert parse_template(text, longest=100).render(role="r", display_name="d")
