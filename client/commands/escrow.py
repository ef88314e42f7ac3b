"""`mimir operator escrow verify`: whether the words on paper make the escrow key."""

import sys
from collections.abc import Iterator

import click

from client.errors import LocalError
from client.escrow import EscrowShare, check_key, check_set, combine, parse_challenge
from client.framework import command, group
from client.inputs import read_file, utf8
from client.output import show_value
from client.session import Session, pass_session

escrow = group(
    "escrow",
    summary="Work with the escrow shares, from which the keys are restored when the HSM is lost.",
    lazy={"verify": "client.commands.escrow:verify"},
    examples=("mimir operator escrow verify",),
)


@command(
    "verify",
    examples=(
        "mimir operator escrow verify",
        "mimir operator escrow verify --share-file anna.txt --share-file bob.txt --share-file carl.txt",
        "mimir operator escrow verify < shares.txt",
    ),
)
@click.option(
    "--share-file", "share_files", multiple=True, metavar="FILE", help="A file with one share a line; may repeat."
)
@pass_session
def verify(session: Session, share_files: tuple[str, ...]) -> None:
    """Prove that a quorum of share holders can restore the escrow key.

    The words are asked for one share after the other and not shown, or read from standard input, one share a line.
    They never leave this machine and are stored nowhere: the appliance sends a riddle that only the key can solve.
    """
    if share_files:
        shares = shares_in_files(share_files)
    elif sys.stdin is not None and sys.stdin.isatty():
        shares = ask_shares()
    else:
        shares = shares_in_text(utf8(session.inputs.standard_input(), what="list of shares"), source="share")
    key = combine(shares)
    challenge = parse_challenge(session.client().request("POST", "sys/escrow/challenge", body={}).data)
    check_key(key, challenge)
    text = f"✓ These {len(shares)} shares make the escrow key {challenge.escrow_id}. Nothing was sent or stored."
    show_value(session, {"escrow_id": challenge.escrow_id, "shares": len(shares), "verified": True}, text)


def shares_in_text(text: str, *, source: str) -> list[EscrowShare]:
    """One share a line; empty lines and those that begin with # are passed over."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return [EscrowShare(line, name=f"{source} {number}") for number, line in enumerate(lines, start=1)]


def shares_in_files(names: tuple[str, ...]) -> list[EscrowShare]:
    """The shares of all files; each is named by its file and place."""
    shares: list[EscrowShare] = []
    for name in names:
        found = shares_in_text(utf8(read_file(name), what=f"file {name!r}"), source=f"{name}, share")
        if not found:
            raise LocalError(f"the file {name!r} holds no share")
        shares += found
    return shares


def ask_shares() -> list[EscrowShare]:
    """Ask until there are enough. A share with a slip is asked for again, so that its holder alone must retype it."""
    shares: list[EscrowShare] = []
    for share in _asked():
        try:
            _check_addition(shares, share)
        except LocalError as exc:
            click.echo(exc.sentence, err=True)
            continue
        shares.append(share)
        if len(shares) == share.threshold:
            break
    return shares


def _check_addition(shares: list[EscrowShare], share: EscrowShare) -> None:
    """Whether the share fits those that were given; that more are needed is no error yet."""
    if len(shares) + 1 >= share.threshold or any(not share.is_of_set(other) for other in shares):
        check_set([*shares, share])
    elif any(share.index == other.index for other in shares):
        raise LocalError(f"{share.name} was given already: another holder's is needed")


def _asked() -> Iterator[EscrowShare]:
    while True:
        words = str(click.prompt("Words of the next share (not shown)", hide_input=True, err=True))
        try:
            yield EscrowShare(words, name="this share")
        except LocalError as exc:
            click.echo(exc.sentence, err=True)
