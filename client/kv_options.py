"""What the commands of `mimir kv` share: Vault's way to write options, the mount, the reason, lists of versions."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from client.errors import LocalError
from client.framework import MimirCommand

if TYPE_CHECKING:
    from client.api import Client
    from client.session import Session

_LONGEST_REASON = 512  # characters; the appliance's limit


class KvCommand(MimirCommand):
    """A command that takes its long options with one dash, too: `-mount=secret`, `-cas=1`, as Vault's client does."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Give what is written with one dash a second one."""
        known = {name for param in self.params for name in (*param.opts, *param.secondary_opts)}
        stop = args.index("--") if "--" in args else len(args)
        return super().parse_args(ctx, [*(_two_dashes(word, known) for word in args[:stop]), *args[stop:]])


def _two_dashes(word: str, known: set[str]) -> str:
    name, equals, value = word.partition("=")
    if not word.startswith("-") or word.startswith("--") or f"-{name}" not in known:
        return word
    if f"--no{name}" in known and value in {"true", "false"}:  # Go's way to give a flag a value
        return f"-{name}" if value == "true" else f"--no{name}"
    return f"-{name}{equals}{value}"


def kv_command(name: str, *, examples: Sequence[str]) -> Callable[[Callable[..., Any]], MimirCommand]:
    """Declare a command of `mimir kv`."""
    return click.command(name, cls=KvCommand, examples=examples)


mount_option = click.option("--mount", metavar="PATH", help="The mount; PATH is then below it, as -mount=secret app.")
reason_option = click.option("--reason", metavar="TEXT", help="Why; kept with the version, shown by `kv metadata get`.")


class Versions(click.ParamType[list[int]]):
    """Numbers of versions, as 2 or 1,2,5."""

    name = "versions"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[int]:
        """A list of whole numbers from 1 on."""
        if isinstance(value, list):
            return value
        words = [word.strip() for word in str(value).split(",") if word.strip()]
        if not words or not all(
            word.isascii() and word.isdigit() and 0 < len(word) < 16 and int(word) for word in words
        ):
            self.fail("versions are whole numbers from 1 on, as 2 or 1,2,5", param, ctx)
        return [int(word) for word in words]


def versions_option(help_text: str, *, required: bool = True) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`--versions 1,2`, which may be repeated."""
    return click.option(
        "--versions", type=Versions(), multiple=True, required=required, metavar="N[,N]...", help=help_text
    )


def numbers(versions: Sequence[list[int]]) -> list[int]:
    """Those of all `--versions` options."""
    return [number for part in versions for number in part]


def client_with_reason(session: "Session", reason: str | None) -> "Client":
    """The client, whose requests say why they are made."""
    client = session.client()
    if not reason:
        return client
    if len(reason) > _LONGEST_REASON or not reason.isprintable():
        raise LocalError(f"--reason is one line of at most {_LONGEST_REASON} printable characters")
    # http.client writes headers in Latin-1; so they go out as the UTF-8 that the appliance reads.
    text = reason.strip().encode("utf-8", "surrogateescape").decode("latin-1")
    return replace(client, extra_headers={**client.extra_headers, "X-Mimir-Reason": text})
