"""Options of a file device."""

import pytest

from audit.options import parse_file_options
from core.errors import InvalidRequestError


def test_defaults() -> None:
    options = parse_file_options({"file_path": "/var/log/mimir.log"})
    assert (options.mode, options.hmac_accessor, options.prefix) == (0o600, True, "")


@pytest.mark.parametrize(
    ("given", "path"), [("STDOUT", "stdout"), ("discard", "discard"), ("/dev/null", "/dev/null"), ("/a/b", "/a/b")]
)
def test_paths_that_are_taken(given: str, path: str) -> None:
    assert parse_file_options({"file_path": given}).file_path == path


def test_path_is_another_word_for_file_path() -> None:
    assert parse_file_options({"path": "/a"}).file_path == "/a"


@pytest.mark.parametrize(("text", "mode"), [("0640", 0o640), ("640", 0o640), ("0777", 0o666), ("0000", None)])
def test_modes_are_octal_without_executable_bits(text: str, mode: int | None) -> None:
    assert parse_file_options({"file_path": "/a", "mode": text}).mode == mode


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "file_path is required"),
        ({"file_path": ""}, "file_path is required"),
        ({"file_path": "relative.log"}, "absolute"),
        ({"file_path": "/a/../b"}, "without"),
        ({"file_path": "/a//b"}, "without"),
        ({"file_path": "/a/"}, "without"),
        ({"file_path": "//a"}, "without"),
        ({"file_path": "/a\0b"}, "absolute"),
        ({"file_path": "/a", "mode": "rw"}, "octal"),
        ({"file_path": "/a", "mode": "0o600"}, "octal"),
        ({"file_path": "/a", "mode": "6_00"}, "octal"),
        ({"file_path": "/a", "mode": "1777"}, "octal"),
        ({"file_path": "/a", "mode": "-1"}, "octal"),
        ({"file_path": "/a", "mode": "0400"}, "owner"),
        ({"file_path": "/a", "mode": "0200"}, "owner"),
        ({"file_path": "/a", "log_raw": "true"}, "log_raw is refused"),
        ({"file_path": "/a", "log_raw": "maybe"}, "true or false"),
        ({"file_path": "/a", "hmac_accessor": "yes"}, "true or false"),
        ({"file_path": "/a", "format": "jsonx"}, "format"),
        ({"file_path": "/a", "prefix": "x{"}, "prefix"),
        ({"file_path": "/a", "prefix": "x\n"}, "prefix"),
        ({"file_path": "/a", "prefix": "x" * 257}, "prefix"),
        ({"file_path": "/a", "elide_list_responses": "true"}, "elide"),
        ({"file_path": "/a", "colour": "red"}, "no option colour"),
    ],
)
def test_refusals(options: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        parse_file_options(options)


def test_log_raw_false_is_taken() -> None:
    parse_file_options({"file_path": "/a", "log_raw": "false", "format": "json"})
