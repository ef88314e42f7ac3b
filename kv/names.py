"""Names of secrets."""

from core.errors import InvalidRequestError
from core.requests import Request

MAX_BYTES = 1900  # the store's limit for a path, less what stands before the name


def clean_name(path: str) -> str:
    """With one slash where there are several, and none at the ends: policies were asked for both spellings."""
    if "//" in path or path.endswith("/") or path.startswith("/"):
        return "/".join(filter(None, path.split("/")))
    return path


def secret_name(request: Request) -> str:
    """The name that the path ends with. Raises InvalidRequestError for none, and for one that cannot be stored."""
    return checked_name(request.params.get("path", ""))


def checked_name(path: str) -> str:
    """A name as it is stored. Raises InvalidRequestError as `secret_name` does."""
    name = clean_name(path)
    if not name:
        raise InvalidRequestError("the path names no secret")
    check_length(name)
    return name


def check_length(name: str) -> None:
    """Raise InvalidRequestError for a name that cannot be stored."""
    size = len(name.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        raise InvalidRequestError(f"the name of a secret has at most {MAX_BYTES} bytes, and this one has {size}")
