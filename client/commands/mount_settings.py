"""Options that mounts of engines and of login methods share."""

from collections.abc import Callable
from typing import Any

import click

from client.api import JsonObject

_OPTIONS = (
    click.option("--description", metavar="TEXT", help="What it is for."),
    click.option("--default-lease-ttl", metavar="TIME", help="How long what it grants lives; 0: the system's default."),
    click.option("--max-lease-ttl", metavar="TIME", help="The longest that can live; 0: the system's limit."),
    click.option(
        "--listing-visibility",
        type=click.Choice(("unauth", "hidden")),
        help="Whether it is listed for those without a token.",
    ),
    click.option(
        "--audit-non-hmac-request-keys", metavar="A,B", help="Members that the audit log shows in clear, of requests."
    ),
    click.option("--audit-non-hmac-response-keys", metavar="A,B", help="The same, of responses."),
)


def mount_settings(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def config_of(settings: JsonObject) -> JsonObject:
    """Those that were given, as the API names them."""
    return {name: value for name, value in settings.items() if value is not None}
