"""`mimir operator …`: initialise, seal, unseal, rotate the barrier's key."""

from typing import TYPE_CHECKING

import click

from client.commands.status import status_table
from client.framework import command, group
from client.output import show
from client.session import Session, pass_session
from client.table import key_values
from client.text import printable

if TYPE_CHECKING:
    from client.api import Answer, JsonObject

operator = group(
    "operator",
    summary="What operators do: initialise, seal, unseal, rotate, verify escrow shares.",
    lazy={
        "init": "client.commands.operator:init",
        "seal": "client.commands.operator:seal",
        "unseal": "client.commands.operator:unseal",
        "rotate": "client.commands.operator:rotate",
        "key-status": "client.commands.operator:key_status",
        "generate-root": "client.commands.operator_keys:generate_root",
        "rekey": "client.commands.operator_keys:rekey",
        "host-info": "client.commands.host_info:host_info",
        "escrow": "client.commands.escrow:escrow",
    },
    examples=("mimir operator init --recovery-shares 5 --recovery-threshold 3", "mimir operator escrow verify"),
)


@command(
    "init",
    examples=(
        "mimir operator init",
        "mimir operator init --recovery-shares 1 --recovery-threshold 1 --no-escrow",
        "mimir operator init --escrow-shares 5 --escrow-threshold 3 -o json > init.json",
    ),
)
@click.option(
    "--recovery-shares", type=click.IntRange(0, 255), default=5, show_default=True, help="Recovery keys to make."
)
@click.option(
    "--recovery-threshold", type=click.IntRange(0, 255), default=3, show_default=True, help="How many are needed."
)
@click.option(
    "--escrow-shares", type=click.IntRange(1, 16), help="Escrow shares to make; the appliance's default if not given."
)
@click.option("--escrow-threshold", type=click.IntRange(1, 16), help="How many of them are needed.")
@click.option("--no-escrow", is_flag=True, help="Make no escrow shares: without the HSM its keys are then lost.")
@pass_session
def init(
    session: Session,
    *,
    recovery_shares: int,
    recovery_threshold: int,
    escrow_shares: int | None,
    escrow_threshold: int | None,
    no_escrow: bool,
) -> None:
    """Initialise the appliance, once in its life.

    Prints the recovery keys, the escrow shares and the first root token. They are shown now and never again.
    """
    if no_escrow and (escrow_shares or escrow_threshold):
        raise click.UsageError("--no-escrow contradicts --escrow-shares and --escrow-threshold")
    if session.field:
        raise click.UsageError("--field would drop the other keys, which are shown only once: use -o json")
    _check_quorum("recovery", recovery_shares, recovery_threshold)
    body: JsonObject = {"recovery_shares": recovery_shares, "recovery_threshold": recovery_threshold}
    if no_escrow:
        body["escrow_shares"] = 0
    elif escrow_shares is not None and escrow_threshold is not None:
        _check_quorum("escrow", escrow_shares, escrow_threshold)
        body |= {"escrow_shares": escrow_shares, "escrow_threshold": escrow_threshold}
    elif escrow_shares is not None or escrow_threshold is not None:
        raise click.UsageError("--escrow-shares and --escrow-threshold go together")
    answer = session.client().request("PUT", "sys/init", body=body, authenticated=False)
    show(session, answer, lambda given: init_text(given, threshold=recovery_threshold))


def _check_quorum(kind: str, shares: int, threshold: int) -> None:
    if threshold > shares or (threshold == 0) != (shares == 0):
        raise click.UsageError(
            f"the {kind} threshold ({threshold}) must be between 1 and the number of shares ({shares})"
        )


_RECOVERY_ADVICE = """\
Give each recovery key to another person: {threshold} of them together can unseal Mimir
after `mimir operator seal`. They are not shown again."""

_ESCROW_ADVICE = """\
Give each escrow share, on paper, to another person: they are the only way to your
keys when the HSM is lost, and they are not shown again. Prove that they were written
down well with `mimir operator escrow verify`."""


def init_text(answer: "Answer", *, threshold: int) -> str:
    """Every key on a line of its own, as `bao operator init` prints them, then what to do with them."""
    body = answer.body
    lines = numbered_keys("Unseal Key", body.get("keys_base64"))
    lines += numbered_keys("Recovery Key", body.get("recovery_keys_base64"))
    escrow = numbered_keys("Escrow Share", body.get("escrow_shares"))
    if lines and escrow:
        lines.append("")
    lines += escrow
    lines += [
        "",
        f"Initial Root Token: {printable(str(body.get('root_token', '')))}",
        "",
        "Success! Mimir is initialized.",
    ]
    if body.get("recovery_keys_base64"):
        lines += ["", _RECOVERY_ADVICE.format(threshold=threshold)]
    if escrow:
        lines += ["", _ESCROW_ADVICE]
    return "\n".join(lines)


def numbered_keys(label: str, values: object) -> list[str]:
    """One on a line."""
    items = values if isinstance(values, list) else []
    return [f"{label} {number}: {printable(str(item))}" for number, item in enumerate(items, start=1)]


@command("seal", examples=("mimir operator seal",))
@pass_session
def seal(session: Session) -> None:
    """Forget all keys. Nothing is served until `mimir operator unseal`."""
    show(session, session.client().write("sys/seal"), lambda _: "Success! Mimir is sealed.")


@command(
    "unseal",
    examples=("mimir operator unseal", "mimir operator unseal - < recovery-key.txt", "mimir operator unseal --reset"),
)
@click.argument("key", required=False, default="", metavar="[KEY|-]")
@click.option("--reset", is_flag=True, help="Forget the keys given so far.")
@pass_session
def unseal(session: Session, key: str, reset: bool) -> None:
    """Give one recovery key; repeat until the threshold is reached.

    Without an argument the key is asked for and not shown; - reads it from standard input.
    """
    if reset and key:
        raise click.UsageError("--reset takes no key")
    body: JsonObject = {"reset": True}
    if not reset:
        given = session.inputs.text(key, what="key") if key else session.inputs.hidden("Key", what="key")
        body = {"key": given}
    answer = session.client().request("PUT", "sys/unseal", body=body, authenticated=False)
    show(session, answer, status_table)


@command("rotate", examples=("mimir operator rotate",))
@pass_session
def rotate(session: Session) -> None:
    """Make a new term of the barrier's key: new writes use it, old entries stay readable."""
    show(
        session,
        session.client().write("sys/rotate"),
        lambda _: "Success! New writes are encrypted under a new key term.",
    )


@command("key-status", examples=("mimir operator key-status", "mimir operator key-status --field term"))
@pass_session
def key_status(session: Session) -> None:
    """Show the term of the barrier's key and since when it is in use."""
    show(session, session.client().read("sys/key-status"), key_status_table)


def key_status_table(answer: "Answer") -> str:
    """Term, time, and what else the appliance counts."""
    rows = {"Key Term": "term", "Install Time": "install_time", "Encryption Count": "encryptions"}
    return key_values((label, answer.data[name]) for label, name in rows.items() if name in answer.data)
