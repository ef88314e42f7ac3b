"""Why a command ends without doing what it was asked, and the exit code that says so to a script."""

from enum import IntEnum

from core.errors import MimirError


class ExitCode(IntEnum):
    """What a script can rely on; `docs/cli.md` explains each."""

    OK = 0
    FAILED = 1  # the appliance refused, or something on this side failed
    USAGE = 2  # the command line is wrong; for `mimir status` alone: sealed
    NO_ANSWER = 3  # nothing that speaks Mimir's API answered
    UNAVAILABLE = 4  # the appliance answered, but cannot serve now
    INTERRUPTED = 130
    BROKEN_PIPE = 141


class CliError(MimirError):
    """A command cannot go on. The sentence says what to do next, and never holds a secret."""

    exit_code = ExitCode.FAILED


class LocalError(CliError):
    """A file, a value or an answer on this side is not what the command needs."""


class RefusedError(CliError):
    """The appliance answered 3xx or 4xx."""


class DeniedError(RefusedError):
    """The appliance answered 403."""


class AbsentError(RefusedError):
    """The appliance answered 404."""


class NoAnswerError(CliError):
    """No connection, no HTTP, no JSON, or a broken answer: whether the request was carried out is not known."""

    exit_code = ExitCode.NO_ANSWER


class UnavailableError(CliError):
    """The appliance is sealed, not initialised, over its limits, or its HSM, store or audit device is away."""

    exit_code = ExitCode.UNAVAILABLE
