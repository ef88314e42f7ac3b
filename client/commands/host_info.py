"""`mimir operator host-info`: the machine behind the appliance."""

from typing import TYPE_CHECKING, Any

from client.framework import command
from client.output import show
from client.session import Session, pass_session
from client.table import key_values

if TYPE_CHECKING:
    from client.api import Answer

_GIB = 1 << 30


@command("host-info", examples=("mimir operator host-info", "mimir operator host-info -o json"))
@pass_session
def host_info(session: Session) -> None:
    """Show processors, memory and disks of the machine that the appliance runs on."""
    show(session, session.client().read("sys/host-info"), host_table)


def host_table(answer: "Answer") -> str:
    """The totals; `-o json` shows all."""
    data = answer.data
    host, memory = _members(data.get("host")), _members(data.get("memory"))
    disks, processors = data.get("disk"), data.get("cpu")
    rows: list[tuple[str, object]] = [
        ("Host", host.get("hostname")),
        ("Kernel", f"{host.get('os', '')} {host.get('kernelVersion', '')} {host.get('kernelArch', '')}".strip()),
        ("Processors", len(processors) if isinstance(processors, list) else None),
        ("Memory", f"{_size(memory.get('available'))} free of {_size(memory.get('total'))}"),
    ]
    for disk in disks if isinstance(disks, list) else []:
        found = _members(disk)
        rows.append(
            (f"Disk {found.get('path', '')}", f"{_size(found.get('free'))} free of {_size(found.get('total'))}")
        )
    return key_values(rows)


def _members(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _size(value: object) -> str:
    return f"{value / _GIB:.1f} GiB" if isinstance(value, int) else "-"
