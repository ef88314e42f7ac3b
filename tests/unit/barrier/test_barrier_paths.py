"""The order of paths, and where listings begin and end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barrier.paths import check_name, list_start, name_below, prefix_end
from core.errors import InvalidRequestError

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)


@given(TEXT, TEXT)
def test_prefix_end_bounds_exactly_what_starts_with_the_prefix(prefix: str, path: str) -> None:
    end = prefix_end(prefix)
    assert path.startswith(prefix) == (prefix <= path and (end is None or path < end))


@given(TEXT, TEXT)
def test_text_orders_as_its_bytes(one: str, other: str) -> None:
    assert (one < other) == (one.encode() < other.encode())


@pytest.mark.parametrize(
    ("prefix", "end"),
    [("", None), ("\U0010ffff", None), ("a", "b"), ("a/", "a0"), ("\ud7ff", "\ue000"), ("a\U0010ffff", "b")],
)
def test_prefix_end(prefix: str, end: str | None) -> None:
    assert prefix_end(prefix) == end


@given(st.text("ab/-0é", max_size=6), st.text("ab/-0é", max_size=6))
def test_a_listing_begins_behind_the_name(path: str, after: str) -> None:
    if path:
        assert (name_below("p/", f"p/{path}") > after) == (f"p/{path}" >= list_start("p/", after))


@pytest.mark.parametrize(
    ("name", "ok"), [("a", True), ("a" * 2048, True), ("a" * 2049, False), ("", False), ("\0", False)]
)
def test_names_that_both_engines_can_store(name: str, ok: bool) -> None:
    if ok:
        check_name(name)
    else:
        with pytest.raises(InvalidRequestError):
            check_name(name)
