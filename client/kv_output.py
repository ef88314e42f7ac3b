"""How secrets and versions are shown."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from client import exact_json
from client.errors import NoAnswerError
from client.table import columns, key_values
from client.text import printable

if TYPE_CHECKING:
    from client.api import Answer, JsonObject
    from client.kv_path import KvPath

NOT_KV = "the answer is not that of a kv engine of version 2: `-o json` shows what it holds"


def section(title: str, text: str) -> str:
    """A heading as wide as what is below it, as Vault's client prints it."""
    width = max((len(line) for line in text.split("\n")), default=0)
    return f"{f' {title} ':=^{max(width, len(title) + 6)}}\n{text}"


def sections(*parts: str) -> str:
    """One below the other."""
    return "\n\n".join(part for part in parts if part)


def value_table(values: "JsonObject") -> str:
    """Names and values in the order of the names; what is no text is shown as JSON, its digits as they came."""
    return key_values((name, shown_value(value)) for name, value in sorted(values.items()))


def shown_value(value: Any) -> str:
    """One value on one line."""
    return printable(value if isinstance(value, str) else exact_json.dumps(value, indent=None))


def version_table(block: "JsonObject") -> str:
    """`metadata` of one version, as it is beside its data."""
    rows = [(name, block.get(name)) for name in ("created_time", "custom_metadata", "deletion_time", "destroyed")]
    rows += [(name, value) for name, value in block.items() if name not in {*dict(rows), "version"}]
    rows.append(("version", block.get("version")))
    return key_values((name, "n/a" if value == "" else value) for name, value in rows)


def written_text(found: "KvPath", answer: "Answer") -> str:
    """What a put says: where and as which version; never a value."""
    if found.version == 1:
        return f"Success! Data written to: {found.shown}"
    check_block(answer.data)
    return sections(
        section("Secret Path", printable(found.api("data"))), section("Metadata", version_table(answer.data))
    )


def check_block(block: object) -> "JsonObject":
    """What is said of one version; NoAnswerError if it is none."""
    if not isinstance(block, dict) or not isinstance(block.get("version"), int):
        raise NoAnswerError(NOT_KV)
    return block


def table_of(headings: "dict[str, str]", rows: Iterable["JsonObject"]) -> str:
    """Columns by the names of members."""
    return columns(tuple(headings.values()), ([row.get(name) for name in headings] for row in rows))
