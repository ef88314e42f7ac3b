"""Search over names and metadata: what matches, and for whom."""

import pytest

from core.errors import InvalidRequestError
from tests.unit.kv.kv_mount import Granted, Mount


async def _search(mount: Mount, **query: str) -> dict[str, list[str]]:
    """Members that match, by name."""
    data = (await mount.call("read", "search", None, **query)).data or {}  # type: ignore[arg-type]  # no `body` in it
    return {row["name"]: row["matches"] for row in data["secrets"]}


async def _mount() -> Mount:
    mount = Mount()
    for name in ("apps/web/db", "apps/web/Key", "ops/backup", "straße"):
        await mount.put(name, {"password": "needle"})
    await mount.call(
        "update",
        "metadata/apps/web/db",
        {"owner": "Team Web", "classification": "secret", "custom_metadata": {"region": "eu-West", "tier": "db=1"}},
    )
    await mount.call("update", "metadata/ops/backup", {"owner": "ops", "custom_metadata": {"web": "no"}})
    return mount


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"q": "WEB"}, {"apps/web/Key": ["name"], "apps/web/db": ["name", "owner"], "ops/backup": ["custom_metadata"]}),
        ({"q": "key"}, {"apps/web/Key": ["name"]}),
        ({"q": "STRASSE"}, {"straße": ["name"]}),
        ({"q": "secret"}, {"apps/web/db": ["classification"]}),
        ({"q": "EU-"}, {"apps/web/db": ["custom_metadata"]}),
        ({"q": "region"}, {"apps/web/db": ["custom_metadata"]}),
        ({"q": "needle"}, {}),
        ({"owner": "team web"}, {"apps/web/db": []}),
        ({"owner": "team"}, {}),
        ({"classification": "secret"}, {"apps/web/db": []}),
        ({"custom_metadata": "tier=db=1"}, {"apps/web/db": []}),
        ({"custom_metadata": "region=eu-west"}, {}),
        ({"custom_metadata": "none=x"}, {}),
        ({"q": "web", "owner": "ops"}, {"ops/backup": ["custom_metadata"]}),
        ({"q": "web", "owner": "nobody"}, {}),
        ({"q": "e", "prefix": "ops/"}, {"ops/backup": ["custom_metadata"]}),
        ({"q": "*"}, {}),
    ],
    ids=lambda value: "&".join(f"{k}={v}" for k, v in value.items()) if "q" in value or "owner" in value else None,
)
async def test_what_is_sought_is_found_by_name_and_metadata_but_not_by_value(
    query: dict[str, str], expected: dict[str, list[str]]
) -> None:
    assert await _search(await _mount(), **query) == expected


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (
            {"metadata/": {"read"}},
            {"apps/web/Key": ["name"], "apps/web/db": ["name", "owner"], "ops/backup": ["custom_metadata"]},
        ),
        ({"data/": {"read"}}, {"apps/web/Key": ["name"], "apps/web/db": ["name"]}),
        ({"metadata/": {"list"}}, {"apps/web/Key": ["name"], "apps/web/db": ["name"]}),
        ({"metadata/": {"scan"}}, {"apps/web/Key": ["name"], "apps/web/db": ["name"]}),
        ({"metadata/ops/": {"read"}}, {"ops/backup": ["custom_metadata"]}),
        ({"data/apps/web/Key": {"read"}}, {"apps/web/Key": ["name"]}),
        (
            {"metadata/apps/web/": {"list"}, "metadata/apps/web/db": {"read"}},
            {"apps/web/Key": ["name"], "apps/web/db": ["name", "owner"]},
        ),
        ({"data/": {"update", "create", "delete"}, "metadata/": {"update", "delete"}}, {}),
        ({"delete/": {"read"}, "search": {"read"}}, {}),
        ({}, {}),
    ],
    ids=["metadata", "values", "list", "scan", "a folder", "one value", "mixed", "writers", "elsewhere", "nothing"],
)
async def test_a_match_shows_to_whom_it_may_be_shown(
    table: dict[str, set[str]], expected: dict[str, list[str]]
) -> None:
    mount = await _mount()
    mount.access = Granted(table)
    assert await _search(mount, q="web") == expected


async def test_a_list_of_a_folder_shows_no_deeper_names() -> None:
    mount = await _mount()

    class OneFolder(Granted):
        def allows(self, path: str, *capabilities: str) -> bool:
            return path == "metadata/apps/" and "list" in capabilities

    mount.access = OneFolder({})
    assert await _search(mount, q="web") == {}


@pytest.mark.parametrize(
    "query", [{"owner": "ops"}, {"custom_metadata": "web=no"}, {"q": "ops", "owner": "ops"}], ids=str
)
async def test_metadata_does_not_match_for_whom_may_only_know_the_name(query: dict[str, str]) -> None:
    mount = await _mount()
    mount.access = Granted({"metadata/": {"list"}, "data/": {"read"}})
    assert await _search(mount, **query) == {}


async def test_metadata_is_shown_to_whom_may_read_it_alone() -> None:
    mount = await _mount()
    data = (await mount.call("read", "search", None, q="db")).data or {}
    assert data["secrets"][0]["custom_metadata"] == {"region": "eu-West", "tier": "db=1"}
    mount.access = Granted({"data/": {"read"}})
    data = (await mount.call("read", "search", None, q="db")).data or {}
    assert data["secrets"] == [{"name": "apps/web/db", "matches": ["name"]}]


@pytest.mark.parametrize("hidden", [0, 40], ids=["none hidden", "many hidden"])
async def test_what_is_hidden_changes_neither_pages_nor_counts(hidden: int) -> None:
    mount = Mount()
    for number in range(hidden):
        await mount.put(f"a/{number}", {"n": 1})
        await mount.put(f"z/{number}", {"n": 1})
    for number in range(3):
        await mount.put(f"m/{number}", {"n": 1})
    mount.access = Granted({"metadata/m/": {"list"}})
    pages: list[list[str]] = []
    after = ""
    while not pages or after:
        answer = (await mount.call("read", "search", None, q="/", limit="2", after=after)).data or {}
        pages.append([row["name"] for row in answer["secrets"]])
        after = answer["next"]
    assert pages == [["m/0", "m/1"], ["m/2"]]


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({}, "say what is sought"),
        ({"q": ""}, "say what is sought"),
        ({"prefix": "apps/"}, "say what is sought"),
        ({"q": "x" * 1025}, "at most 1024 characters"),
        ({"owner": "x" * 1025}, "at most 1024 characters"),
        ({"custom_metadata": "region"}, "must be key=value"),
        ({"custom_metadata": "=x"}, "must be key=value"),
        ({"q": "x", "limit": "99999"}, "limit must be"),
        ({"q": "x", "after": "x"}, "after must be"),
    ],
    ids=["nothing", "empty", "prefix alone", "long", "long owner", "no pair", "no key", "limit", "cursor"],
)
async def test_a_search_that_is_none_is_refused(query: dict[str, str], says: str) -> None:
    with pytest.raises(InvalidRequestError, match=says):
        await _search(await _mount(), **query)
