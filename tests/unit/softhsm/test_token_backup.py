"""A token file torn by a killed login is restored; a changed one is copied anew; nothing else is touched."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from core.errors import ConfigError
from softhsm import token_backup
from softhsm.token_backup import keep_tokens_whole


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "tokens" / "0f1e" / "token.object"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"whole" * 40)
    assert keep_tokens_whole(tmp_path) == []
    return file


@pytest.mark.parametrize("left", [0, 1, 199])
def test_a_torn_file_is_restored(tmp_path: Path, file: Path, left: int) -> None:
    whole = file.read_bytes()
    file.write_bytes(whole[:left])
    assert keep_tokens_whole(tmp_path) == ["0f1e"]
    assert file.read_bytes() == whole
    assert file.stat().st_mode & 0o777 == 0o600
    assert keep_tokens_whole(tmp_path) == []


def test_a_changed_pin_is_not_undone(tmp_path: Path, file: Path) -> None:
    file.write_bytes(b"other" * 40)
    assert keep_tokens_whole(tmp_path) == []
    file.write_bytes(b"")
    keep_tokens_whole(tmp_path)
    assert file.read_bytes() == b"other" * 40


def test_a_token_without_a_copy_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "tokens" / "new" / "token.object"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"")
    assert keep_tokens_whole(tmp_path) == []
    assert file.read_bytes() == b""


def test_where_there_are_no_tokens_nothing_is_made(tmp_path: Path) -> None:
    assert keep_tokens_whole(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_login_that_hangs_is_named(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_backup, "_PATIENCE", 0.05)
    with (tmp_path / "login.lock").open("w") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="hangs while it logs in"):
            keep_tokens_whole(tmp_path)
