"""`mimir login`: check a token and keep it."""

import click

from client.errors import LocalError, RefusedError
from client.framework import command
from client.output import show
from client.session import Session, pass_session


@command("login", examples=("mimir login", "mimir login - < token.txt", "mimir login --no-store -o json"))
@click.argument("token", required=False, default="", metavar="[TOKEN|-]")
@click.option("--no-store", is_flag=True, help="Check the token, keep nothing.")
@pass_session
def login(session: Session, token: str, no_store: bool) -> None:
    """Check a token with the appliance and keep it in ~/.mimir-token (mode 0600).

    Without an argument it is asked for and not shown; - reads it from standard input. As an argument it would be
    seen in the list of processes and in the history of the shell.
    """
    from client.api import header_value
    from client.commands.token import lookup_table
    from client.token_file import MAX_TOKEN, store_token, token_file_path

    given = session.inputs.text(token, what="token") if token else session.inputs.hidden("Token", what="token")
    if len(header_value(given, what="token")) > MAX_TOKEN:
        raise LocalError("this is too long for a token")
    try:
        answer = session.client(token=given).read("auth/token/lookup-self")
    except RefusedError as exc:
        raise LocalError("this token is not valid (any more), so nothing was stored: ask for a new one") from exc
    if not no_store:
        path = token_file_path(str(session.home))
        store_token(path, given)
        click.echo(f"Success! You are logged in; the token is kept in {path}.", err=True)
    _warn_of_environment(session, given)
    answer.data.pop("id", None)
    show(session, answer, lookup_table)


def _warn_of_environment(session: Session, token: str) -> None:
    other, variable = session.environment_token()
    if other and other != token:
        click.echo(f"WARNING: {variable} is set and takes precedence over the token of this login: unset it", err=True)
