"""Batches: each item succeeds or fails by itself, and the status follows from all of them (Vault's rules)."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

from core.errors import CallerError, InvalidRequestError, RequestTooLargeError
from core.requests import Response

MAX_ITEMS = 100_000

ItemT = TypeVar("ItemT")
ParsedT = TypeVar("ParsedT")
ResultT = TypeVar("ResultT")


class Referenced(Protocol):
    """An item that the caller may have given a name."""

    @property
    def reference(self) -> str | None:
        """It comes back beside the result."""
        ...


def check_size(items: Sequence[object]) -> None:
    """Raises for a batch that is empty or too long."""
    if not items:
        raise InvalidRequestError("missing batch input to process")
    if len(items) > MAX_ITEMS:
        raise RequestTooLargeError(f"batch_input holds {len(items)} items; one request takes at most {MAX_ITEMS}")


def check_batch(items: Sequence[object], *, needs: str, purpose: str) -> None:
    """Raises for a batch that is refused as a whole: empty, too long, or an item without the member it `needs`."""
    check_size(items)
    for i, item in enumerate(items):
        if getattr(item, needs) is None:
            raise InvalidRequestError(f"failed to parse batch input: '[{i}].{needs}' missing {needs} to {purpose}")


async def run_batch(
    items: Sequence[ItemT],
    parse: Callable[[ItemT], ParsedT],
    run: Callable[[list[ParsedT]], Awaitable[Sequence[ResultT | CallerError]]],
) -> list[ResultT | CallerError]:
    """Parse each item, run those that parse in one go, and put every answer in the place of its item."""
    parsed: list[ParsedT] = []
    answers: list[Any] = [None] * len(items)
    places: list[int] = []
    for i, item in enumerate(items):
        try:
            parsed.append(parse(item))
            places.append(i)
        except CallerError as exc:
            answers[i] = exc
    for i, answer in zip(places, await run(parsed), strict=True):
        answers[i] = answer
    return answers


def batch_response(
    items: Sequence[Referenced],
    answers: Sequence[ResultT | CallerError],
    show: Callable[[ResultT], dict[str, Any]],
    *,
    empty: dict[str, Any],
    partial_failure_response_code: int | None,
) -> Response:
    """`batch_results` in the order of the items, each with its reference.

    Any failure makes the status 400, or the code the caller gave for that when others succeeded. `empty` is what a
    failed item shows beside its error.
    """
    results: list[dict[str, Any]] = []
    failures = 0
    for item, answer in zip(items, answers, strict=True):
        if isinstance(answer, CallerError):
            failures += 1
            shown = {**empty, "error": answer.sentence}
        else:
            shown = show(answer)
        shown["reference"] = item.reference or ""
        results.append(shown)
    response = Response(data={"batch_results": results})
    if failures:
        _set_failed(response, partial_failure_response_code if failures < len(items) else None)
    return response


def _set_failed(response: Response, code: int | None) -> None:
    response.status = 400
    if code is None:
        return
    if 200 <= code <= 599:
        response.status = code
    else:
        response.warnings = ["invalid HTTP response code override from partial_failure_response_code, reverting to 400"]


def item_response(
    items: Sequence[Referenced],
    answers: Sequence[ResultT | CallerError],
    show: Callable[[ResultT], dict[str, Any]],
    *,
    failed: dict[str, Any],
) -> Response:
    """`batch_results` as `batch_response` has them, with status 200 whatever failed.

    That is Vault's rule for rewrap, signatures and MACs. `failed` is what an item shows beside its error.
    """
    results: list[dict[str, Any]] = []
    for item, answer in zip(items, answers, strict=True):
        shown = {**failed, "error": answer.sentence} if isinstance(answer, CallerError) else show(answer)
        shown["reference"] = item.reference or ""
        results.append(shown)
    return Response(data={"batch_results": results})
