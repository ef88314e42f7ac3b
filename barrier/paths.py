"""Paths as the store orders them: by the bytes of their UTF-8, which is also the order of code points."""

from core.errors import InvalidRequestError

# PostgreSQL's index entries end at 2,704 bytes
MAX_BYTES = 2048

_LAST = "\U0010ffff"
_SURROGATES = range(0xD800, 0xE000)


def check_name(name: str, *, what: str = "path") -> None:
    """Raise InvalidRequestError for what one of the engines could not store: NUL, lone surrogates, too long."""
    if "\0" in name:
        raise InvalidRequestError(f"the {what} contains a NUL character")
    try:
        size = len(name.encode())
    except UnicodeEncodeError as exc:
        raise InvalidRequestError(f"the {what} is not valid Unicode") from exc
    if not 0 < size <= MAX_BYTES:
        raise InvalidRequestError(f"the {what} must be 1 to {MAX_BYTES} bytes long, and is {size}")


def prefix_end(prefix: str) -> str | None:
    """The least text above everything that starts with `prefix`; None when there is none."""
    stem = prefix.rstrip(_LAST)
    if not stem:
        return None
    following = ord(stem[-1]) + 1
    if following in _SURROGATES:
        following = _SURROGATES.stop
    return stem[:-1] + chr(following)


def path_after(path: str) -> str:
    """The least path above `path`: no path holds a NUL."""
    return path + "\x01"


def list_start(prefix: str, after: str) -> str:
    """The least path whose name below `prefix` comes behind `after`.

    A name that ends in "/" stands for all below it, so the listing goes on behind its last descendant. Raises
    InvalidRequestError for an `after` that no name can be.
    """
    if "\0" in after:
        raise InvalidRequestError("after contains a NUL character")
    folder, slash, _rest = after.partition("/")
    if slash:
        return f"{prefix}{folder}0"  # "0" follows "/"
    return path_after(prefix + after)


def name_below(prefix: str, path: str) -> str:
    """The first segment of `path` below `prefix`; a folder keeps its "/"."""
    folder, slash, _rest = path[len(prefix) :].partition("/")
    return folder + slash
