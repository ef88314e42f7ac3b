"""Where an event happened, which subscribers asked for it, and what the window keeps."""

import json

import pytest

from appliance.events.record import Announcer, EventRecord, cloud_event, load_record
from appliance.events.selection import parse_after, parse_selection
from appliance.events.window import HeldEvent, Window
from appliance.mount_table import MountEntry
from core.errors import InvalidRequestError
from core.protocols import Event, StoredEvent
from tests.support.clock import SettableClock

MOUNT = MountEntry(
    uuid="u",
    accessor="kv_1",
    type="kv",
    path="secret/",
    namespace="n1",
    namespace_path="team-a/",
    options={"version": "2"},
)


def record(path: str = "data/apps/web", *, kind: str = "kv-v2/data-write", data_path: str = "") -> EventRecord:
    metadata = {"data_path": data_path} if data_path else {}
    body = Announcer(MOUNT, SettableClock()).body(Event(type=kind, path=path, metadata=metadata))
    found = load_record(StoredEvent(1, body))
    assert found is not None
    return found


def test_a_record_knows_its_paths_as_policies_see_them() -> None:
    found = record("undelete/apps/web", kind="kv-v2/undelete", data_path="secret/data/apps/web")
    assert found.full_path == "team-a/secret/undelete/apps/web"
    assert found.data_path == "team-a/secret/data/apps/web"
    assert found.metadata_path == "team-a/secret/metadata/apps/web"


def test_a_path_of_another_mount_in_the_metadata_is_not_believed() -> None:
    """What an engine says of itself cannot make an event visible to who may read elsewhere."""
    found = record(data_path="other/data/apps/web")
    assert found.data_path == found.full_path


def test_only_version_2_of_kv_has_metadata_beside_data() -> None:
    assert record(kind="kv-v1/write").metadata_path == ""


@pytest.mark.parametrize("body", [b"", b"{", b'{"id": "x"}', b"[]"])
def test_what_cannot_be_read_is_no_record(body: bytes) -> None:
    assert load_record(StoredEvent(1, body)) is None


def test_the_namespace_and_the_version_are_told() -> None:
    told = json.loads(cloud_event(record()))["data"]
    assert told["namespace"] == "team-a/"
    assert told["plugin_info"] == {
        "mount_class": "secret",
        "mount_accessor": "kv_1",
        "mount_path": "secret/",
        "plugin": "kv",
        "version": "2",
    }


@pytest.mark.parametrize(
    ("types", "query", "namespace", "taken"),
    [
        pytest.param("*", {}, "", True, id="all"),
        pytest.param("kv-v2/data-*", {}, "", True, id="pattern"),
        pytest.param("kv-v2/data-", {}, "", False, id="no-star"),
        pytest.param("*", {}, "team-a/", True, id="own-namespace"),
        pytest.param("*", {}, "team-b/", False, id="other-namespace"),
        pytest.param("*", {"namespaces": "team-*"}, "", True, id="chosen-namespace"),
        pytest.param("*", {"namespaces": "team-b"}, "", False, id="not-chosen-namespace"),
        pytest.param("*", {"namespaces": ""}, "", False, id="own-namespace-alone"),
        pytest.param("*", {"path_prefix": "/secret/data/apps/"}, "team-a/", True, id="prefix"),
        pytest.param("*", {"path_prefix": "secret/metadata/apps/"}, "team-a/", True, id="metadata-prefix"),
        pytest.param("*", {"path_prefix": "secret/data/apps/"}, "", False, id="prefix-of-root"),
        pytest.param("*", {"path_prefix": "team-a/secret/"}, "", True, id="prefix-into-namespace"),
    ],
)
def test_what_a_selection_takes(types: str, query: dict[str, str], namespace: str, taken: bool) -> None:
    assert parse_selection(types, query, namespace=namespace).takes(record()) is taken


@pytest.mark.parametrize("text", ["-1", "1.5", "x", "9" * 19, "\u0663"])
def test_only_a_number_can_be_gone_on_behind(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="a number"):
        parse_after(text)


def test_the_window_keeps_the_newest_within_its_bounds() -> None:
    window = Window(10, capacity=4)
    for number in range(11, 31):
        window.add(HeldEvent(number, record(), 100))
    assert window.position == 30
    held = window.after(window.floor, limit=99)
    assert [event.number for event in held] == list(range(window.floor + 1, 31))
    assert len(held) <= 4
    assert (window.reaches(window.floor), window.reaches(window.floor - 1)) == (True, False)


def test_the_window_is_bounded_in_bytes() -> None:
    window = Window(0, budget=4000)
    for number in range(1, 100):
        window.add(HeldEvent(number, record(), 300))
    assert len(window.after(0, limit=99)) <= 4
