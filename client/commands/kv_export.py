"""`mimir kv export`: secrets with all their versions into a file that only a transit key opens."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from client.kv_options import kv_command
from client.kv_path import find_mount
from client.output import show_value
from client.output_file import check_free, whole_file
from client.progress import progress_in_items
from client.session import Session, pass_session
from client.text import printable

if TYPE_CHECKING:
    from client.kv_moves.moved import MovedSecret
    from client.kv_moves.sealed_file import ExportedSecret


@kv_command(
    "export",
    examples=(
        "mimir kv export secret/ --transit-key backups --out secret.sealed",
        "mimir kv export secret/apps/ --transit-key backups --out apps.sealed",
    ),
)
@click.argument("path", metavar="MOUNT[/PREFIX]")
@click.option("--transit-key", required=True, metavar="KEY", help="The file is sealed under a data key of this key.")
@click.option("--transit-mount", default="transit", metavar="PATH", help="Where transit is mounted [transit].")
@click.option("--out", required=True, metavar="FILE", help="Where to write it, mode 0600; it appears when it is whole.")
@click.option("--force", is_flag=True, help="Replace the file of --out if it is there.")
@click.option("--parallel", type=click.IntRange(1, 64), default=4, metavar="N", help="Secrets at a time [4].")
@pass_session
def export(
    session: Session, *, path: str, transit_key: str, transit_mount: str, out: str, force: bool, parallel: int
) -> None:
    """Write all secrets below PATH, with all versions and metadata, into a sealed file.

    There is no way to have it in plaintext. `mimir kv import --from-export` reads it, wherever the transit key can be
    used. Nothing is written unless every secret can be read.
    """
    from client.kv_moves.pool import in_order
    from client.kv_moves.sealed_file import ExportedSecret, sealed
    from client.kv_moves.source import KvSource
    from client.kv_moves.steady import steady

    place = check_free(out, force=force)
    counts = {"secrets": 0, "versions": 0, "without_data": 0}
    wanted = session.format == "table"
    with steady(session.client()) as client:
        found = find_mount(client, path, None)
        prefix = found.name + ("/" if found.name and path.rstrip().endswith("/") else "")
        source = KvSource(client, found.mount, prefix)
        head = {"mount": found.mount, "prefix": prefix, "max_versions": source.limit}
        with whole_file(place, force=force) as file, progress_in_items("Exporting", wanted=wanted) as advance:

            def read(name: str) -> "ExportedSecret":
                return ExportedSecret(name, source.read(name))

            def counted() -> Iterator["ExportedSecret"]:
                for row in in_order(source.names(), read, parallel=parallel):
                    _count(counts, row.secret)
                    advance(1)
                    yield row

            for piece in sealed(client, transit_mount, transit_key, head, counted()):
                file.write(piece)
    _report(session, counts, out)


def _count(counts: dict[str, int], secret: "MovedSecret") -> None:
    counts["secrets"] += 1
    counts["versions"] += len(secret.versions)
    counts["without_data"] += len(secret.without_data)


def _report(session: Session, counts: dict[str, int], out: str) -> None:
    text = f"Success! {counts['secrets']} secrets with {counts['versions']} versions are sealed in {printable(out)}."
    if counts["without_data"]:
        text += f"\n{counts['without_data']} deleted or disabled versions came without their data."
    show_value(session, {"file": out, **counts}, text)
