"""A transit batch: items from a file, results to lines."""

from collections.abc import Callable
from typing import Any

from client.errors import LocalError, NoAnswerError
from client.inputs import parse_json, utf8
from client.text import printable


def batch_items(content: bytes, *, field: str, clean: Callable[[str, int], str]) -> list[dict[str, Any]]:
    """Batch items from a JSON list of objects or texts, or from lines of text. `clean` gets a text and its number."""
    if content.lstrip()[:1] == b"[":
        listed = parse_json(content, name="the batch")
        items = [_item(value, position, field, clean) for position, value in enumerate(listed, start=1)]
    else:
        lines = [line for line in utf8(content, what="batch").splitlines() if line.strip()]
        items = [{field: clean(line, position)} for position, line in enumerate(lines, start=1)]
    if not items:
        raise LocalError("the batch is empty: write one value a line, or a JSON list")
    return items


def _item(value: object, position: int, field: str, clean: Callable[[str, int], str]) -> dict[str, Any]:
    if isinstance(value, str):
        return {field: clean(value, position)}
    if isinstance(value, dict) and isinstance(value.get(field), str):
        return value | {field: clean(value[field], position)}
    raise LocalError(f"item {position} of the batch is neither a text nor an object with a text {field!r}")


def results_text(data: dict[str, Any], field: str) -> str:
    """One result a line, in the order of the items; an empty line for one that failed."""
    return "\n".join(printable(str(result.get(field) or "")) for result in batch_results(data))


def failed_items(data: dict[str, Any]) -> list[tuple[int, str]]:
    """The number and the error of each item that failed."""
    numbered = enumerate(batch_results(data), start=1)
    return [(number, printable(str(result["error"]))) for number, result in numbered if result.get("error")]


def batch_results(data: dict[str, Any]) -> list[dict[str, Any]]:
    """The result of each item, in their order."""
    results = data.get("batch_results")
    if not isinstance(results, list) or not all(isinstance(result, dict) for result in results):
        raise NoAnswerError("the answer holds no batch results: is this path served by a transit engine?")
    return results
