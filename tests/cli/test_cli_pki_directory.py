"""The files of `mimir pki issue --out-dir`: all at once or not at all, and nobody else's are touched."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from client.errors import LocalError
from client.pki_directory import check_directory, put_files

NOW = datetime(2027, 3, 1, tzinfo=UTC)
FILES = {"key.pem": b"key-1", "cert.pem": b"cert-1"}


def put(directory: Path, files: dict[str, bytes] = FILES, *, later: int = 0, overwrite: bool = False) -> None:
    now = NOW + timedelta(seconds=later)
    put_files(str(directory), files, private={"key.pem"}, now=now, overwrite=overwrite)


def generations(directory: Path) -> list[str]:
    return sorted(name for name in (path.name for path in directory.iterdir()) if name.startswith("..20"))


def test_the_key_is_for_its_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        put(tmp_path / "tls")
    finally:
        os.umask(before)
    modes = {name: stat.S_IMODE((tmp_path / "tls" / name).stat().st_mode) for name in FILES}
    assert modes == {"key.pem": 0o600, "cert.pem": 0o644}
    assert stat.S_IMODE((tmp_path / "tls").stat().st_mode) == 0o755


def test_a_strict_umask_does_not_hide_certificates(tmp_path: Path) -> None:
    (tmp_path / "tls").mkdir()
    before = os.umask(0o077)
    try:
        put(tmp_path / "tls")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "tls" / "cert.pem").stat().st_mode) == 0o644


def test_all_files_change_by_one_rename(tmp_path: Path) -> None:
    put(tmp_path)
    links = {name: str((tmp_path / name).readlink()) for name in FILES}
    inodes = {name: (tmp_path / name).lstat().st_ino for name in FILES}
    put(tmp_path, {"key.pem": b"key-2", "cert.pem": b"cert-2"}, later=1)
    assert links == {name: f"..data/{name}" for name in FILES}
    assert inodes == {name: (tmp_path / name).lstat().st_ino for name in FILES}
    assert [(tmp_path / name).read_bytes() for name in FILES] == [b"key-2", b"cert-2"]


def test_whoever_holds_the_generation_open_reads_one_pair(tmp_path: Path) -> None:
    put(tmp_path)
    opened = os.open(tmp_path / "..data", os.O_RDONLY | os.O_DIRECTORY)
    try:
        put(tmp_path, {"key.pem": b"key-2", "cert.pem": b"cert-2"}, later=1)
        for name, content in FILES.items():
            with os.fdopen(os.open(name, os.O_RDONLY, dir_fd=opened), "rb") as file:
                assert file.read() == content
    finally:
        os.close(opened)


def test_the_generation_before_is_kept_and_older_ones_are_removed(tmp_path: Path) -> None:
    for later in range(3):
        put(tmp_path, later=later)
    assert [name[:22] for name in generations(tmp_path)] == ["..2027-03-01T00-00-01Z", "..2027-03-01T00-00-02Z"]


def test_a_failure_leaves_the_old_files_and_no_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path)
    before = generations(tmp_path)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("client.pki_directory.os.fsync", full)
    with pytest.raises(LocalError, match="No space left"):
        put(tmp_path, {"key.pem": b"key-2", "cert.pem": b"cert-2"}, later=1)
    assert generations(tmp_path) == before
    assert (tmp_path / "key.pem").read_bytes() == b"key-1"


def test_what_a_crash_left_is_removed_by_the_next_run(tmp_path: Path) -> None:
    (tmp_path / "..2027-02-01T00-00-00Z.abcd").mkdir()
    put(tmp_path)
    assert [name[:22] for name in generations(tmp_path)] == ["..2027-03-01T00-00-00Z"]


def test_a_foreign_file_is_kept_unless_it_may_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("somebody else's")
    with pytest.raises(LocalError, match="--overwrite"):
        put(tmp_path)
    assert (tmp_path / "key.pem").read_text() == "somebody else's"
    put(tmp_path, overwrite=True)
    assert (tmp_path / "key.pem").read_bytes() == b"key-1"


def test_a_link_that_leads_elsewhere_is_never_followed_nor_replaced(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.write_text("precious")
    (tmp_path / "tls").mkdir()
    (tmp_path / "tls" / "key.pem").symlink_to(target)
    with pytest.raises(LocalError, match="no regular file"):
        put(tmp_path / "tls", overwrite=True)
    assert target.read_text() == "precious"


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o775], ids=oct)
def test_a_directory_others_may_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    (tmp_path / "tls").mkdir()
    (tmp_path / "tls").chmod(mode)
    with pytest.raises(LocalError, match="chmod go-w"):
        put(tmp_path / "tls")
    assert list((tmp_path / "tls").iterdir()) == []


def test_a_directory_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "tls").symlink_to("real")
    with pytest.raises(LocalError, match="it is a link"):
        put(tmp_path / "tls")
    with pytest.raises(LocalError, match="it is a link"):
        check_directory(str(tmp_path / "tls"), set(FILES), overwrite=True)


def test_a_directory_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if (tmp_path.stat().st_uid) == 0:
        os.chown(tmp_path, 65534, -1)
    else:
        monkeypatch.setattr("client.pki_directory.os.geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(LocalError, match="another user"):
        put(tmp_path)


def test_data_that_is_no_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "..data").mkdir()
    with pytest.raises(LocalError, match="needs that name"):
        put(tmp_path)


@pytest.mark.parametrize("name", ["nowhere/tls", "file"])
def test_a_directory_that_cannot_be_made_is_known_before_anything_is_asked(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalError, match="cannot be made"):
        check_directory(str(tmp_path / name), set(FILES), overwrite=False)


def test_a_check_makes_nothing(tmp_path: Path) -> None:
    check_directory(str(tmp_path / "tls"), set(FILES), overwrite=False)
    assert list(tmp_path.iterdir()) == []
