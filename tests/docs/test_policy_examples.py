"""docs/policies.md: every policy on the page is parsed, and gives the answers that the page shows."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from appliance.access.acl import Acl
from appliance.access.policy_text import parse_policy
from appliance.access.rules import Policy
from appliance.access.subject import EntityView, Facts
from tests.docs.transcript import fenced_blocks

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "policies.md").read_text()
LINES = PAGE.splitlines()
ROW = re.compile(r"\| `(?P<request>[^`]+)` \| (?P<sign>[✓✗])(?P<reason>.*) \|")
NOW = "2026-11-25T10:00:00Z"  # where the page says no time


@dataclass(frozen=True)
class Example:
    """A policy and one row of the table below it."""

    line: int
    text: str
    request: str
    reason: str  # "" where it is allowed

    def __str__(self) -> str:
        return f"{self.line}: {self.request}"


def policies() -> list[tuple[int, str, str]]:
    """Line, kind and text of each policy on the page."""
    return [(start, kind, "\n".join(block)) for start, kind, block in fenced_blocks(PAGE) if kind in {"hcl", "json"}]


def rows_below(line: int) -> Iterator[tuple[int, re.Match[str]]]:
    """The table right below the block that ends at or after `line`."""
    head = LINES.index("```", line) + 2
    assert LINES[head] == "| request | answer |", f"line {head + 1}: a policy is followed by its answers"
    for number in range(head + 2, len(LINES)):
        if not LINES[number].startswith("|"):
            return
        row = ROW.fullmatch(LINES[number])
        assert row, f"line {number + 1}: not a row of answers"
        yield number + 1, row


def examples() -> list[Example]:
    return [
        Example(number, text, row["request"], row["reason"].strip() if row["sign"] == "✗" else "")
        for line, _, text in policies()
        for number, row in rows_below(line)
    ]


def entity(words: dict[str, str]) -> EntityView | None:
    metadata = {word.removeprefix("metadata."): value for word, value in words.items() if word.startswith("metadata.")}
    if not metadata and "name" not in words:
        return None
    return EntityView(id="e-1", name=words.get("name", "somebody"), metadata=metadata)


def facts(words: dict[str, str]) -> Facts:
    data: dict[str, Any] = {
        word.removeprefix("data."): {"true": True}.get(value, value)
        for word, value in words.items()
        if word.startswith("data.")
    }
    return Facts(
        now=datetime.fromisoformat(words.get("at", NOW)).timestamp(),
        address=words.get("from", ""),
        headers={"X-Mimir-Reason": "ticket 4711"} if "reason" in words else {},
        data=data,
        wrap_ttl=int(words.get("wrap", 0)),
    )


@pytest.mark.parametrize("document", ["README.md", "docs/operations.md"])
def test_policies_on_other_pages_are_ones_that_can_be_written(document: str) -> None:
    for _, kind, block in fenced_blocks((ROOT / document).read_text()):
        if kind == "hcl":
            assert parse_policy("", "\n".join(block))


def test_the_page_has_examples() -> None:
    assert len(policies()) >= 8
    assert len(examples()) >= 39


@pytest.mark.parametrize("example", examples(), ids=str)
def test_a_policy_gives_the_answer_that_the_page_shows(example: Example) -> None:
    capability, path, *rest = example.request.split()
    words = {name: value for name, _, value in (word.partition("=") for word in rest)}
    asked = facts(words)
    policy = Policy(name="page", text=example.text, rules=parse_policy("", example.text), version=1)
    refusal = Acl([("", policy)], entity=entity(words), now=asked.now).check(path, capability).refusal(asked)
    if not example.reason:
        assert refusal is None, refusal
    else:
        assert refusal is not None
        assert refusal.reason.endswith(example.reason), refusal.reason
