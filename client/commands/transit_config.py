"""`mimir transit config …`: what holds for all keys of an engine."""

import click

from client.commands.generic import secret_table
from client.commands.transit_data import engine_path, mount_option
from client.framework import command, group
from client.output import show
from client.session import Session, pass_session

config = group(
    "config",
    summary="What holds for all keys of the engine.",
    lazy={name: f"client.commands.transit_config:{name}" for name in ("read", "write")},
    examples=("mimir transit config read", "mimir transit config write --disable-upsert --require-custody hsm"),
)


@command("read", examples=("mimir transit config read", "mimir transit config read --mount payments"))
@mount_option
@pass_session
def read(session: Session, mount: str) -> None:
    """Show the engine's configuration."""
    show(session, session.client().read(engine_path(mount, "config/keys")), secret_table)


@command(
    "write",
    examples=(
        "mimir transit config write --disable-upsert",
        "mimir transit config write --require-custody hsm --mount payments",
        "mimir transit config write --require-custody none",
    ),
)
@click.option(
    "--disable-upsert/--no-disable-upsert", default=None, help="Whether encrypt under an unknown name is refused."
)
@click.option(
    "--require-custody",
    type=click.Choice(("hsm", "none")),
    help="hsm: no key is made that would not be in the HSM; none: take that back.",
)
@mount_option
@pass_session
def write(session: Session, disable_upsert: bool | None, require_custody: str | None, mount: str) -> None:
    """Change the engine's configuration; what is not named stays as it is."""
    body: dict[str, object] = {} if disable_upsert is None else {"disable_upsert": disable_upsert}
    if require_custody is not None:
        body["require_custody"] = "" if require_custody == "none" else require_custody
    if not body:
        raise click.UsageError("there is nothing to change: name at least one option")
    answer = session.client().request("POST", engine_path(mount, "config/keys"), body=body)
    show(session, answer, lambda _: f"Success! The engine at {mount.strip('/')}/ is configured.")
