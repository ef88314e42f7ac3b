"""The options of a file device, as `sys/audit/<path>` takes them."""

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass

from core.errors import InvalidRequestError

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})  # Go's strconv.ParseBool
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_KNOWN = frozenset(
    {"file_path", "path", "mode", "hmac_accessor", "prefix", "log_raw", "format", "elide_list_responses"}
)
MAX_PREFIX = 256
STDOUT = "stdout"
DISCARD = "discard"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOptions:
    """`file_path` is absolute, "stdout" or "discard"; `mode` None leaves a file's mode as it is."""

    file_path: str
    mode: int | None = 0o600
    hmac_accessor: bool = True
    prefix: str = ""


def parse_file_options(options: Mapping[str, str]) -> FileOptions:
    """Check what the operator gave. Raises InvalidRequestError."""
    if unknown := sorted(set(options) - _KNOWN):
        raise InvalidRequestError(
            f"a file audit device has no option {unknown[0]}; it knows {', '.join(sorted(_KNOWN))}"
        )
    if _flag(options, "log_raw", default=False):
        raise InvalidRequestError("log_raw is refused: it would write every secret to the file in clear")
    if _flag(options, "elide_list_responses", default=False):
        raise InvalidRequestError("elide_list_responses is not supported; leave it out")
    if options.get("format", "json") != "json":
        raise InvalidRequestError('format must be "json"')
    return FileOptions(
        file_path=_file_path(options),
        mode=_mode(options.get("mode", "0600")),
        hmac_accessor=_flag(options, "hmac_accessor", default=True),
        prefix=_prefix(options.get("prefix", "")),
    )


def _flag(options: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = options.get(name)
    if text is None:
        return default
    if text not in _TRUE | _FALSE:
        raise InvalidRequestError(f"{name} must be true or false")
    return text in _TRUE


def _file_path(options: Mapping[str, str]) -> str:
    path = options.get("file_path", options.get("path", ""))
    if not path:
        raise InvalidRequestError("file_path is required")
    if path.lower() in {STDOUT, DISCARD}:
        return path.lower()
    if not path.startswith("/") or "\0" in path:
        raise InvalidRequestError('file_path must be an absolute path, "stdout" or "discard"')
    if path != os.path.normpath(path) or path.startswith("//"):
        raise InvalidRequestError("file_path must be written without '.', '..', double or trailing slashes")
    return path


def _mode(text: str) -> int | None:
    """Octal, as for chmod; executable bits are dropped, as OpenBao does; "0000" leaves the file's mode alone."""
    mode = int(text, 8) if re.fullmatch("[0-7]{1,5}", text, re.ASCII) else -1
    if not 0 <= mode <= 0o777:
        raise InvalidRequestError('mode must be an octal file mode such as "0600"')
    if mode == 0:
        return None
    if mode & stat.S_IRUSR == 0 or mode & stat.S_IWUSR == 0:
        raise InvalidRequestError("mode must let the owner read and write, or Mimir could not append to the file")
    return mode & 0o666


def _prefix(text: str) -> str:
    if len(text) > MAX_PREFIX or not text.isprintable() or "{" in text:
        raise InvalidRequestError(f"prefix must be at most {MAX_PREFIX} printable characters, without '{{'")
    return text
