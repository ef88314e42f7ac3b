"""`mimir token …`: make, look up, renew and revoke tokens."""

from typing import TYPE_CHECKING, Any

import click

from client.commands.generic import secret_table
from client.framework import command, group
from client.output import show
from client.session import Session, pass_session
from client.table import duration, key_values, sorted_items

if TYPE_CHECKING:
    from client.api import Answer, Client, JsonObject

token = group(
    "token",
    summary="Make, look up, renew and revoke tokens.",
    lazy={name: f"client.commands.token:{name}" for name in ("create", "lookup", "renew", "revoke")}
    | {name: f"client.commands.token_tools:{name}" for name in ("capabilities", "accessors", "tidy")}
    | {"rotate-batch-key": "client.commands.token_tools:rotate_batch_key", "role": "client.commands.token_role:role"},
    examples=("mimir token create --policy orders-api --ttl 1h", "mimir token lookup", "mimir token revoke --self"),
)


@command(
    "create",
    examples=(
        "mimir token create --policy orders-api --ttl 1h",
        "mimir token create --orphan --policy ops --display-name nightly --metadata team=core",
        "mimir token create --type batch --policy orders-api --ttl 10m --bound-cidr 10.0.0.0/8",
        "mimir token create --role orders-api --field token",
    ),
)
@click.option("--policy", multiple=True, metavar="NAME", help="Attach a policy; repeat for several.")
@click.option("--role", metavar="NAME", help="Create it by the rules of a token role.")
@click.option("--type", type=click.Choice(("service", "batch")), help="A batch token is not stored, and not revoked.")
@click.option("--entity-alias", metavar="NAME", help="It speaks for the entity of this alias; with --role.")
@click.option("--bound-cidr", multiple=True, metavar="NETWORK", help="Good from there alone; repeat for several.")
@click.option("--ttl", metavar="TIME", help="How long it lives, as 30m or 24h.")
@click.option("--explicit-max-ttl", metavar="TIME", help="Longest life that renewals can give it.")
@click.option("--period", metavar="TIME", help="Each renewal gives it this long, without an end.")
@click.option("--display-name", metavar="NAME", help="Its name in the audit log.")
@click.option("--num-uses", type=click.IntRange(min=0), help="How often it can be used; 0: without limit.")
@click.option("--metadata", multiple=True, metavar="KEY=VALUE", help="Goes into the audit log; repeat for several.")
@click.option("--orphan", is_flag=True, help="It outlives the token that makes it.")
@click.option("--renewable/--not-renewable", default=None, help="Whether it can be renewed.")
@click.option("--no-default-policy", is_flag=True, help="Leave out the policy `default`.")
@pass_session
def create(
    session: Session,
    /,
    *,
    policy: tuple[str, ...],
    metadata: tuple[str, ...],
    bound_cidr: tuple[str, ...],
    role: str | None,
    orphan: bool,
    **options: Any,
) -> None:
    """Make a child of the token in use, or with --orphan a token of its own."""
    if role and orphan:
        raise click.UsageError("give --role or --orphan: whether its tokens are orphans is up to the role")
    if options["entity_alias"] and not role:
        raise click.UsageError("--entity-alias needs --role, which lists the aliases it may be given")
    body: JsonObject = {name: value for name, value in options.items() if value not in (None, False)}
    if options["renewable"] is False:
        body["renewable"] = False
    if policy:
        body["policies"] = list(policy)
    if metadata:
        body["meta"] = _metadata(metadata)
    if bound_cidr:
        body["bound_cidrs"] = list(bound_cidr)
    path = "auth/token/create-orphan" if orphan else f"auth/token/create/{role}" if role else "auth/token/create"
    show(session, session.client().request("POST", path, body=body), secret_table)


def _metadata(pairs: tuple[str, ...]) -> dict[str, str]:
    split = [pair.partition("=") for pair in pairs]
    if not all(key and equals for key, equals, _ in split):
        raise click.UsageError("metadata is written as KEY=VALUE")
    return {key: value for key, _, value in split}


@command(
    "lookup",
    examples=(
        "mimir token lookup",
        "mimir token lookup - < token.txt",
        "mimir token lookup --accessor 8609694a-cdbc-db9b",
    ),
)
@click.argument("target", required=False, default="", metavar="[TOKEN|-]")
@click.option("--accessor", metavar="ACCESSOR", help="Name the token by its accessor.")
@pass_session
def lookup(session: Session, target: str, accessor: str | None) -> None:
    """Show what a token is: the one in use, or another."""
    if accessor and target:
        raise click.UsageError("give a token or --accessor, not both")
    client = session.client()
    if accessor:
        answer = client.request("POST", "auth/token/lookup-accessor", body={"accessor": accessor})
    elif target:
        answer = _about(client, "lookup", {"token": session.inputs.text(target, what="token")})
    else:
        answer = client.request(
            "GET", "auth/token/lookup-self", denied=(lambda: _NOT_VALID) if session.token() else None
        )
    show(session, answer, lookup_table)


@command("renew", examples=("mimir token renew", "mimir token renew --increment 2h", "mimir token renew - < token.txt"))
@click.argument("target", required=False, default="", metavar="[TOKEN|-]")
@click.option("--accessor", metavar="ACCESSOR", help="Name the token by its accessor.")
@click.option("--increment", metavar="TIME", help="How long it is to live from now.")
@pass_session
def renew(session: Session, target: str, accessor: str | None, increment: str | None) -> None:
    """Give a token a longer life: the one in use, or another."""
    if accessor and target:
        raise click.UsageError("give a token or --accessor, not both")
    body: JsonObject = {} if increment is None else {"increment": increment}
    path = "auth/token/renew-self"
    if accessor:
        path, body = "auth/token/renew-accessor", body | {"accessor": accessor}
    elif target:
        given = session.inputs.text(target, what="token")
        show(session, _about(session.client(), "renew", body | {"token": given}), secret_table)
        return
    show(session, session.client().request("POST", path, body=body), secret_table)


def _about(client: "Client", verb: str, body: "JsonObject") -> "Answer":
    """Ask about another token; the refusal does not tell which of the two tokens was no good."""
    return client.request("POST", f"auth/token/{verb}", body=body, denied=lambda: _EITHER)


_EITHER = (
    "The token asked about is not valid (any more), or the one in use must not do this: `mimir token lookup` without a "
    "token shows the one in use"
)
_NOT_VALID = "The token in use is not valid (any more), or its policies do not allow this: run `mimir login`"


@command(
    "revoke",
    examples=(
        "mimir token revoke --self",
        "mimir token revoke - < token.txt",
        "mimir token revoke --accessor 8609694a-cdbc-db9b",
    ),
)
@click.argument("target", required=False, default="", metavar="[TOKEN|-]")
@click.option("--accessor", metavar="ACCESSOR", help="Name the token by its accessor.")
@click.option("--self", "own", is_flag=True, help="Revoke the token in use.")
@click.option("--orphan", is_flag=True, help="Spare the tokens that it made.")
@pass_session
def revoke(session: Session, target: str, accessor: str | None, own: bool, orphan: bool) -> None:
    """Revoke a token and the tokens that it made."""
    if sum((bool(target), bool(accessor), own)) != 1:
        raise click.UsageError("say which token: TOKEN, - for standard input, --accessor or --self")
    if orphan and not target:
        raise click.UsageError("--orphan needs the token itself, not --accessor or --self")
    path, body = "auth/token/revoke-self", {}
    if accessor:
        path, body = "auth/token/revoke-accessor", {"accessor": accessor}
    elif target:
        path = "auth/token/revoke-orphan" if orphan else "auth/token/revoke"
        body = {"token": session.inputs.text(target, what="token")}
    answer = session.client().request("POST", path, body=body)
    show(session, answer, lambda _: "Success! The token is revoked, if it existed.")


_SECONDS = {"ttl", "creation_ttl", "explicit_max_ttl", "period"}


def lookup_table(answer: "Answer") -> str:
    """A token's record, with its durations as people write them."""
    rows = [(name, duration(value) if name in _SECONDS else value) for name, value in sorted_items(answer.data)]
    return key_values(rows)
