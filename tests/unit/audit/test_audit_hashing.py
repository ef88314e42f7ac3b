"""What of a record is hashed, and how."""

import hashlib
import hmac
from datetime import UTC, datetime

import pytest

from audit.hashing import Hasher
from core.secret import Secret

KEY = b"k" * 32
hasher = Hasher(Secret(KEY))


def _expected(text: str) -> str:
    return "hmac-sha256:" + hmac.digest(KEY, text.encode(), "sha256").hex()


@pytest.mark.parametrize("text", ["", "a", "ssn=123-45-6789", "ü" * 1000])
def test_text_is_hmac_sha256(text: str) -> None:
    """FIPS 198-1."""
    assert hasher.text(text) == _expected(text)


def test_strings_are_hashed_at_any_depth_and_nothing_else() -> None:
    data = {"a": "x", "n": 1, "f": 1.5, "t": True, "z": None, "l": ["y", 2, {"deep": "w"}], "p": ("q",)}
    assert hasher.data(data) == {
        "a": _expected("x"),
        "n": 1,
        "f": 1.5,
        "t": True,
        "z": None,
        "l": [_expected("y"), 2, {"deep": _expected("w")}],
        "p": [_expected("q")],
    }


def test_names_are_not_hashed() -> None:
    assert set(hasher.data({"name": "v", "other": {"inner": "v"}})) == {"name", "other"}


@pytest.mark.parametrize("value", [b"secret", datetime(2026, 1, 1, tzinfo=UTC), {"secret"}, object(), Secret(b"s")])
def test_unusual_values_never_pass_in_clear(value: object) -> None:
    shown = str(hasher.data({"v": value}))
    assert "secret" not in shown
    assert "hmac-sha256:" in shown


def test_a_subclass_of_str_is_hashed() -> None:
    class Odd(str):
        __slots__ = ()

    assert hasher.data(Odd("x")) == _expected("x")


def test_lone_surrogates_are_hashed() -> None:
    assert hasher.text("\ud800").startswith("hmac-sha256:")


def test_recurring_values_are_the_same_hash() -> None:
    assert hasher.recurring("tok") == hasher.recurring("tok") == _expected("tok")
    assert hasher.recurring("") == ""


def test_the_memory_for_recurring_values_is_bounded() -> None:
    small = Hasher(Secret(KEY))
    for i in range(20_000):
        small.recurring(str(i))
    assert len(small._known) <= 8192


def test_a_key_longer_than_a_block_is_our_mistake() -> None:
    with pytest.raises(RuntimeError):
        Hasher(Secret(b"k" * 65))


def test_an_outsider_can_recompute_it() -> None:
    digest = hmac.new(KEY, b"a", hashlib.sha256).hexdigest()
    assert hasher.text("a") == f"hmac-sha256:{digest}"
