"""Files that commands write: in place when they are whole, or not at all."""

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from client.errors import LocalError

PRIVATE = 0o600
PUBLIC = 0o644


def check_free(name: str, *, force: bool) -> Path:
    """Where a file can be put. LocalError if something is there, so that nothing is asked of the appliance for nothing.

    `force` allows to replace a regular file, and nothing else: a device or a directory is never replaced.
    """
    path = Path(name)
    try:
        info = path.lstat()
    except FileNotFoundError:
        return _in_directory(path)
    except (OSError, ValueError) as exc:
        raise LocalError(f"the file {name!r} cannot be written: {_why(exc)}") from exc
    if not stat.S_ISREG(info.st_mode):
        raise LocalError(f"{name!r} is not a regular file, and is not replaced: use `--out -` and redirect the output")
    if not force:
        raise LocalError(f"the file {name!r} is there already: give --force to replace it")
    return path


def _in_directory(path: Path) -> Path:
    if not path.name or not path.parent.is_dir():
        raise LocalError(f"the file {str(path)!r} cannot be written: there is no directory {str(path.parent)!r}")
    return path


@contextlib.contextmanager
def whole_file(path: Path, *, force: bool, mode: int = PRIVATE) -> Iterator["Draft"]:
    """A draft beside the file, mode 0600, that takes its place when the block ends well, and is removed if not."""
    draft = path.with_name(f".{path.name[:200]}.{secrets.token_hex(8)}.part")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE)
    except (OSError, ValueError) as exc:
        raise LocalError(f"the file {str(path)!r} cannot be written: {_why(exc)}") from exc
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield Draft(file, path)
            with _named(path):
                os.fchmod(descriptor, mode)
                file.flush()
                os.fsync(descriptor)
        with _named(path):
            _put_in_place(draft, path, force=force)
    finally:
        draft.unlink(missing_ok=True)


class Draft:
    """The draft, whose failures name the file."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path

    def write(self, content: bytes) -> int:
        """All of it, or LocalError."""
        with _named(self._path):
            return self._file.write(content)


def _put_in_place(draft: Path, path: Path, *, force: bool) -> None:
    """Rename; without `force` by a link, which fails when somebody else has put a file there meanwhile."""
    if force:
        draft.replace(path)
    else:
        try:
            os.link(draft, path)
        except FileExistsError:
            raise LocalError(f"the file {str(path)!r} is there already: give --force to replace it") from None
        except OSError:  # a file system without hard links
            check_free(str(path), force=False)
            draft.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise LocalError(f"the file {str(path)!r} cannot be written: {_why(exc)}") from exc


def write_whole(path: Path, content: bytes, *, force: bool, mode: int = PRIVATE) -> None:
    """Write a file at once."""
    with whole_file(path, force=force, mode=mode) as file:
        file.write(content)


def _why(exc: Exception) -> str:
    return (exc.strerror if isinstance(exc, OSError) else None) or "its name holds a NUL"
