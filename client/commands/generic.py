"""`mimir read|write|list|delete PATH`: any path of the API."""

from typing import TYPE_CHECKING

import click

from client.errors import LocalError
from client.framework import command
from client.output import show
from client.session import Session, pass_session
from client.table import columns, duration, key_values, sorted_items
from client.text import printable

if TYPE_CHECKING:
    from client.api import Answer


@command(
    "read", examples=("mimir read sys/mounts", "mimir read transit/keys/orders", "mimir read sys/health standbyok=true")
)
@click.argument("path")
@click.argument("parameters", nargs=-1, metavar="[KEY=VALUE]...")
@pass_session
def read(session: Session, path: str, parameters: tuple[str, ...]) -> None:
    """Read what PATH holds. Parameters go into the query."""
    query = {key: str(value) for key, value in session.inputs.pairs(parameters).items()}
    show(session, session.client().request("GET", path, query=query, partial=True), secret_table)


@command(
    "write",
    examples=(
        "mimir write transit/keys/orders type=aes256-gcm96",
        "mimir write secret/app password=@password.txt",
        'echo \'{"password": "…"}\' | mimir write secret/app -',
        "mimir write --force transit/keys/orders/rotate",
    ),
)
@click.argument("path")
@click.argument("data", nargs=-1, metavar="[KEY=VALUE|KEY=@FILE|KEY=-|@FILE|-]...")
@click.option("-f", "--force", is_flag=True, help="Write without data.")
@pass_session
def write(session: Session, path: str, data: tuple[str, ...], force: bool) -> None:
    r"""Write to PATH.

    A value given as @FILE is read from the file and as - from standard input, which keeps secrets off the command
    line; \@ begins a value with an @. An argument @FILE or - alone is a JSON object.
    """
    if not data and not force:
        raise click.UsageError("there is nothing to write: give key=value, or --force to write without data")
    answer = session.client().write(path, session.inputs.pairs(data))
    show(session, answer, lambda given: secret_table(given) if has_content(given) else f"Success! Written to {path}")


@command("list", examples=("mimir list transit/keys", "mimir list auth/token/accessors -o json"))
@click.argument("path")
@pass_session
def list_(session: Session, path: str) -> None:
    """List what is below PATH."""
    show(session, session.client().list(path), keys_table)


@command("delete", examples=("mimir delete secret/app",))
@click.argument("path")
@click.argument("parameters", nargs=-1, metavar="[KEY=VALUE]...")
@pass_session
def delete(session: Session, path: str, parameters: tuple[str, ...]) -> None:
    """Delete what PATH holds."""
    query = {key: str(value) for key, value in session.inputs.pairs(parameters).items()}
    answer = session.client().delete(path, query)
    show(session, answer, lambda given: secret_table(given) if has_content(given) else f"Success! Deleted {path}")


@command(
    "path-help", examples=("mimir path-help auth/approle/role/web", "mimir path-help sys", "mimir path-help transit")
)
@click.argument("path")
@pass_session
def path_help(session: Session, path: str) -> None:
    """Tell what is served at PATH, or of a mount what it serves. Needs a token, and no policy."""
    show(session, session.client().read(path.strip().rstrip("/"), {"help": "1"}), help_text)


def help_text(answer: "Answer") -> str:
    """The text of `?help=1`, what would drive the terminal escaped."""
    return "\n".join(printable(line) for line in str(answer.body.get("help") or "").rstrip("\n").split("\n"))


def has_content(answer: "Answer") -> bool:
    """Whether there is more to show than that it worked."""
    return bool(answer.data or answer.auth or (answer.body and not has_envelope(answer)))


def has_envelope(answer: "Answer") -> bool:
    """Whether this is Vault's usual shape; a few paths (sys/health) answer without it."""
    return not answer.body.keys().isdisjoint({"request_id", "data", "auth"})


def secret_table(answer: "Answer") -> str:
    """Lease, login and data of any answer; for answers without an envelope, their members."""
    rows: list[tuple[str, object]] = []
    if answer.body.get("lease_id"):
        rows += [("lease_id", answer.body["lease_id"]), ("lease_duration", duration(answer.body.get("lease_duration")))]
        rows += [("lease_renewable", answer.body.get("renewable"))]
    rows += auth_rows(answer)
    rows += [(name, duration(value) if _is_duration(name) else value) for name, value in sorted_items(answer.data)]
    if not rows and not has_envelope(answer):
        rows = sorted_items(answer.body)
    return key_values(rows)


def _is_duration(name: str) -> bool:
    """Whether a member of this name holds seconds, as Vault's own client takes it."""
    return name in {"ttl", "period", "duration"} or name.endswith(("_ttl", "_period", "_duration"))


def auth_rows(answer: "Answer") -> list[tuple[str, object]]:
    """What a login or a new token shows, under Vault's names."""
    auth = answer.auth
    if not auth:
        return []
    rows = [("token", auth.get("client_token")), ("token_accessor", auth.get("accessor") or None)]
    rows += [("token_duration", duration(auth.get("lease_duration")))]
    rows += [("token_renewable", auth.get("renewable")), ("token_policies", auth.get("policies"))]
    return rows + [(f"token_meta_{name}", value) for name, value in sorted_items(auth.get("metadata") or {})]


def keys_table(answer: "Answer") -> str:
    """The names in a list answer."""
    names = answer.data.get("keys")
    if not isinstance(names, list):
        raise LocalError("the answer holds no list of names: `-o json` shows what it holds")
    return columns(("Keys",), [(name,) for name in names])
