"""An error answer, turned into a sentence that says what to do next."""

from collections.abc import Callable

from client.errors import AbsentError, CliError, DeniedError, RefusedError, UnavailableError
from client.text import printable

_NEXT_STEPS = {
    400: "the request cannot be served as it was made",
    404: "nothing is there",
    405: "this path does not take this operation; see `mimir --help`",
    412: "the appliance is behind the state this request asks for: try again",
    413: "the request is too large: send it in smaller parts",
    429: "too many requests: wait and try again",
    501: "the appliance is not initialised: run `mimir operator init`",
    502: "a proxy before the appliance cannot reach it: try again later",
    504: "a proxy before the appliance got no answer in time: try again later",
}


def refusal(
    status: int,
    body: object,
    *,
    path: str,
    request_id: str,
    token_sent: bool,
    location: str,
    denied: Callable[[], str] | None = None,
) -> CliError:
    """The error for a status of 300 and above. `denied` is what a command knows better than we when it is a 403."""
    sentences = error_sentences(body) or warning_sentences(body)  # an engine may know why nothing is there
    tail = f" (request id {printable(request_id)})" if request_id else ""
    if status < 400:
        where = f" to {printable(location)}" if location else ""
        return RefusedError(f"{path}: the appliance redirects{where} (status {status}): set MIMIR_ADDR accordingly")
    if status == 403:
        return DeniedError(_permission_denied(sentences, path=path, token_sent=token_sent, denied=denied) + tail)
    said = "; ".join(sentences) or _NEXT_STEPS.get(status, f"status {status}")
    if status in {412, 429} or status >= 500:
        return UnavailableError(f"{path}: {said}{_remedy(status, sentences)}{tail}")
    kind = AbsentError if status == 404 else RefusedError
    return kind(f"{path}: {said}{_remedy(status, sentences)}{tail}")


def error_sentences(body: object) -> list[str]:
    """What Vault's `{"errors": [...]}` says, safe for a terminal; anything else is no sentence."""
    errors = body.get("errors") if isinstance(body, dict) else None
    return [one_line(error) for error in errors if error] if isinstance(errors, list) else []


def warning_sentences(body: object) -> list[str]:
    """What an answer says besides, safe for a terminal."""
    warnings = body.get("warnings") if isinstance(body, dict) else None
    return [one_line(warning) for warning in warnings if warning] if isinstance(warnings, list) else []


def one_line(error: object) -> str:
    """One error as the middle of a sentence: Go's lists of errors span lines, and some end with a full stop."""
    return printable(" ".join(str(error).split())).rstrip(".")


def _permission_denied(sentences: list[str], *, path: str, token_sent: bool, denied: Callable[[], str] | None) -> str:
    said = "; ".join(sentences) or "permission denied"
    if denied is not None:
        return f"{path}: {said}. {denied()}"
    if not token_sent:
        return f"{path}: {said}. No token was sent: run `mimir login`, or set MIMIR_TOKEN"
    return (
        f"{path}: {said}. Check with `mimir token lookup` that the token is still valid "
        "and that one of its policies allows this"
    )


def _smaller(sentences: list[str]) -> str:
    if any("a secret has at most" in sentence for sentence in sentences):
        return ": store it as several secrets, or encrypt the file with `mimir transit encrypt --file`"
    return ": send it in smaller parts, or use --file where the command has it"


def _remedy(status: int, sentences: list[str]) -> str:
    if status == 404 and any("no handler for route" in sentence for sentence in sentences):
        return ". No engine is mounted there: see `mimir secrets engine list`, and `mimir secrets engine enable TYPE`"
    if status == 413 and sentences:
        return _smaller(sentences)
    if status == 503 and any("sealed" in sentence.lower() for sentence in sentences):
        return ". See `mimir status`, and unseal with `mimir operator unseal`"
    if status == 503:
        return ". See `mimir status` and `mimir hsm status`, and try again"
    if status == 500:
        return ". This is a fault of the appliance: its log has the details"
    return ""
