"""What a log line holds."""

import json
import logging

import pytest
import structlog

from appliance.logging import code_path, configure_logging


@pytest.fixture(autouse=True)
def _restore_logging() -> object:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_json_lines_name_the_process(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json", process="worker-1")
    structlog.get_logger().info("certificate reloaded", address="a")
    structlog.get_logger().debug("not shown")
    (line,) = capsys.readouterr().err.splitlines()
    record = json.loads(line)
    assert (record["event"], record["process"], record["level"]) == ("certificate reloaded", "worker-1", "info")
    assert record["timestamp"].endswith("Z")


def test_code_path_holds_places_and_no_values() -> None:
    with pytest.raises(ValueError, match="hvs") as caught:
        int("hvs.secret")
    place = code_path(caught.value)[-1]
    assert place.endswith("test_code_path_holds_places_and_no_values")
    assert "secret" not in place
