"""Which of the engine's errors a number of MySQL becomes, and that no sentence holds a secret or the server's text."""

import ssl

import pytest
from pymysql.err import InterfaceError, InternalError, OperationalError, ProgrammingError

from dynamic.target import TargetAwayError, TargetLoginError, TargetRefusedError
from dynamic.targets.mysql_errors import is_lost, of_connecting, of_statements
from dynamic.targets.mysql_session import DistrustError

SECRET = "hunter2-and-more"


def caused(cause: OSError) -> OperationalError:
    """As aiomysql wraps what goes wrong when it connects."""
    error = OperationalError(2003, "Can't connect to MySQL server on 'secret.example'")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize("number", [1045, 1130, 1698, 1820, 1862, 3118, 4151])
def test_a_login_that_is_refused(number: int) -> None:
    assert isinstance(of_connecting(OperationalError(number, "text"), "db"), TargetLoginError)


@pytest.mark.parametrize("number", [1040, 1053, 1129, 1203, 1226, 2002, 2003, 2006, 2013, 2026])
def test_a_server_that_is_away(number: int) -> None:
    assert isinstance(of_connecting(OperationalError(number, "text"), "db"), TargetAwayError)
    assert isinstance(of_statements(OperationalError(number, "text"), "db", what="x", hidden=()), TargetAwayError)


@pytest.mark.parametrize("number", [1044, 1045, 1064, 1130, 1142, 1227, 1290, 1396, 1410, 3619])
def test_statements_that_are_refused(number: int) -> None:
    """Also 1045: GRANT says so of a user that may not grant."""
    found = of_statements(OperationalError(number, f"text {SECRET}"), "db", what="the statements", hidden=(SECRET,))
    assert isinstance(found, TargetRefusedError)
    assert str(number) in found.sentence
    assert "text" not in found.sentence
    assert "hunter2" not in found.sentence + found.detail


@pytest.mark.parametrize("number", [1205, 1317, 1969, 3024])
def test_statements_that_took_too_long(number: int) -> None:
    found = of_statements(OperationalError(number, "text"), "db", what="x", hidden=())
    assert isinstance(found, TargetAwayError)
    assert "in time" in found.sentence


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        pytest.param(caused(ConnectionRefusedError(111, "Connection refused")), "Connection refused", id="refused"),
        pytest.param(caused(TimeoutError()), "in time", id="timeout"),
        pytest.param(TimeoutError(), "in time", id="timeout-of-ours"),
        pytest.param(caused(ssl.SSLError(1, "hm")), "TLS failed", id="tls"),
        pytest.param(caused(FileNotFoundError(2, "No such file", "/run/s")), "No such file", id="no-socket"),
        pytest.param(DistrustError(2061, "it asks too much"), "it asks too much", id="distrust"),
        pytest.param(InternalError("Packet sequence number wrong"), "lost", id="sequence"),
        pytest.param(IndexError("index out of range"), "does not speak", id="garbage"),
        pytest.param(OperationalError(1193, "Unknown variable"), "1193 ER_UNKNOWN_SYSTEM_VARIABLE", id="set-up"),
    ],
)
def test_the_reason_is_told_without_hosts(error: Exception, reason: str) -> None:
    found = of_connecting(error, "db")
    assert isinstance(found, TargetAwayError)
    assert reason in found.sentence
    assert "secret.example" not in found.sentence
    assert "/run/s" not in found.sentence


@pytest.mark.parametrize(
    ("error", "moves", "lost"),
    [
        (OperationalError(2013, ""), False, True),
        (OperationalError(1927, ""), False, True),
        (InterfaceError(0, "Not connected"), False, True),
        (ConnectionResetError(), False, True),
        (OperationalError(1290, ""), True, True),
        (OperationalError(1290, ""), False, False),
        (ProgrammingError(1064, ""), True, False),
    ],
    ids=["lost", "killed", "closed", "reset", "moved", "read-only", "refused"],
)
def test_when_another_session_may_serve(error: Exception, moves: bool, lost: bool) -> None:
    assert is_lost(error, moves=moves) is lost


@pytest.mark.parametrize("shown", [SECRET[:4], SECRET[:9], SECRET[5:12], SECRET])
def test_a_part_of_a_secret_in_the_servers_text_hides_the_text(shown: str) -> None:
    error = ProgrammingError(1064, f"You have an error, check the manual, near 'IDENTIFIED BY '{shown}' at line 1")
    found = of_statements(error, "db", what="x", hidden=(SECRET,))
    assert isinstance(found, TargetRefusedError)
    assert shown not in found.detail
    assert "1064 ER_PARSE_ERROR" in found.detail
