"""What is kept of refused requests: found by any worker, bounded, and not to be pushed out by one caller."""

import os

import pytest

from appliance.access.refusals import SIZE, RefusalLog, Refused
from core.errors import ConfigError
from core.ids import new_uuid


def refused(request_id, *, accessor="a", at=1_800_000_000.0, **changes):
    return Refused(
        request_id=request_id, at=at, path="secret/x", operation="read", reason="no rule", accessor=accessor, **changes
    )


@pytest.fixture
def log(tmp_path):
    opened = RefusalLog.open(tmp_path / "refusals")
    yield opened
    opened.close()


def test_another_worker_finds_it(log, tmp_path):
    note = refused("r-1", policies=("default", "web"), rule="secret/*", policy="web", version=3, line=7, condition="ip")
    log.note(note)
    other = RefusalLog.open(tmp_path / "refusals")
    assert other.find("r-1") == note
    other.close()


def test_what_was_not_refused_is_not_found(log):
    log.note(refused("r-1"))
    assert log.find("r-2") is None
    assert log.find("") is None
    assert log.find("\ud800") is None


def test_the_file_is_for_its_owner_alone_and_never_grows(log, tmp_path):
    for number in range(10_000):
        log.note(refused(new_uuid(), at=number + 1.0))
    status = (tmp_path / "refusals").stat()
    assert (status.st_size, status.st_mode & 0o777) == (SIZE, 0o600)


def test_the_last_thousand_are_there():
    log = RefusalLog.open()
    ids = [new_uuid() for _ in range(20_000)]
    for number, request_id in enumerate(ids):
        log.note(refused(request_id, accessor=f"a{number % 50}", at=number + 1.0))
    found = [log.find(request_id) is not None for request_id in ids[-1000:]]
    assert sum(found) > 990


def test_one_caller_does_not_push_out_what_others_were_refused():
    log = RefusalLog.open()
    mine = [new_uuid() for _ in range(100)]
    for request_id in mine:
        log.note(refused(request_id, accessor="victim"))
    for number in range(30_000):
        log.note(refused(new_uuid(), accessor="attacker", at=1_800_000_001.0 + number))
    assert all(log.find(request_id) for request_id in mine)


def test_without_a_token_the_address_is_the_caller():
    log = RefusalLog.open()
    log.note(refused("r-1", accessor="", address="10.0.0.1"))
    for number in range(30_000):
        log.note(refused(new_uuid(), accessor="", address="10.0.0.2", at=1_800_000_001.0 + number))
    assert log.find("r-1") is not None


def test_long_texts_are_cut():
    log = RefusalLog.open()
    log.note(refused("r-1", policies=tuple(f"policy-{i}-{'x' * 100}" for i in range(50)), display_name="é" * 5000))
    log.note(with_long_texts())
    assert len(log.find("r-1").policies) <= 9
    assert log.find("r-2").path.endswith("…")


def with_long_texts():
    return Refused(request_id="r-2", at=1.0, path="\U0001f600" * 4000, operation="read", reason="\U0001f600" * 4000)


def test_a_torn_place_counts_as_empty(tmp_path):
    log = RefusalLog.open(tmp_path / "refusals")
    log.note(refused("r-1"))
    content = (tmp_path / "refusals").read_bytes()
    at = content.index(b"secret/x")
    with (tmp_path / "refusals").open("r+b") as file:
        file.seek(at)
        file.write(b"S")
    assert log.find("r-1") is None
    log.note(refused("r-1"))
    assert log.find("r-1") is not None
    log.close()


def test_any_bytes_in_the_file_are_borne(tmp_path):
    (tmp_path / "refusals").write_bytes(os.urandom(SIZE))
    log = RefusalLog.open(tmp_path / "refusals")
    assert log.find("r-1") is None
    log.note(refused("r-1"))
    assert log.find("r-1") is not None
    log.close()


def test_a_file_of_another_size_is_made_fit(tmp_path):
    (tmp_path / "refusals").write_bytes(b"old")
    log = RefusalLog.open(tmp_path / "refusals")
    log.note(refused("r-1"))
    assert log.find("r-1") is not None
    log.close()


def test_an_unwritable_directory_is_named(tmp_path):
    with pytest.raises(ConfigError, match="refusals"):
        RefusalLog.open(tmp_path / "absent" / "refusals")
