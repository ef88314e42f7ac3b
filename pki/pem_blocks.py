"""PEM (RFC 7468) from anybody, as blocks: in time that grows with the text alone, whatever stands in it."""

import re
from base64 import b64decode
from binascii import Error
from typing import NamedTuple

from core.errors import InvalidRequestError

_BEGIN = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----")


class Block(NamedTuple):
    """What stands between BEGIN and END, and what they call it."""

    label: str
    body: str

    def der(self) -> bytes:
        """Raises ValueError for what is not base64, or has headers (RFC 1421) before it."""
        try:
            return b64decode("".join(self.body.split()), validate=True)
        except Error as exc:
            raise ValueError("not base64") from exc


def blocks_of(text: str) -> list[Block]:
    """In their order; what stands between them is for people. Raises InvalidRequestError for one without an end."""
    found: list[Block] = []
    at = 0
    while (begin := _BEGIN.search(text, at)) is not None:
        _check_between(text[at : begin.start()])
        end = f"-----END {begin[1]}-----"
        stop = text.find(end, begin.end())
        if stop < 0:  # nor is there an end for those like it further on: so nothing is searched twice
            raise _without_end()
        found.append(Block(begin[1], text[begin.end() : stop]))
        at = stop + len(end)
    _check_between(text[at:])
    return found


def _check_between(text: str) -> None:
    if "-----BEGIN" in text:
        raise _without_end()


def _without_end() -> InvalidRequestError:
    return InvalidRequestError("a block of the PEM bundle has no end: is the text cut off?")
