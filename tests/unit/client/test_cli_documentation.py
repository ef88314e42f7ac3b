"""docs/cli.md says what the command does: flags, variables, codes and commands are all there."""

import re
from pathlib import Path

import click
import pytest

from client.cli import cli
from client.errors import ExitCode
from client.framework import common_options

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "cli.md").read_text()


def leaves(command: click.Command, path: tuple[str, ...]) -> list[tuple[str, ...]]:
    if not isinstance(command, click.Group):
        return [path]
    context = click.Context(command)
    found = []
    for name in command.list_commands(context):
        child = command.get_command(context, name)
        assert child is not None
        found += leaves(child, (*path, name))
    return found


def documented() -> set[tuple[str, ...]]:
    """The tree in the page, its alternatives written out."""
    block = PAGE.split("## Commands\n\n```\n")[1].split("```")[0]
    found = set()
    for line in block.splitlines():
        words = [word for word in line.split("  ")[0].split() if re.fullmatch(r"[a-z|-]+", word) and word[0] != "-"]
        *front, last = words
        found |= {(*front, choice) for choice in last.split("|")}
    return {("mimir", "completion") if path[:2] == ("mimir", "completion") else path for path in found}


def test_the_tree_is_the_command_tree():
    assert documented() == set(leaves(cli, ("mimir",)))


@pytest.mark.parametrize("option", common_options(), ids=lambda option: option.name)
def test_every_common_option_is_there_with_its_variable(option):
    assert f"`{option.opts[-1]}" in PAGE
    assert option.help is not None
    for variable in re.findall(r"MIMIR_\w+", option.help):
        assert f"`{variable}`" in PAGE


@pytest.mark.parametrize("code", ExitCode)
def test_every_exit_code_is_there(code):
    assert f"\n| {code.value} | " in PAGE
    assert re.search(rf"\b{code.value}\b", cli.help or "")


def test_every_variable_that_the_client_reads_is_there():
    sources = "\n".join(path.read_text() for path in (ROOT / "client").rglob("*.py"))
    read = set(re.findall(r'_(?:setting|is_on)\("[\w-]+", "(\w+)"', sources))
    assert len(read) >= 10
    for name in read:
        assert f"`MIMIR_{name}`, `VAULT_{name}`" in PAGE
