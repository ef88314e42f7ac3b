"""What an import did, for people and for programs: names and numbers, never values."""

from typing import TYPE_CHECKING

import click

from client.kv_moves.target import Outcome
from client.output import show_value
from client.table import columns

if TYPE_CHECKING:
    from client.api import JsonObject
    from client.kv_moves.pool import Summary
    from client.session import Session


def shown_summary(session: "Session", summary: "Summary", *, dry_run: bool) -> None:
    """Failures go to standard error, line by line."""
    show_value(session, _value(summary, dry_run=dry_run), _dry(summary) if dry_run else _text(summary))
    for name, sentence in summary.failures:
        click.echo(f"Error: {name}: {sentence}", err=True)


def _value(summary: "Summary", *, dry_run: bool) -> "JsonObject":
    secrets = [{"path": name, "note": note} for name, note in summary.notes]
    if dry_run:
        return {"dry_run": True, "secrets": summary.outcomes[Outcome.IMPORTED], "found": secrets}
    return {
        "imported": summary.outcomes[Outcome.IMPORTED],
        "versions": summary.versions,
        "present": summary.outcomes[Outcome.PRESENT],
        "skipped": summary.outcomes[Outcome.SKIPPED],
        "failed": summary.failed,
        "verified": summary.verified,
        "complete": summary.stopped is None,
        "notes": secrets,
        "failures": [{"path": name, "error": sentence} for name, sentence in summary.failures],
    }


def _dry(summary: "Summary") -> str:
    return f"{columns(('Secret', 'Would come'), summary.notes)}\n\n{summary.outcomes[Outcome.IMPORTED]} secrets"


def _text(summary: "Summary") -> str:
    outcomes = summary.outcomes
    rows = [
        ("imported", f"{outcomes[Outcome.IMPORTED]} ({summary.versions} version{'s' * (summary.versions != 1)})"),
        ("there already", outcomes[Outcome.PRESENT]),
        ("skipped", outcomes[Outcome.SKIPPED]),
        ("failed", summary.failed),
    ]
    lines = [columns(("Secrets", "Number"), rows)]
    if summary.notes:
        lines.append(columns(("Secret", "Note"), summary.notes))
    if summary.verified == 1:
        lines.append("Verified: 1 secret was read back and is what the source has.")
    elif summary.verified:
        lines.append(f"Verified: {summary.verified} secrets were read back and are what the source has.")
    return "\n\n".join(lines)
