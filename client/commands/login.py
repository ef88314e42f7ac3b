"""`mimir login` and `mimir auth login`: prove who you are, and keep the token."""

from typing import TYPE_CHECKING, Any

import click

from client.errors import LocalError, RefusedError
from client.framework import MimirCommand, command
from client.output import show, write_exact
from client.session import Session, pass_session
from client.table import key_values

if TYPE_CHECKING:
    from collections.abc import Callable

    from client.api import Answer

_EXAMPLES = (
    "mimir {} --method userpass username=bob",
    "mimir {} --method approle role_id=@role-id secret_id=@secret-id",
    "mimir {} --method approle --path machines --token-only secret_id=-",
    "mimir {} --method aws --role webapp-prod",
)


def _options(function: "Callable[..., Any]") -> "Callable[..., Any]":
    """What both spellings of the command take."""
    for option in reversed(
        (
            click.argument("arguments", nargs=-1, metavar="[TOKEN|-] [KEY=VALUE|KEY=@FILE|KEY=-]..."),
            click.option("--method", default="token", metavar="NAME", help="How to log in [token]."),
            click.option("--path", metavar="PATH", help="Where the method is mounted; its name, if not given."),
            click.option(
                "--role", default="", metavar="ROLE", help="The role to log in as, where the method has them."
            ),
            click.option("--no-store", is_flag=True, help="Keep nothing, and show the token."),
            click.option("--token-only", is_flag=True, help="Print the token alone, and keep nothing."),
        )
    ):
        function = option(function)
    return function


def _login(
    session: Session, /, arguments: tuple[str, ...], method: str, path: str | None, role: str, **how: bool
) -> None:
    if method == "token":
        if len(arguments) > 1 or role or path:
            raise click.UsageError("a token is all that --method token takes: mimir login [TOKEN|-]")
        _login_by_token(session, arguments[0] if arguments else "", **how)
        return
    from client.commands.auth_credentials import credentials

    where = (path or method).strip("/").removeprefix("auth/")
    found = credentials(session, method, role, arguments)
    target = f"auth/{where}/{found.path}"
    answer = session.client().request(
        "PUT", target, body=found.body, authenticated=False, denied=lambda: _why_denied(method)
    )
    _keep(session, answer, **how)


def _why_denied(method: str) -> str:
    """The appliance tells nobody before a login which methods it has; what can be said here is said here."""
    from importlib.metadata import entry_points

    known = sorted({"token", *(point.name for point in entry_points(group="mimir.auth_methods"))})
    if method not in known:
        return f"This version of Mimir has no login method {method} (yet); it has: {', '.join(known)}"
    return (
        "Nothing is mounted there (`mimir auth list` shows what is, --path names another place), this address may not "
        "log in there, or after several failed logins the name is refused for a while"
    )


def _keep(session: Session, answer: "Answer", *, no_store: bool, token_only: bool) -> None:
    """Store and show the token of an answer."""
    from client.commands.generic import auth_rows, secret_table

    if isinstance(answer.body.get("wrap_info"), dict):  # whoever unwraps it logs in
        show(session, answer, secret_table)
        return
    token = str(answer.auth.get("client_token") or "")
    if not token:
        raise LocalError(
            "the answer holds no token, so nothing was stored: `-o json` and --no-store show what it holds"
        )
    if token_only:
        write_exact(token.encode())
        return
    if no_store:
        show(session, answer, secret_table)
        return
    _store(session, token)
    show(session, answer, lambda given: key_values([row for row in auth_rows(given) if row[0] != "token"]))


def _login_by_token(session: Session, token: str, *, no_store: bool, token_only: bool) -> None:
    """Check a token with the appliance."""
    from client.api import header_value
    from client.commands.token import lookup_table
    from client.token_file import MAX_TOKEN

    given = session.inputs.text(token, what="token") if token else session.inputs.hidden("Token", what="token")
    if len(header_value(given, what="token")) > MAX_TOKEN:
        raise LocalError("this is too long for a token")
    try:
        answer = session.client(token=given).read("auth/token/lookup-self")
    except RefusedError as exc:
        raise LocalError("this token is not valid (any more), so nothing was stored: ask for a new one") from exc
    if token_only:
        write_exact(given.encode())
        return
    if no_store:
        _warn_of_environment(session, given)
    else:
        _store(session, given)
    answer.data.pop("id", None)
    show(session, answer, lookup_table)


def _store(session: Session, token: str) -> None:
    from client.token_file import store_token, token_file_path

    path = token_file_path(str(session.home))
    store_token(path, token)
    click.echo(f"Success! You are logged in; the token is kept in {path}.", err=True)
    _warn_of_environment(session, token)


def _warn_of_environment(session: Session, token: str) -> None:
    other, variable = session.environment_token()
    if other and other != token:
        click.echo(f"WARNING: {variable} is set and takes precedence over the token of this login: unset it", err=True)


def _command(spelling: str, *examples: str) -> MimirCommand:
    """The command under one of its names."""

    @command("login", examples=(*examples, *(example.format(spelling) for example in _EXAMPLES)))
    @_options
    @pass_session
    def run(session: Session, /, **given: Any) -> None:
        """Log in and keep the token in ~/.mimir-token (mode 0600).

        Without --method a token is checked with the appliance and kept; it is asked for and not shown, and - reads it
        from standard input: as an argument it would be seen in the list of processes and in the history of the shell.

        Other methods take what they need as KEY=VALUE; secrets among it from a file (KEY=@FILE), from standard input
        (KEY=-), or asked for. `mimir auth help --method NAME` tells what a method takes.
        """
        _login(session, **given)

    return run


login = _command("login", "mimir login", "mimir login - < token.txt", "mimir login --no-store -o json")
auth_login = _command("auth login")
