"""The file that keeps the token of `mimir login`: mode 0600, replaced as a whole."""

import os
import secrets
import stat
from pathlib import Path

from client.errors import LocalError

MAX_TOKEN = 8192  # bytes


def token_file_path(home: str) -> Path:
    """`~/.mimir-token`."""
    return Path(home) / ".mimir-token"


def load_token(path: Path) -> str:
    """The token in the file, or "" when there is no file. A file that others can read is refused."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return ""
    except OSError as exc:
        raise LocalError(f"the token file {path} cannot be read: {exc.strerror}") from exc
    try:
        _check_private(path, os.fstat(descriptor))
        content = os.read(descriptor, MAX_TOKEN + 1)
    finally:
        os.close(descriptor)
    if len(content) > MAX_TOKEN:
        raise LocalError(f"the token file {path} holds more than a token: remove it and run `mimir login`")
    return content.decode("utf-8", "replace").strip()


def _check_private(path: Path, info: os.stat_result) -> None:
    if not stat.S_ISREG(info.st_mode):
        raise LocalError(f"the token file {path} is not a regular file: remove it and run `mimir login`")
    if info.st_mode & 0o077:
        raise LocalError(
            f"others may read the token file {path} (mode {stat.S_IMODE(info.st_mode):04o}), so it is not used: "
            f"run `chmod 600 {path}`, and revoke the token if somebody did"
        )
    if os.geteuid() not in {0, info.st_uid}:
        raise LocalError(f"the token file {path} belongs to another user, so it is not used")


def store_token(path: Path, token: str) -> None:
    """Write the token beside the file and put it in its place, so that no reader sees half of it."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                os.fchmod(descriptor, 0o600)
                file.write(token)
                file.flush()
                os.fsync(descriptor)
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
    except OSError as exc:
        raise LocalError(f"the token cannot be kept in {path}: {exc.strerror}") from exc
