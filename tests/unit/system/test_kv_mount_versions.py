"""Versions of kv in the mount table: their other names, the way up and none back."""

import pytest

from appliance.mount_table import MountEntry
from appliance.namespaces import ROOT
from appliance.system.mounts import EnableBody, TuneBody, tuned_entry, wanted_mount
from core.errors import InvalidRequestError


@pytest.mark.parametrize(
    ("body", "options"),
    [
        (EnableBody(type="kv"), {}),
        (EnableBody(type="generic"), {}),
        (EnableBody(type="kv-v1"), {"version": "1"}),
        (EnableBody(type="kv-v2"), {"version": "2"}),
        (EnableBody(type="kv-v2", options={"version": "1", "x": "y"}), {"version": "2", "x": "y"}),
        (EnableBody(type="kv", options={"version": "2"}), {"version": "2"}),
        (EnableBody(type="plugin", plugin_name="kv-v2"), {"version": "2"}),
    ],
    ids=["kv", "generic", "kv-v1", "kv-v2", "name wins", "option", "plugin"],
)
def test_kv_has_several_names(body: EnableBody, options: dict[str, str] | None) -> None:
    made = wanted_mount("secret/", body, ROOT)
    assert (made.type, made.options) == ("kv", options)


@pytest.mark.parametrize("version", ["0", "3", "two", "2 "])
def test_an_unknown_version_is_refused(version: str) -> None:
    with pytest.raises(InvalidRequestError, match="versions 1 and 2"):
        wanted_mount("secret/", EnableBody(type="kv", options={"version": version}), ROOT)
    with pytest.raises(InvalidRequestError, match="versions 1 and 2"):
        tuned_entry(kv("1"), TuneBody(options={"version": version}))


def kv(version: str | None) -> MountEntry:
    options = None if version is None else {"version": version}
    return MountEntry(uuid="u", accessor="kv_1", type="kv", path="secret/", options=options)


@pytest.mark.parametrize("before", [None, "", "1", "2"])
def test_version_1_becomes_version_2(before: str | None) -> None:
    assert tuned_entry(kv(before), TuneBody(options={"version": "2"})).options == {"version": "2"}


@pytest.mark.parametrize("version", ["1", ""])
def test_version_2_does_not_become_version_1(version: str) -> None:
    with pytest.raises(InvalidRequestError, match="cannot downgrade mount from version 2"):
        tuned_entry(kv("2"), TuneBody(options={"version": version}))


def test_a_version_is_not_taken_away() -> None:
    with pytest.raises(InvalidRequestError, match="leave it out to keep it"):
        tuned_entry(kv("1"), TuneBody(options={"version": ""}))


def test_another_option_keeps_the_version() -> None:
    assert tuned_entry(kv("2"), TuneBody(options={"x": "y"})).options == {"version": "2", "x": "y"}
    assert tuned_entry(kv("2"), TuneBody(description="d")).options == {"version": "2"}


def test_the_version_option_of_another_engine_is_its_own_business() -> None:
    entry = MountEntry(uuid="u", accessor="t_1", type="transit", path="transit/", options={"version": "7"})
    assert tuned_entry(entry, TuneBody(options={"version": "1"})).options == {"version": "1"}
