"""Aligned text: what people read. Rows are plain values; nothing of the terminal is known here."""

from collections.abc import Iterable, Mapping, Sequence

from client import exact_json
from client.text import printable

GAP = "    "


def key_values(rows: Iterable[tuple[str, object]]) -> str:
    """Two columns with Vault's heading."""
    return columns(("Key", "Value"), rows)


def columns(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns as wide as their widest cell, the headings underlined."""
    lines = [list(headings), ["-" * len(heading) for heading in headings]]
    lines += [[cell(value) for value in row] for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    return "\n".join(
        GAP.join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def cell(value: object) -> str:
    """One value on one line."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return printable(exact_json.dumps(value, indent=None)) if value else "-"
    if isinstance(value, list | tuple):
        return ", ".join(cell(item) for item in value) or "-"
    return printable(str(value))


def sorted_items(mapping: Mapping[str, object]) -> list[tuple[str, object]]:
    """The members of an object in the order of their names."""
    return sorted(mapping.items())


def duration(seconds: object) -> object:
    """Seconds as people write them; what is no whole number is left as it is."""
    from core.durations import people_duration

    return people_duration(seconds) if isinstance(seconds, int) and not isinstance(seconds, bool) else seconds
