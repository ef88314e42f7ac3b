"""`mimir policy fmt|lint`: the layout of policy files, and what is probably wrong with them.

The appliance has the grammar, so it is asked; it stores nothing of this.
"""

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from client.errors import LocalError
from client.framework import command
from client.inputs import utf8
from client.output import show_value, write_exact
from client.session import Session, pass_session
from client.text import printable

if TYPE_CHECKING:
    from client.api import Client, JsonObject


@command(
    "fmt",
    examples=(
        "mimir policy fmt policies/*.hcl",
        "mimir policy fmt --check policies/*.hcl",
        "mimir policy fmt - < orders-api.hcl",
    ),
)
@click.argument("files", nargs=-1, required=True, metavar="FILE…|-")
@click.option("--check", is_flag=True, help="Change nothing; the exit code is 1 when something would change.")
@pass_session
def fmt(session: Session, files: tuple[str, ...], check: bool) -> None:
    """Bring policy files into their canonical layout, and name those that changed. With -, standard input to output."""
    if "-" in files and len(files) > 1:
        raise click.UsageError("- stands alone: standard input goes to standard output")
    client = session.client()
    changed: list[str] = []
    for file in files:
        text = utf8(session.inputs.source(file if file == "-" else f"@{file}"), what="policy")
        formatted = _formatted(client, text)
        if formatted != text:
            changed.append(file)
        if file == "-" and not check:
            write_exact(formatted.encode())
            return
        if formatted != text and not check:
            replace_file(file, formatted.encode())
    show_changed(session, changed)
    if check and changed:
        click.get_current_context().exit(1)


def _formatted(client: "Client", text: str) -> str:
    answer = client.request("POST", "sys/policies/format", body={"policy": text})
    formatted = answer.data.get("policy")
    if not isinstance(formatted, str):
        raise LocalError("the answer holds no text; the files are left as they are")
    return formatted


def show_changed(session: Session, changed: list[str]) -> None:
    """One name a line; nothing when nothing changed, as other formatters do."""
    if changed or session.format != "table" or session.field:
        show_value(session, {"changed": changed}, "\n".join(printable(file) for file in changed))


def replace_file(name: str, content: bytes) -> None:
    """Put the content in place of the file's, all of it or nothing; its mode stays."""
    path = Path(name).resolve()
    try:
        descriptor, fresh = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            Path(fresh).chmod(path.stat().st_mode & 0o7777)
            Path(fresh).replace(path)
        except BaseException:
            Path(fresh).unlink(missing_ok=True)
            raise
    except OSError as exc:
        raise LocalError(f"the file {name!r} cannot be written: {exc.strerror}") from exc


@command(
    "lint",
    examples=(
        "mimir policy lint ./policies/orders-api.hcl",
        "mimir policy lint orders-api",
        "mimir policy lint - < orders-api.hcl",
    ),
)
@click.argument("target", metavar="FILE|NAME|-")
@pass_session
def lint(session: Session, target: str) -> None:
    """Look for mistakes in a file, or in the stored policy NAME where there is no such file.

    The exit code is 1 when there are errors or warnings, and 0 when there is nothing but hints.
    """
    body: JsonObject = {"name": target}
    if target == "-" or Path(target).is_file():
        body = {"policy": utf8(session.inputs.source(target if target == "-" else f"@{target}"), what="policy")}
    elif "/" in target or "\\" in target:
        raise LocalError(f"the file {target!r} cannot be read: no such file")
    answer = session.client().request("POST", "sys/policies/lint", body=body)
    findings = answer.data.get("findings")
    if not isinstance(findings, list):
        raise LocalError("the answer holds no findings: `-o json` shows what it holds")
    text = "\n".join(finding_line(target, finding) for finding in findings) or "Nothing found."
    show_value(session, answer.body, text)
    if any(finding.get("severity") != "hint" for finding in findings):
        click.get_current_context().exit(1)


def finding_line(target: str, finding: "JsonObject") -> str:
    """As compilers print them: where, how bad, what, and the word for it."""
    where = f"{target}:{finding['line']}" if finding.get("line") else target
    path = f' path "{finding["path"]}":' if finding.get("path") else ""
    return printable(f"{where}: {finding.get('severity')}:{path} {finding.get('message')} [{finding.get('rule')}]")
