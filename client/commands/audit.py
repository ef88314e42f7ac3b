"""`mimir audit …`: enable, list and disable audit devices."""

from typing import TYPE_CHECKING

import click

from client.framework import command, group
from client.output import show
from client.session import Session, pass_session
from client.table import cell, columns

if TYPE_CHECKING:
    from client.api import Answer, JsonObject

audit = group(
    "audit",
    summary="Manage audit devices.",
    lazy={"enable": "client.commands.audit:enable", "list": "client.commands.audit:list_"}
    | {"disable": "client.commands.audit:disable"},
    examples=("mimir audit enable file file_path=/var/log/mimir/audit.log", "mimir audit list"),
)


@command(
    "enable",
    examples=(
        "mimir audit enable file file_path=/var/log/mimir/audit.log",
        "mimir audit enable file --path second file_path=/srv/audit.log",
    ),
)
@click.argument("type_", metavar="TYPE")
@click.argument("options", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--path", metavar="PATH", help="The device's name; its type, if not given.")
@click.option("--description", metavar="TEXT", help="What it is for.")
@click.option("--local", is_flag=True, help="This cluster's alone, not replicated.")
@pass_session
def enable(
    session: Session, *, type_: str, options: tuple[str, ...], path: str | None, description: str | None, local: bool
) -> None:
    """Add an audit device. From then on no request is answered that it has not recorded."""
    where = (path or type_).strip("/")
    body: JsonObject = {"type": type_, "options": session.inputs.pairs(options), "local": local}
    if description is not None:
        body["description"] = description
    answer = session.client().write(f"sys/audit/{where}", body)
    show(session, answer, lambda _: f"Success! The {type_} audit device is enabled at {where}/.")


@command("list", examples=("mimir audit list", "mimir audit list -o yaml"))
@pass_session
def list_(session: Session) -> None:
    """List the audit devices."""
    show(session, session.client().read("sys/audit"), devices_table)


@command("disable", examples=("mimir audit disable second",))
@click.argument("path")
@pass_session
def disable(session: Session, path: str) -> None:
    """Remove an audit device. Its file stays."""
    where = path.strip("/")
    answer = session.client().delete(f"sys/audit/{where}")
    show(session, answer, lambda _: f"Success! The audit device at {where}/ is disabled, if it existed.")


def devices_table(answer: "Answer") -> str:
    """Path, type, description and options of each device."""
    devices = sorted((path, device) for path, device in answer.data.items() if isinstance(device, dict))
    if not devices:
        return "No audit device is enabled."
    rows = [
        (path, device.get("type"), device.get("description") or "", _options(device.get("options")))
        for path, device in devices
    ]
    return columns(("Path", "Type", "Description", "Options"), rows)


def _options(options: object) -> str:
    return " ".join(f"{name}={cell(value)}" for name, value in options.items()) if isinstance(options, dict) else ""
