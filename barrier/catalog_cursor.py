"""How far a search of a catalog came, as text: "n<catalog>.<number>", or "d<catalog>.<due_at>.<number>"."""

import re
from typing import NamedTuple

from core.errors import InvalidRequestError

LAST = 2**63 - 1

_FORMS = {False: re.compile(r"n(\d{1,19})\.()(\d{1,19})"), True: re.compile(r"d(\d{1,19})\.(\d{1,19})\.(\d{1,19})")}


class Key(NamedTuple):
    """A row's place in the order of an answer; in the order of number `due_at` is 0."""

    due_at: int
    number: int


def write_cursor(catalog: int, key: Key, *, by_due: bool) -> str:
    """The cursor behind that row."""
    return f"d{catalog}.{key.due_at}.{key.number}" if by_due else f"n{catalog}.{key.number}"


def read_cursor(cursor: str, catalog: int | None, *, by_due: bool) -> Key:
    """Where to go on. Raises InvalidRequestError for anything but a cursor of this catalog and this order."""
    if not cursor:
        return Key(0, 0)
    found = _FORMS[by_due].fullmatch(cursor) if cursor.isascii() else None
    if found is not None and int(found[1]) == catalog:
        key = Key(int(found[2] or 0), int(found[3]))
        if max(key) <= LAST:
            return key
    raise InvalidRequestError("`after` is no cursor of this query; give the one that came with the page before")
