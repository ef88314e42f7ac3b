"""Long lists, fetched page by page with `after` and `limit`."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from client.errors import AbsentError, NoAnswerError
from client.progress import progress_in_pages

if TYPE_CHECKING:
    from client.api import Answer, Client, JsonObject

PAGE = 1000  # entries; a page is answered at once and fits the memory of both sides
_LOOKED_AT = 10_000  # secrets that one request looks at; the appliance takes no more


def list_pages(
    client: "Client", path: str, query: dict[str, str], *, after: str = "", limit: int | None = None
) -> "Iterator[Answer]":
    """Answers with `keys`, each behind the last key of the one before, until `limit` or the end.

    An appliance that knows no pages answers all at once, which is more than was asked for, or less than a page.
    """
    left = limit
    while True:
        size = PAGE if left is None else min(PAGE, left)
        try:
            answer = client.read(path, query | {"limit": str(size)} | ({"after": after} if after else {}))
        except AbsentError:
            if not after:
                raise
            return
        names = names_in(answer)
        yield answer
        left = None if left is None else left - len(names)
        if len(names) != size or names[-1] == after or left == 0:
            return
        after = names[-1]


def names_in(answer: "Answer") -> list[str]:
    """`keys` of a list answer."""
    names = answer.data.get("keys")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise NoAnswerError("the answer holds no list of names: `-o json` shows what it holds")
    return names


def joined(pages: "Iterator[Answer]", *, label: str, wanted: bool) -> "Answer":
    """All pages as one answer: `keys`, and `key_info` if they have it. A count on the terminal shows how far it is."""
    names: list[str] = []
    details: JsonObject = {}
    with progress_in_pages(label, wanted=wanted) as advance:
        for page in pages:
            names += names_in(page)
            more = page.data.get("key_info")
            details |= more if isinstance(more, dict) else {}
            advance(len(page.data["keys"]))
    data = page.data | {"keys": names} | ({"key_info": details} if details else {})
    return replace(page, body=page.body | {"data": data})


def cursor_pages(client: "Client", path: str, query: dict[str, str]) -> "Iterator[Answer]":
    """Answers with `secrets` and `next`, which is given back as `after`; a page may be empty and not the last."""
    after = ""
    while True:
        answer = client.read(path, query | {"limit": str(_LOOKED_AT)} | ({"after": after} if after else {}))
        rows_in(answer)
        yield answer
        before, after = after, str(answer.data.get("next") or "")
        if not after or after == before:
            return


def rows_in(answer: "Answer") -> "list[JsonObject]":
    """`secrets` of an answer."""
    rows = answer.data.get("secrets")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise NoAnswerError("the answer holds no list of secrets: `-o json` shows what it holds")
    return rows


def joined_rows(pages: "Iterator[Answer]", *, label: str, wanted: bool) -> "Answer":
    """All pages as one answer; a count of what was found shows that it goes on."""
    rows: list[JsonObject] = []
    with progress_in_pages(label, wanted=wanted) as advance:
        for page in pages:
            rows += rows_in(page)
            advance(len(page.data["secrets"]))
    return replace(page, body=page.body | {"data": page.data | {"secrets": rows}})


def detailed_rows(answer: "Answer") -> "Iterator[tuple[str, JsonObject]]":
    """Each name with what `key_info` says of it."""
    known = answer.data.get("key_info")
    info = known if isinstance(known, dict) else {}
    for name in names_in(answer):
        details = info.get(name)
        yield name, details if isinstance(details, dict) else {}
