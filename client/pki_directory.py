"""A directory of key, certificate and chain that changes all at once, whatever is read from it meanwhile.

The files are links into `..data`, which is a link to a directory of one generation; a rename of `..data` replaces all
of them in one step, as Kubernetes does it for mounted secrets:

    DIR/key.pem   -> ..data/key.pem
    DIR/..data    -> ..2026-11-23T02-40-00Z.5f3a9c1e
    DIR/..2026-11-23T02-40-00Z.5f3a9c1e/key.pem, cert.pem, …

So there is never a key beside the certificate of another. The generation before stays for those that have it open; the
ones before that are removed. Everything is done below one open directory, so no link on the way can lead elsewhere.
"""

import contextlib
import fcntl
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

from client.errors import LocalError
from client.output_file import PRIVATE, PUBLIC

_DATA = "..data"
_READABLE = 0o755


def check_directory(name: str, files: Mapping[str, bytes] | set[str], *, overwrite: bool) -> None:
    """LocalError if the files could not be put there, so that nothing is asked of the appliance for nothing."""
    path = Path(name)
    if not path.is_dir() and not path.is_symlink():
        if not path.parent.is_dir() or path.exists():
            raise LocalError(f"the directory {name!r} cannot be made: there is no directory {str(path.parent)!r}")
        return
    with _opened(path) as directory:
        _check_files(directory, path, files, overwrite=overwrite)


def put_files(name: str, files: Mapping[str, bytes], *, private: set[str], now: datetime, overwrite: bool) -> None:
    """All of them, durable, in one step. `private` ones have mode 0600, the others 0644.

    LocalError leaves the directory as it was.
    """
    path = Path(name)
    try:
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=_READABLE)
        with _opened(path) as directory:
            fcntl.flock(directory, fcntl.LOCK_EX)
            foreign = _check_files(directory, path, files, overwrite=overwrite)
            before = _current(directory)
            generation = _write_generation(directory, files, private=private, now=now)
            _link_missing(directory, files, foreign)
            _point(directory, _DATA, generation)
            for member in foreign:
                _point(directory, member, f"{_DATA}/{member}")
            os.fsync(directory)
            _remove_old(directory, keep={generation, before})
    except OSError as exc:
        raise LocalError(f"the directory {name!r} cannot be written: {exc.strerror}") from exc


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    """The directory, when nobody else can change what is in it."""
    try:
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as exc:
        why = "it is a link: name the directory itself" if path.is_symlink() else exc.strerror
        raise LocalError(f"the directory {str(path)!r} cannot be used: {why}") from exc
    try:
        _check_owner(os.fstat(directory), str(path))
        yield directory
    finally:
        os.close(directory)


def _check_owner(info: os.stat_result, name: str) -> None:
    if info.st_uid not in {0, os.geteuid()}:
        raise LocalError(f"the directory {name!r} belongs to another user, who could replace the key")
    if info.st_mode & (stat.S_IWOTH | stat.S_IWGRP):
        raise LocalError(
            f"others may write to the directory {name!r} (mode {stat.S_IMODE(info.st_mode):04o}), and replace the key: "
            f"run `chmod go-w {name}`, or name a directory of your own"
        )


def _check_files(directory: int, path: Path, files: Mapping[str, bytes] | set[str], *, overwrite: bool) -> list[str]:
    """The names under which there is something that is not from here, and that may be replaced."""
    foreign = [name for name in files if _is_foreign(directory, name)]
    for name in foreign:
        if not stat.S_ISREG(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            raise LocalError(f"{str(path / name)!r} is no regular file, and is not replaced: remove it first")
    if foreign and not overwrite:
        raise LocalError(f"{str(path / foreign[0])!r} was not written by this command: give --overwrite to replace it")
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISLNK(os.stat(_DATA, dir_fd=directory, follow_symlinks=False).st_mode):
            raise LocalError(f"{str(path / _DATA)!r} is not from this command, which needs that name: remove it first")
    return foreign


def _is_foreign(directory: int, name: str) -> bool:
    try:
        return os.readlink(name, dir_fd=directory) != f"{_DATA}/{name}"
    except FileNotFoundError:
        return False
    except OSError:  # no link
        return True


def _current(directory: int) -> str:
    try:
        return os.readlink(_DATA, dir_fd=directory)
    except FileNotFoundError:
        return ""


def _write_generation(directory: int, files: Mapping[str, bytes], *, private: set[str], now: datetime) -> str:
    name = f"..{now:%Y-%m-%dT%H-%M-%SZ}.{secrets.token_hex(4)}"
    os.mkdir(name, 0o700, dir_fd=directory)
    inside = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        for member, content in files.items():
            _write(inside, member, content, PRIVATE if member in private else PUBLIC)
        os.fchmod(inside, _READABLE)
        os.fsync(inside)
    except BaseException:
        _remove(inside, directory, name)
        raise
    finally:
        os.close(inside)
    return name


def _write(inside: int, name: str, content: bytes, mode: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(name, flags, PRIVATE, dir_fd=inside), "wb") as file:
        file.write(content)
        file.flush()
        os.fchmod(file.fileno(), mode)  # whatever the umask
        os.fsync(file.fileno())


def _remove(inside: int, directory: int, name: str) -> None:
    for member in os.listdir(inside):
        os.unlink(member, dir_fd=inside)
    os.rmdir(name, dir_fd=directory)


def _link_missing(directory: int, files: Mapping[str, bytes], foreign: list[str]) -> None:
    """The first time: links that lead nowhere until `..data` is there, so the files appear together."""
    for name in files:
        if name not in foreign:
            with contextlib.suppress(FileExistsError):
                os.symlink(f"{_DATA}/{name}", name, dir_fd=directory)


def _point(directory: int, name: str, target: str) -> None:
    draft = f"..new.{secrets.token_hex(8)}"
    os.symlink(target, draft, dir_fd=directory)
    try:
        os.rename(draft, name, src_dir_fd=directory, dst_dir_fd=directory)
    except OSError:
        os.unlink(draft, dir_fd=directory)
        raise


def _remove_old(directory: int, *, keep: set[str]) -> None:
    """Generations that nobody needs; what cannot be removed is left."""
    for name in os.listdir(directory):
        if name.startswith("..20") and name not in keep:
            shutil.rmtree(name, ignore_errors=True, dir_fd=directory)
