"""`mimir hsm status`: which HSM, in which state, and what it was proven to do."""

from typing import TYPE_CHECKING

from client.framework import command, group
from client.output import show
from client.session import Session, pass_session
from client.table import columns, key_values

if TYPE_CHECKING:
    from client.api import Answer

hsm = group(
    "hsm",
    summary="Look at the hardware security module.",
    lazy={"status": "client.commands.hsm:status"},
    examples=("mimir hsm status",),
)

_ROWS = {
    "State": "state",
    "Module": "module",
    "Token": "token_label",
    "Serial": "token_serial",
    "Mode": "mode",
    "Latency (µs)": "latency_us",
    "KEK": "kek_ids",
    "Escrow Key": "escrow_id",
    "Token Objects": "objects",
}


@command("status", examples=("mimir hsm status", "mimir hsm status -o json"))
@pass_session
def status(session: Session) -> None:
    """Show the HSM's state, its mechanisms as proven at start, and where each kind of key lives."""
    show(session, session.client().read("sys/hsm/status"), hsm_text)


def hsm_text(answer: "Answer") -> str:
    """Three tables, as far as the appliance has something to say."""
    data = answer.data
    parts = [key_values((label, data[name]) for label, name in _ROWS.items() if name in data)]
    mechanisms = data.get("mechanisms")
    if isinstance(mechanisms, list) and mechanisms:
        parts.append(columns(("Mechanism", "Proven"), [mechanism_row(item) for item in mechanisms]))
    custody = data.get("custody")
    if isinstance(custody, dict) and custody:
        parts.append(columns(("Key kind", "Custody"), sorted(custody.items())))
    return "\n\n".join(parts)


def mechanism_row(item: object) -> tuple[object, object]:
    """Name and proof; what is no pair of these is shown as it is."""
    return (item.get("name"), item.get("proven")) if isinstance(item, dict) else (item, None)
