"""How Mimir's commands extend click's: common options everywhere, examples in the help, modules loaded when called."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

import click

from client.session import FORMATS, Session


def _remember(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """Hand a common option to the session; options that were not given leave what another place set."""
    session = ctx.find_object(Session)
    if session is None or value is None or value is False or ctx.resilient_parsing:
        return
    session.set_flag((param.name or "").replace("_", "-"), "true" if value is True else str(value))


class CommonOption(click.Option):
    """An option that every command takes."""

    def __init__(self, *declarations: str, **attributes: Any) -> None:
        super().__init__(list(declarations), expose_value=False, callback=_remember, default=None, **attributes)


def common_options() -> list[click.Option]:
    """Fresh ones for each command, as click binds them."""
    return [
        CommonOption("-o", "--format", type=click.Choice(FORMATS), help="How to print [MIMIR_FORMAT; table]."),
        CommonOption("--field", metavar="NAME", help="Print this field alone."),
        CommonOption("--address", metavar="URL", help="The appliance [MIMIR_ADDR; http://127.0.0.1:8200]."),
        CommonOption("--namespace", metavar="NS", help="Work in a namespace [MIMIR_NAMESPACE]."),
        CommonOption(
            "--wrap-ttl", metavar="TTL", help="Have the answer wrapped in a single-use token [MIMIR_WRAP_TTL]."
        ),
        CommonOption("--timeout", metavar="TIME", help="How long to wait [MIMIR_CLIENT_TIMEOUT; 60s]."),
        CommonOption("--ca-cert", metavar="FILE", help="CA to trust [MIMIR_CACERT]."),
        CommonOption("--ca-path", metavar="DIR", help="Directory of CAs to trust [MIMIR_CAPATH]."),
        CommonOption("--client-cert", metavar="FILE", help="Client certificate [MIMIR_CLIENT_CERT]."),
        CommonOption("--client-key", metavar="FILE", help="Its private key [MIMIR_CLIENT_KEY]."),
        CommonOption(
            "--tls-server-name", metavar="NAME", help="Name to expect in the certificate [MIMIR_TLS_SERVER_NAME]."
        ),
        CommonOption("--tls-skip-verify", is_flag=True, help="Do not check the certificate [MIMIR_SKIP_VERIFY]."),
    ]


def _words(value: object) -> Sequence[object]:
    """The values of an argument that may be given several times."""
    return value if isinstance(value, tuple) else (value,)


class MimirCommand(click.Command):
    """A command with the common options in a section of their own, and examples."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), local: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)
        self.allow_extra_args = True  # to refuse them in parse_args, in words that do not repeat them
        if not local:
            self.params += common_options()

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click, but an argument too many is not repeated on the terminal: it may be a token."""
        rest = super().parse_args(ctx, args)
        if rest and not ctx.resilient_parsing:
            raise click.UsageError(f"{len(rest)} argument(s) more than this command takes", ctx)
        for param in () if ctx.resilient_parsing else self.params:
            if isinstance(param, click.Argument) and param.required and "" in _words(ctx.params.get(param.name or "")):
                raise click.UsageError(f"{param.make_metavar(ctx)} is empty", ctx)
        return rest

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Own options first, the common ones after them."""
        write_options(self, ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The examples, line by line."""
        write_examples(self.examples, formatter)
        super().format_epilog(ctx, formatter)


def write_options(command: click.Command, ctx: click.Context, formatter: click.HelpFormatter) -> None:
    """Two sections of options."""
    own: list[tuple[str, str]] = []
    common: list[tuple[str, str]] = []
    for param in command.get_params(ctx):
        record = param.get_help_record(ctx)
        if record is not None and not isinstance(param, click.Argument):
            (common if isinstance(param, CommonOption) else own).append(record)
    for title, records in (("Options", own), ("Common options", common)):
        if records:
            with formatter.section(title):
                formatter.write_dl(records)


def write_examples(examples: Sequence[str], formatter: click.HelpFormatter) -> None:
    """A section of lines that can be pasted."""
    if examples:
        with formatter.section("Examples"):
            for example in examples:
                formatter.write(f"{'':>{formatter.current_indent}}{example}\n")


class LazyGroup(click.Group):
    """A group that imports a subcommand's module when it is called.

    `lazy` maps a name to `module:attribute`. Importing all of them is left to help and completion.
    """

    def __init__(
        self, *args: Any, lazy: Mapping[str, str] | None = None, examples: Sequence[str] = (), **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = dict(lazy or {})
        self.examples = tuple(examples)
        self.params += common_options()

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order in which they were declared."""
        return [*self._lazy, *(name for name in super().list_commands(ctx) if name not in self._lazy)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import on demand."""
        source = self._lazy.get(cmd_name)
        if source is None:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = source.partition(":")
        found = getattr(import_module(module), attribute)
        if not isinstance(found, click.Command):
            raise TypeError(f"{source} is no command")
        return found

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Own options, common options, subcommands."""
        self.format_commands(ctx, formatter)
        write_options(self, ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The examples, line by line."""
        write_examples(self.examples, formatter)
        super().format_epilog(ctx, formatter)


def command(name: str, *, examples: Sequence[str], local: bool = False) -> Callable[[Callable[..., Any]], MimirCommand]:
    """Declare a command; `local` ones talk to no appliance and take no common options."""
    return click.command(name, cls=MimirCommand, examples=examples, local=local)


def group(name: str, *, summary: str, lazy: Mapping[str, str], examples: Sequence[str]) -> LazyGroup:
    """Declare a group of commands."""
    return LazyGroup(name, help=summary, lazy=lazy, examples=examples)
