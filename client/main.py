"""The entry point: one command line in, one exit code out, and never a traceback."""

import contextlib
import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

import click

from client.cli import cli
from client.errors import CliError, ExitCode
from client.session import Session

PROGRAM = "mimir"
COMPLETE_VARIABLE = "_MIMIR_COMPLETE"


def main() -> NoReturn:
    """Run as a program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # an answer may hold what the terminal's encoding has not
    code = run(sys.argv[1:], os.environ, before_http=import_http_client_without_ssl)
    sys.exit(_flushed(code))


def _flushed(code: int) -> int:
    """Write out what is left, so that the interpreter at its exit finds nothing to fail at."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as exc:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return code or report(exc)
    return code


def run(arguments: Sequence[str], environ: Mapping[str, str], before_http: Callable[[], None] | None = None) -> int:
    """Run one command line and return its exit code."""
    session = Session(environ, before_http)
    if environ.get(COMPLETE_VARIABLE):
        from click.shell_completion import shell_complete

        return shell_complete(cli, {"obj": session}, PROGRAM, COMPLETE_VARIABLE, environ[COMPLETE_VARIABLE])
    try:
        with cli.make_context(PROGRAM, list(arguments), obj=session) as context:
            cli.invoke(context)
    except Exception as exc:
        if environ.get("MIMIR_DEBUG"):
            raise
        return report(exc)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    return ExitCode.OK


def report(exc: Exception) -> int:
    """Say what went wrong on standard error; answers the exit code."""
    if isinstance(exc, click.exceptions.Exit):
        return exc.exit_code
    if isinstance(exc, BrokenPipeError):
        return ExitCode.BROKEN_PIPE
    sentence, code = _explained(exc)
    with contextlib.suppress(OSError):  # nobody listens
        if isinstance(exc, click.UsageError):
            exc.show()
        else:
            click.echo(f"Error: {sentence}", err=True)
    return code


def _explained(exc: Exception) -> tuple[str, int]:
    if isinstance(exc, CliError):
        return exc.sentence, exc.exit_code
    if isinstance(exc, click.Abort):
        return "interrupted", ExitCode.INTERRUPTED
    if isinstance(exc, click.UsageError):
        return exc.format_message(), _usage_code(exc)
    if isinstance(exc, click.ClickException):
        return exc.format_message(), ExitCode.FAILED
    if isinstance(exc, OSError):
        return f"the output cannot be written: {exc.strerror}", ExitCode.FAILED
    return f"this is a fault of mimir itself ({type(exc).__name__}); MIMIR_DEBUG=1 shows where", ExitCode.FAILED


def _usage_code(exc: click.UsageError) -> int:
    """2, except below `mimir status`, where 2 says that the appliance is sealed."""
    path = exc.ctx.command_path if exc.ctx is not None else ""
    return ExitCode.FAILED if path.split()[1:] == ["status"] else ExitCode.USAGE


def import_http_client_without_ssl() -> None:
    """Import http.client as if Python had no ssl, which alone costs a tenth of a command's start-up.

    Our connection class brings its own TLS and imports ssl when the address is https.
    """
    if "http.client" in sys.modules or "ssl" in sys.modules:
        return
    sys.modules["ssl"] = None  # type: ignore[assignment] # import's own way to say "not there"
    try:
        import http.client  # noqa: F401 - imported for its effect
    finally:
        del sys.modules["ssl"]
