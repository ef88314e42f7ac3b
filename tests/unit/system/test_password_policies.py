"""Vault's password policy language, and passwords made by it."""

import base64
import json
import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.password_policies import generate_password
from appliance.system.password_text import Charset, PasswordPolicy, parse_password_policy
from core.errors import InvalidRequestError, NotFoundError
from tests.unit.system.conftest import TEAM, Desk

TEXT = """
# Vault's example
length = 20
rule "charset" { charset = "abcdefghijklmnopqrstuvwxyz"
  min-chars = 1 }
rule "charset" {
  charset = "0123456789"  // digits
  min-chars = 2
}
rule "charset" {
  charset = "!\\"\\\\\\u00e9"   /* with
  escapes */
  min-chars = 1
}
"""


def test_the_language() -> None:
    policy = parse_password_policy(TEXT)
    assert policy.length == 20
    assert [rule.min_chars for rule in policy.rules] == [1, 2, 1]
    assert policy.rules[2].characters == '!"\\é'


def test_json_says_the_same() -> None:
    text = json.dumps({"length": 8, "rule": [{"charset": {"charset": "abc", "min-chars": 2}}]})
    assert parse_password_policy(text) == PasswordPolicy(8, (Charset("abc", 2),))


def test_a_character_that_is_given_twice_is_not_twice_as_likely() -> None:
    text = 'length = 8\nrule "charset" { charset = "aab" }\nrule "charset" { charset = "bc" }'
    assert parse_password_policy(text).alphabet == "abc"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "says no length"),
        ("length = 20", "at least one rule"),
        ("length = 3\n" + (rule := 'rule "charset" { charset = "ab" }'), "between 4 and 1000"),
        ("length = 1001\n" + rule, "between 4 and 1000"),
        ("length = 99999999999999\n" + rule, "line 1"),
        ("length = 20\nlength = 21\n" + rule, "line 2"),
        ('length = "20"\n' + rule, "line 1: write length = 20"),
        ("length = 20\nrule {}", "line 2"),
        ('length = 20\nrule "regex" { }', 'only kind of rule is "charset"'),
        ('length = 20\nrule "charset" { }', "needs a charset"),
        ('length = 20\nrule "charset" { charset = "" }', "needs a charset"),
        ('length = 20\nrule "charset" { charset = "a\\n" }', "printable"),
        ('length = 20\nrule "charset" { charset = "a\\x" }', "unknown escape"),
        ('length = 20\nrule "charset" { charset = "aaaa" }', "two different characters"),
        ('length = 20\nrule "charset" { charset = "ab" min-chars = 21 }', "require at least 21 characters but 20"),
        ('length = 20\nrule "charset" { charset = "ab" min-chars = -1 }', "line 2"),
        ('length = 20\nrule "charset" { charset = "ab" min_length = 1 }', '"min_length" is not known'),
        ('length = 20\nrule "charset" { charset = "ab" charset = "cd" }', "each name once"),
        ('length = 20\nrule "charset" { charset = "ab"', "line 2"),
        ('length = 20\nrule "charset" { charset = "${file}", }', "line 2"),
        ("\x00", "line 1"),
        ("{}", "length must be a whole number"),
        ('{"length": 20, "rule": [1]}', "each rule is"),
        ('{"length": 20, "rule": {"charset": {"charset": "ab", "min-chars": true}}}', "min-chars"),
        ("{" * 5000, "neither HCL nor JSON"),
        ("#" * 40_000, "at most 32768"),
    ],
)
def test_a_policy_that_is_refused(text: str, problem: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        parse_password_policy(text)
    assert problem in caught.value.sentence


def test_parsing_time_grows_with_the_length_only() -> None:
    began = time.process_time()
    for text in ("/*" * 16_000, '"' + "\\a" * 16_000, "length = " * 3_500, '"' * 32_000):
        with pytest.raises(InvalidRequestError):
            parse_password_policy(text)
    assert time.process_time() - began < 1


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_a_policy_or_refused(text: str) -> None:
    try:
        parse_password_policy(text)
    except InvalidRequestError:
        return


def test_every_password_satisfies_every_rule() -> None:
    policy = parse_password_policy(TEXT)
    for _ in range(300):
        password = generate_password(policy)
        assert len(password) == 20
        assert set(password) <= set(policy.alphabet)
        for rule in policy.rules:
            assert sum(letter in rule.characters for letter in password) >= rule.min_chars


def test_a_policy_without_slack_is_no_more_work() -> None:
    policy = PasswordPolicy(1000, (Charset("ab", 500), Charset("cd", 500)))
    password = generate_password(policy)
    assert sum(letter in "ab" for letter in password) == 500


def test_places_and_letters_are_even() -> None:
    """With 6 letters the chance that chi-squared passes 40 at 5 degrees of freedom is below one in a million."""
    policy = PasswordPolicy(4, (Charset("abcdef"),))
    counts = Counter(letter for _ in range(3000) for letter in generate_password(policy))
    expected = 3000 * 4 / 6
    assert sum((counts[letter] - expected) ** 2 / expected for letter in "abcdef") < 40


async def test_a_password_from_the_api(desk: Desk) -> None:
    await desk.call("update", "policies/password/strong", {"policy": TEXT})
    assert (await desk.read("policies/password/strong"))["policy"] == TEXT
    assert (await desk.call("list", "policies/password")).data == {"keys": ["strong"]}
    made = [(await desk.read("policies/password/strong/generate"))["password"] for _ in range(2)]
    assert len(made[0]) == 20
    assert made[0] != made[1]


async def test_base64_is_taken_as_bao_sends_it(desk: Desk) -> None:
    await desk.call("update", "policies/password/b", {"policy": base64.b64encode(TEXT.encode()).decode()})
    assert (await desk.read("policies/password/b"))["policy"] == TEXT


async def test_what_cannot_be_satisfied_is_not_stored(desk: Desk) -> None:
    for body in ({}, {"policy": ""}, {"policy": "length = 2"}):
        with pytest.raises(InvalidRequestError):
            await desk.call("update", "policies/password/bad", body)
    with pytest.raises(NotFoundError):
        await desk.call("list", "policies/password")


async def test_namespaces_have_their_own(desk: Desk) -> None:
    await desk.call("update", "policies/password/p", {"policy": TEXT}, within=TEAM)
    for path in ("policies/password/p", "policies/password/p/generate"):
        with pytest.raises(NotFoundError):
            await desk.call("read", path)
    assert await desk.read("policies/password/p", within=TEAM)
    await desk.call("delete", "policies/password/p")
    assert await desk.read("policies/password/p", within=TEAM)


async def test_a_deleted_policy_makes_no_password(desk: Desk) -> None:
    await desk.call("update", "policies/password/p", {"policy": TEXT})
    await desk.call("delete", "policies/password/p")
    with pytest.raises(NotFoundError):
        await desk.passwords.generate("p")
