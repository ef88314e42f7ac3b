"""`mimir quota …`: how often one client address may ask."""

import math
from typing import TYPE_CHECKING

import click

from client.commands.generic import keys_table
from client.framework import command, group
from client.output import show
from client.session import Session, pass_session
from client.table import key_values

if TYPE_CHECKING:
    from client.api import Answer, JsonObject

quota = group(
    "quota",
    summary="Limit how often one client address may ask.",
    lazy={"list": "client.commands.quota:list_", "read": "client.commands.quota:read"}
    | {"write": "client.commands.quota:write", "delete": "client.commands.quota:delete"},
    examples=("mimir quota write everything --rate 1000 --interval 1s", "mimir quota list"),
)
_ROOT = "sys/quotas/rate-limit"


@command("list", examples=("mimir quota list",))
@pass_session
def list_(session: Session) -> None:
    """List the names of all rate limits."""
    show(session, session.client().list(_ROOT), keys_table)


@command("read", examples=("mimir quota read everything", "mimir quota read everything --field rate"))
@click.argument("name")
@pass_session
def read(session: Session, name: str) -> None:
    """Show one rate limit."""
    show(session, session.client().read(f"{_ROOT}/{name}"), quota_table)


@command(
    "write",
    examples=(
        "mimir quota write everything --rate 1000",
        "mimir quota write logins --rate 5 --interval 1m --block 10m --path auth/userpass/",
        "mimir quota write web --rate 20 --path auth/approle/ --role web",
    ),
)
@click.argument("name")
@click.option("--rate", type=click.FloatRange(0, min_open=True), required=True, help="Requests in one interval.")
@click.option("--interval", metavar="TIME", help="How long an interval is; 1s if not given.")
@click.option("--block", metavar="TIME", help="How long a client that asked too often is refused.")
@click.option("--path", metavar="PATH", help="A namespace, a mount or a path below it; everything if not given.")
@click.option("--role", metavar="ROLE", help="Logins of this role of the login method at --path alone.")
@click.option("--inheritable", is_flag=True, default=None, help="Also for the namespaces below the one at --path.")
@pass_session
def write(
    session: Session,
    *,
    name: str,
    rate: float,
    interval: str | None,
    block: str | None,
    path: str | None,
    role: str | None,
    inheritable: bool | None,
) -> None:
    """Create or replace a rate limit. The most specific one decides alone."""
    if not math.isfinite(rate):
        raise click.UsageError("--rate is a number of requests")
    if role and not path:
        raise click.UsageError("--role needs the --path of its login method")
    body: JsonObject = {"rate": rate}
    given = {"interval": interval, "block_interval": block, "path": path, "role": role, "inheritable": inheritable}
    body |= {field: value for field, value in given.items() if value is not None}
    answer = session.client().write(f"{_ROOT}/{name}", body)
    show(session, answer, lambda _: f"Success! The quota {name} is in force.")


@command("delete", examples=("mimir quota delete everything",))
@click.argument("name")
@pass_session
def delete(session: Session, name: str) -> None:
    """Delete a rate limit."""
    answer = session.client().delete(f"{_ROOT}/{name}")
    show(session, answer, lambda _: f"Success! The quota {name} is deleted, if it existed.")


def quota_table(answer: "Answer") -> str:
    """What it holds for, and how much."""
    from client.table import duration

    data = answer.data
    path = "everything" if data.get("path") == "" else data.get("path")
    rows: list[tuple[str, object]] = [("Name", data.get("name")), ("Path", path)]
    if data.get("role"):
        rows.append(("Role", data["role"]))
    rows += [("Rate", data.get("rate")), ("Interval", duration(data.get("interval")))]
    if data.get("block_interval"):
        rows.append(("Block Interval", duration(data["block_interval"])))
    return key_values([*rows, ("Inheritable", data.get("inheritable"))])
