"""`mimir version`."""

from client.framework import command
from client.output import write_line


@command("version", local=True, examples=("mimir version",))
def version() -> None:
    """Print the version of this command."""
    write_line(f"mimir {installed_version()}")


def installed_version() -> str:
    """What the installed distribution says of itself."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as distribution_version

    try:
        return distribution_version("mimir")
    except PackageNotFoundError:
        return "(run from a source tree)"
