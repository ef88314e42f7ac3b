"""Undoing what a killed process did to SoftHSM's token file.

C_Login rewrites `token.object` in place: it empties the file and writes it anew. A process that is killed in between
leaves a torn file, and SoftHSM no longer shows the token, with every key in it. The file holds the token's label, flags
and PIN-encrypted master key, nothing that changes but for a PIN change; so a copy of it, kept beside the tokens,
brings the token back. Files are compared and copied under the lock that every login of the node holds.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from core.errors import ConfigError

TOKENS_NAME = "tokens"
LOCK_NAME = "login.lock"
BACKUP_NAME = "token-backup"
_FILE = "token.object"
_PATIENCE = 10.0  # seconds; a login takes milliseconds


def keep_tokens_whole(token_dir: Path) -> list[str]:
    """Restore every torn token file below `token_dir` and refresh the copies of the whole ones.

    Answers the names of the tokens that were restored. Raises ConfigError when files cannot be written.
    """
    tokens = token_dir / TOKENS_NAME
    if not tokens.is_dir():
        return []
    try:
        with _login_lock(token_dir / LOCK_NAME):
            return [folder.name for folder in sorted(tokens.iterdir()) if _keep(folder / _FILE, token_dir)]
    except OSError as exc:
        raise ConfigError(f"the copy of the HSM token in {token_dir} cannot be kept: {exc.strerror}") from exc


def _keep(file: Path, token_dir: Path) -> bool:
    """Whether the file was torn and is whole again."""
    if not file.exists():
        return False
    copy = token_dir / BACKUP_NAME / file.parent.name / _FILE
    present = file.read_bytes()
    saved = copy.read_bytes() if copy.exists() else b""
    if len(present) < len(saved):
        _write(file, saved)
        return True
    if present != saved:
        copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(copy, present)
    return False


def _write(path: Path, content: bytes) -> None:
    partial = path.with_name(path.name + ".new")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


@contextlib.contextmanager
def _login_lock(path: Path) -> Iterator[None]:
    """As pkcs11_glue.login.node_lock, but not for ever: who waits here is the supervisor."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise ConfigError(
                        f"a process has held {path} for {_PATIENCE:g} seconds: it hangs while it logs in to the HSM"
                    ) from None
                time.sleep(0.01)
        yield
    finally:
        os.close(descriptor)
