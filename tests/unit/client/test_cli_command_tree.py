"""The command tree as a whole: every command has help and examples, and the examples are right."""

import shlex

import click
import pytest

from client.cli import cli
from client.framework import CommonOption, LazyGroup, MimirCommand
from client.session import Session


def walk(command: click.Command, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], click.Command]]:
    found = [(path, command)]
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            found += walk(child, (*path, name))
    return found


TREE = walk(cli, ("mimir",))
IDS = [" ".join(path) for path, _ in TREE]

PROMISED = {
    "": "status server version login read write list delete path-help completion",
    "operator": "init seal unseal rotate key-status",
    "operator escrow": "verify",
    "hsm": "status",
    "token": "create lookup renew revoke",
    "auth": "enable disable list tune move login help",
    "policy": "write read list delete",
    "secrets engine": "enable list disable",
    "secrets config": "write read list delete",
    "secrets role": "write read list delete",
    "dynamic": "creds static-creds verify reconcile rotate-root rotate-role reset connections roles",
    "dynamic static-role": "write read list delete",
    "secret": "read write list delete",
    "kv": "get put patch delete undelete destroy list rollback diff report search import export",
    "kv metadata": "get put patch delete",
    "events": "subscribe",
    "audit": "enable list disable",
    "transit": "encrypt decrypt rewrap",
    "transit key": "create read list rotate config delete",
}
NAMES = [" ".join(filter(None, ("mimir", group, name))) for group, names in PROMISED.items() for name in names.split()]


@pytest.mark.parametrize("name", NAMES)
def test_every_promised_command_is_there(name):
    assert name in IDS


@pytest.mark.parametrize(("path", "command"), TREE, ids=IDS)
def test_every_command_has_help_and_examples(path, command):
    assert command.help
    assert isinstance(command, MimirCommand | LazyGroup)
    assert command.examples
    assert command.name == path[-1]
    help_text = command.get_help(click.Context(command, info_name=" ".join(path)))
    for example in command.examples:
        assert example in help_text


@pytest.mark.parametrize(("path", "command"), TREE, ids=IDS)
def test_every_option_is_explained(path, command):
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name


EXAMPLES = sorted({example for _, command in TREE for example in getattr(command, "examples", ())})


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_parses(example):
    """Each is taken through click's parser, so that no example names an option that is gone."""
    line = example[example.index("mimir ") :]
    words = shlex.split(line)
    stop = next((place for place, word in enumerate(words) if word in {"<", ">", "||", "|"}), len(words))
    command: click.Command = cli
    arguments = words[1:stop]
    context = click.Context(cli, info_name="mimir", obj=Session({}))
    while isinstance(command, click.Group):
        context = command.make_context(command.name, arguments, parent=context)
        name, child, arguments = command.resolve_command(context, [*context._protected_args, *context.args])
        assert name is not None
        assert child is not None
        command = child
    command.make_context(command.name, arguments, parent=context)


@pytest.mark.parametrize(("path", "command"), TREE, ids=IDS)
def test_common_options_are_everywhere_but_on_local_commands(path, command):
    has = any(isinstance(parameter, CommonOption) for parameter in command.params)
    assert has is (path[-1] not in {"server", "completion", "version"})
