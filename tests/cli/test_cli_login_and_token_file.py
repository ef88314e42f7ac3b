"""`mimir login` and the token file."""

import os
import stat

import pytest

from client.errors import ExitCode, LocalError
from client.token_file import load_token, store_token, token_file_path

TOKEN = "s.CAESIJ-secret"


def test_login_keeps_the_token_for_its_owner_alone(mimir, appliance, home):
    appliance.gives(id=TOKEN, display_name="root", policies=["root"])
    before = os.umask(0)
    try:
        outcome = mimir("login", "-", stdin=f"{TOKEN}\n".encode(), MIMIR_TOKEN="")
    finally:
        os.umask(before)
    path = home / ".mimir-token"
    assert outcome.code == 0
    assert path.read_text() == TOKEN
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(home.iterdir()) == [path]
    assert TOKEN not in outcome.out + outcome.err


def test_login_checks_the_token_it_was_given_not_the_one_in_use(mimir, appliance):
    mimir("login", TOKEN, MIMIR_TOKEN="s.other")
    assert appliance.only.headers["X-Vault-Token"] == TOKEN


def test_login_says_that_the_environment_wins(mimir, appliance):
    assert "MIMIR_TOKEN is set and takes precedence" in mimir("login", TOKEN, MIMIR_TOKEN="s.other").err


def test_login_can_store_nothing(mimir, appliance, home):
    assert mimir("login", TOKEN, "--no-store").code == 0
    assert not list(home.iterdir())


def test_login_replaces_an_older_token_whatever_its_mode(mimir, appliance, home):
    (home / ".mimir-token").write_text("old")
    (home / ".mimir-token").chmod(0o644)
    assert mimir("login", TOKEN).code == 0
    assert load_token(home / ".mimir-token") == TOKEN


def test_login_asks_when_no_token_is_given(mimir, appliance, monkeypatch):
    monkeypatch.setattr("click.termui.hidden_prompt_func", lambda _: TOKEN)
    mimir("login", terminal=True, MIMIR_TOKEN="")
    assert appliance.only.headers["X-Vault-Token"] == TOKEN


@pytest.mark.parametrize("arguments", [("login",), ("login", "-")])
def test_login_without_a_terminal_reads_standard_input(mimir, appliance, arguments):
    outcome = mimir(*arguments, stdin=f"{TOKEN}\n".encode(), MIMIR_TOKEN="")
    assert appliance.only.headers["X-Vault-Token"] == TOKEN
    assert "echo" not in outcome.err


@pytest.mark.parametrize(("command", "what"), [(("login",), "token"), (("operator", "unseal"), "key")])
def test_nothing_on_standard_input_is_said_so(mimir, appliance, command, what):
    outcome = mimir(*command, MIMIR_TOKEN="")
    assert (outcome.code, outcome.err) == (1, f"Error: the {what} is empty\n")
    assert not appliance.requests


def test_the_token_file_is_used_when_the_environment_has_none(mimir, appliance, home):
    store_token(home / ".mimir-token", TOKEN)
    mimir("read", "a", MIMIR_TOKEN="")
    assert appliance.only.headers["X-Vault-Token"] == TOKEN


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_token_file_that_others_can_touch_is_refused(mimir, appliance, home, mode):
    path = home / ".mimir-token"
    path.write_text(TOKEN)
    path.chmod(mode)
    outcome = mimir("read", "a", MIMIR_TOKEN="")
    assert outcome.code == ExitCode.FAILED
    assert f"chmod 600 {path}" in outcome.err
    assert TOKEN not in outcome.err
    assert not appliance.requests


def test_an_open_token_file_does_not_matter_where_no_token_is_needed(mimir, appliance, home):
    (home / ".mimir-token").write_text(TOKEN)
    (home / ".mimir-token").chmod(0o644)
    appliance.answers(200, {"sealed": False})
    assert mimir("status", MIMIR_TOKEN="").code == 0


@pytest.mark.parametrize("content", [b"two\nlines", b"s.\xff", b"s.\x1b[0m"])
def test_a_token_file_with_something_else_in_it_is_not_sent(mimir, appliance, home, content):
    path = home / ".mimir-token"
    path.touch(mode=0o600)
    path.write_bytes(content)
    assert "the token holds a character" in mimir("read", "a", MIMIR_TOKEN="").err
    assert not appliance.requests


def test_a_missing_token_file_is_no_token(tmp_path):
    assert load_token(token_file_path(str(tmp_path))) == ""


def test_a_directory_a_pipe_and_a_large_file_are_refused(tmp_path):
    directory, pipe, large = tmp_path / "d", tmp_path / "p", tmp_path / "l"
    directory.mkdir(mode=0o700)
    os.mkfifo(pipe, 0o600)
    large.touch(mode=0o600)
    large.write_bytes(b"x" * 10_000)
    for path in (directory, pipe, large):
        with pytest.raises(LocalError, match=r"mimir login|cannot be read"):
            load_token(path)


def test_a_token_that_cannot_be_stored_leaves_nothing_behind(tmp_path):
    with pytest.raises(LocalError, match="cannot be kept"):
        store_token(tmp_path / "absent" / ".mimir-token", TOKEN)
    (tmp_path / ".mimir-token").mkdir()
    with pytest.raises(LocalError, match="cannot be kept"):
        store_token(tmp_path / ".mimir-token", TOKEN)
    assert [path.name for path in tmp_path.iterdir()] == [".mimir-token"]
