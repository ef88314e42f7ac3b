"""`mimir operator generate-root` and `mimir operator rekey`: what a quorum of recovery keys authorises.

With a token the newer endpoints are used, which ask for `sudo`; --without-token takes the older ones, for an appliance
whose root tokens are all gone. Recovery keys and one-time pads are never arguments, which others on the machine see.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from client.commands.operator import numbered_keys
from client.errors import LocalError
from client.framework import command
from client.output import show, show_value
from client.session import Session, pass_session
from client.table import key_values
from client.text import printable

if TYPE_CHECKING:
    from client.api import Answer, JsonObject

_TARGETS = {
    "recovery": ("sys/rotate/recovery", "sys/rekey-recovery-key"),
    "barrier": ("sys/rotate/root", "sys/rekey"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    """The endpoints of one kind of attempt."""

    session: Session
    init: str
    update: str
    with_token: bool
    nonce: str

    def status(self) -> "Answer":
        return self._ask("GET", self.init)

    def start(self, body: "JsonObject") -> "Answer":
        return self._ask("PUT", self.init, body=body)

    def cancel(self) -> "Answer":
        return self._ask("DELETE", self.init, query={"nonce": self.nonce} if self.nonce else None)

    def give(self, *, prompt: str) -> "Answer":
        """Ask for one key, without an echo, and send it."""
        nonce = self.nonce or self._known_nonce()
        key = self.session.inputs.hidden(prompt, what="recovery key")
        return self._ask("PUT", self.update, body={"key": key, "nonce": nonce})

    def _known_nonce(self) -> str:
        status = content(self.status())
        if not status.get("started"):
            raise LocalError("nothing is in progress: begin with --init")
        if not status.get("nonce"):
            raise LocalError("without a token the nonce is not told: give the one that --init printed, with --nonce")
        return str(status["nonce"])

    def _ask(self, method: str, path: str, **more: Any) -> "Answer":
        return self.session.client().request(method, path, authenticated=self.with_token, **more)


def content(answer: "Answer") -> "JsonObject":
    """The older endpoints answer without an envelope."""
    return answer.data or answer.body


def _one_of(**flags: object) -> str:
    """The name of the one flag that was given, or ""."""
    given = [name for name, value in flags.items() if value]
    if len(given) > 1:
        raise click.UsageError(f"--{given[0]} and --{given[1]} contradict each other")
    return given[0] if given else ""


@command(
    "generate-root",
    examples=(
        "mimir operator generate-root --init",
        "mimir operator generate-root --nonce 2dbd10f1-8528-6246-09e7-82b25b8aba63",
        "mimir operator generate-root --decode ENCODED_TOKEN --otp @otp.txt",
        "mimir operator generate-root --cancel",
    ),
)
@click.option("--init", is_flag=True, help="Begin; prints the nonce and the one-time pad, once.")
@click.option("--status", is_flag=True, help="Show how far it is.")
@click.option("--cancel", is_flag=True, help="Forget the attempt and the keys given.")
@click.option("--decode", metavar="ENCODED", help="Make the token of what the last key holder was shown.")
@click.option("--otp", metavar="-|@FILE", help="With --decode: where the one-time pad is; asked for if not given.")
@click.option("--nonce", metavar="NONCE", default="", help="The attempt, as --init printed it.")
@click.option("--without-token", is_flag=True, help="Use the endpoints that ask for no token, but for the nonce.")
@pass_session
def generate_root(
    session: Session,
    *,
    init: bool,
    status: bool,
    cancel: bool,
    decode: str | None,
    otp: str | None,
    nonce: str,
    without_token: bool,
) -> None:
    """Generate a root token with a quorum of recovery keys.

    One begins with --init and keeps the one-time pad. Every key holder then gives one recovery key, which is asked for
    and not shown, or read from standard input. The last one is shown the encoded token, which is of use to whoever
    holds the pad: --decode.
    """
    mode = _one_of(init=init, status=status, cancel=cancel, decode=decode)
    if otp and mode != "decode":
        raise click.UsageError("--otp goes with --decode alone")
    if mode == "decode":
        _show_decoded(session, decode or "", otp)
        return
    folder = "sys/generate-root" if without_token else "sys/generate-root-token"
    attempt = _Attempt(
        session=session,
        init=f"{folder}/attempt",
        update=f"{folder}/update",
        with_token=not without_token,
        nonce=nonce,
    )
    if mode == "cancel":
        show(session, attempt.cancel(), lambda _: "Success! No root token is being generated.")
    elif mode == "init":
        show(session, attempt.start({}), _root_table)
    else:
        show(session, attempt.status() if mode else attempt.give(prompt="Recovery key"), _root_table)


def _show_decoded(session: Session, encoded: str, otp: str | None) -> None:
    if otp and otp != "-" and not otp.startswith("@"):
        raise click.UsageError("--otp takes - or @FILE: an argument can be read by others on this machine")
    pad = session.inputs.text(otp, what="one-time pad") if otp else session.inputs.hidden("OTP", what="one-time pad")
    token = decoded(encoded.strip(), pad)
    show_value(session, {"token": token}, printable(token))


def decoded(encoded: str, otp: str) -> str:
    """The token: base64, with or without padding, XORed with the pad."""
    try:
        veiled = base64.b64decode(encoded.rstrip("=") + "=" * (-len(encoded.rstrip("=")) % 4), validate=True)
        token = bytes(a ^ b for a, b in zip(veiled, otp.encode(), strict=True)).decode("ascii")
    except (binascii.Error, ValueError) as exc:
        raise LocalError("the encoded token and the one-time pad do not belong together") from exc
    if not token.isprintable():
        raise LocalError("the encoded token and the one-time pad do not belong together")
    return token


def _root_table(answer: "Answer") -> str:
    """As `bao operator generate-root` prints it."""
    body = content(answer)
    rows = [
        ("Nonce", body.get("nonce") or None),
        ("Started", body.get("started")),
        ("Progress", f"{body.get('progress')}/{body.get('required')}"),
        ("Complete", body.get("complete")),
    ]
    named = {"OTP": "otp", "OTP Length": "otp_length", "Encoded Token": "encoded_token"}
    return key_values(rows + [(label, body[name]) for label, name in named.items() if body.get(name)])


@command(
    "rekey",
    examples=(
        "mimir operator rekey --init --key-shares 5 --key-threshold 3",
        "mimir operator rekey --init --require-verification",
        "mimir operator rekey",
        "mimir operator rekey --verify",
        "mimir operator rekey --cancel",
    ),
)
@click.option("--init", is_flag=True, help="Begin; prints the nonce.")
@click.option("--status", is_flag=True, help="Show how far it is.")
@click.option("--cancel", is_flag=True, help="Forget the attempt and the keys given; the present keys stay.")
@click.option(
    "--target", type=click.Choice(list(_TARGETS)), default="recovery", show_default=True, help="What is replaced."
)
@click.option("--key-shares", type=click.IntRange(1, 16), help="With --init: recovery keys to make; 5 if not given.")
@click.option("--key-threshold", type=click.IntRange(1, 16), help="With --init: how many are needed; 3 if not given.")
@click.option(
    "--require-verification", is_flag=True, help="With --init: the new keys must be given back before they count."
)
@click.option("--verify", is_flag=True, help="Give back a new key; with --status and --cancel: of the verification.")
@click.option("--nonce", metavar="NONCE", default="", help="The attempt, or the verification, as it was printed.")
@click.option("--without-token", is_flag=True, help="Use the endpoints that ask for no token, but for the nonce.")
@pass_session
def rekey(
    session: Session,
    /,
    *,
    init: bool,
    status: bool,
    cancel: bool,
    target: str,
    verify: bool,
    nonce: str,
    without_token: bool,
    **wanted: Any,
) -> None:
    """Replace the recovery keys with a quorum of those that there are.

    Every key holder gives one recovery key, which is asked for and not shown, or read from standard input. The last
    one is shown the new keys, which are not shown again. With --target barrier the root key inside the HSM is replaced,
    of which nobody gets a share.
    """
    mode = _one_of(init=init, status=status, cancel=cancel)
    if verify and (init or target != "recovery"):
        raise click.UsageError("--verify is for new recovery keys, once they were shown")
    if mode != "init" and any(wanted.values()):
        raise click.UsageError("--key-shares, --key-threshold and --require-verification go with --init")
    if session.field and mode in {"", "init"}:
        raise click.UsageError("--field would drop the other keys, which are shown only once: use -o json")
    folder = _TARGETS[target][without_token]
    attempt = _Attempt(
        session=session,
        init=f"{folder}/{'verify' if verify else 'init'}",
        update=f"{folder}/{'verify' if verify else 'update'}",
        with_token=not without_token,
        nonce=nonce,
    )
    if mode == "cancel":
        done = "Success! The verification begins again." if verify else "Success! No keys are being replaced."
        show(session, attempt.cancel(), lambda answer: _rekey_text(answer) if verify and answer.body else done)
    elif mode == "init":
        show(session, attempt.start(_init_body(target, **wanted)), _rekey_text)
    else:
        prompt = "New recovery key" if verify else "Recovery key"
        show(session, attempt.status() if mode else attempt.give(prompt=prompt), _rekey_text)


def _init_body(
    target: str, *, key_shares: int | None, key_threshold: int | None, require_verification: bool
) -> "JsonObject":
    if target == "barrier":
        if key_shares or key_threshold or require_verification:
            raise click.UsageError("the root key has no shares: leave the options for new keys out")
        return {"secret_shares": 1, "secret_threshold": 1}
    if (key_shares is None) != (key_threshold is None):
        raise click.UsageError("--key-shares and --key-threshold go together")
    shares, threshold = key_shares or 5, key_threshold or 3
    if threshold > shares:
        raise click.UsageError(f"the threshold ({threshold}) must be between 1 and the number of shares ({shares})")
    return {
        "secret_shares": shares,
        "secret_threshold": threshold,
        "require_verification": require_verification,
    }


_KEEP = """\
Give each new recovery key to another person; they are not shown again. The old ones are
of no use from now on."""

_VERIFY = """\
Give each new recovery key to another person; they are not shown again. They count when a
quorum of them has been given back: mimir operator rekey --verify --nonce {nonce}"""


def _rekey_text(answer: "Answer") -> str:
    """The new keys when they are there, else how far it is."""
    body = content(answer)
    if not body.get("complete"):
        return _progress_table(body)
    keys = numbered_keys("Recovery Key", body.get("keys_base64"))
    if not keys:
        return "Success! The keys were replaced."
    nonce = body.get("verification_nonce")
    return "\n".join([*keys, "", _VERIFY.format(nonce=printable(str(nonce))) if nonce else _KEEP])


def _progress_table(body: "JsonObject") -> str:
    required = body.get("required", body.get("t"))
    rows: list[tuple[str, object]] = [
        ("Nonce", body.get("nonce") or None),
        ("Started", body.get("started")),
        ("Progress", f"{body.get('progress')}/{required}"),
        ("New Shares", body.get("n")),
        ("New Threshold", body.get("t")),
    ]
    named = {"Verification Required": "verification_required", "Verification Nonce": "verification_nonce"}
    return key_values(rows + [(label, body[name]) for label, name in named.items() if name in body])
