"""Which route serves a path."""

import pytest

from appliance.router import RouteTable
from core.engine import Route


def _table(*patterns: str) -> RouteTable:
    return RouteTable([Route(pattern=pattern, methods={}) for pattern in patterns])


TABLE = _table("keys", "keys/{name}", "keys/{name}/config", "keys/import", "data/{path...}", "{any}/{path...}/")


@pytest.mark.parametrize(
    ("path", "pattern", "captured"),
    [
        ("keys", "keys", {}),
        ("keys/", "keys", {}),
        ("keys/a", "keys/{name}", {"name": "a"}),
        ("keys/a/", "keys/{name}", {"name": "a"}),
        ("keys/import", "keys/import", {}),
        ("keys/import/config", "keys/{name}/config", {"name": "import"}),
        ("keys/a/config", "keys/{name}/config", {"name": "a"}),
        ("keys/a/other", "{any}/{path...}/", {"any": "keys", "path": "a/other"}),
        ("data/a", "data/{path...}", {"path": "a"}),
        ("data/a/b/", "data/{path...}", {"path": "a/b/"}),
        ("data/a//b", "data/{path...}", {"path": "a//b"}),
        ("data/{name}", "data/{path...}", {"path": "{name}"}),
        ("keys/{name}", "keys/{name}", {"name": "{name}"}),
    ],
)
def test_most_specific_pattern_wins(path: str, pattern: str, captured: dict[str, str]) -> None:
    found = TABLE.find(path)
    assert found is not None
    assert (found[0].pattern, found[1]) == (pattern, captured)


@pytest.mark.parametrize("path", ["", "/", "//", "other", "keys/a/b", "keys//config", "/keys", "keys//"])
def test_path_without_a_route(path: str) -> None:
    table = _table("keys", "keys/{name}", "keys/{name}/config")
    assert table.find(path) is None


def test_empty_table() -> None:
    assert _table().find("x") is None


@pytest.mark.parametrize(
    "patterns",
    [("a", "a"), ("a/{x}", "a/{y}"), ("{p...}", "{q...}"), ("{p...}/a",), ("{p",), ("{}",), ("{a}/{a}",), ("a/{b c}",)],
)
def test_ambiguous_or_broken_pattern_is_our_bug(patterns: tuple[str, ...]) -> None:
    with pytest.raises(RuntimeError):
        _table(*patterns)


def test_iteration_names_every_route() -> None:
    assert len(list(TABLE)) == 6
