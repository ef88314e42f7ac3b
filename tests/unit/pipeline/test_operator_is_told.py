"""What keeps the appliance from serving is in its log: once a minute, for every request fails of it."""

import pytest
import structlog

from appliance import http_errors
from core.errors import AuditUnavailableError, HsmGoneError, InvalidRequestError, SealedError


@pytest.fixture(autouse=True)
def silent_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_errors, "_told", {})


def test_trouble_is_told_once_for_many_requests() -> None:
    with structlog.testing.capture_logs() as lines:
        for number in range(100):
            http_errors.log_fault(AuditUnavailableError("the disk is full"), request_id=str(number))
        http_errors.log_fault(HsmGoneError("the token is gone"), request_id="other")
    assert [line["reason"] for line in lines] == ["the disk is full", "the token is gone"]


def test_trouble_is_told_again_after_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(http_errors.time, "monotonic", lambda: now[0])
    with structlog.testing.capture_logs() as lines:
        for now[0] in (1000.0, 1059.0, 1060.0):
            http_errors.log_fault(AuditUnavailableError("the disk is full"), request_id="a")
    assert len(lines) == 2


@pytest.mark.parametrize("error", [SealedError(""), InvalidRequestError("a member is missing")])
def test_what_no_operator_needs_to_mend_is_not_told(error: Exception) -> None:
    with structlog.testing.capture_logs() as lines:
        http_errors.log_fault(error, request_id="a")
    assert not lines
