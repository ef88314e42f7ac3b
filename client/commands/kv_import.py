"""`mimir kv import`: secrets from files, from Vault or OpenBao, and from an export."""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from client.errors import LocalError
from client.kv_options import client_with_reason, kv_command, reason_option
from client.kv_path import KvPath, check_versioned, find_mount
from client.progress import progress_in_items
from client.session import Session, pass_session
from client.text import printable

if TYPE_CHECKING:
    from client.kv_moves.files import FileSecret
    from client.kv_moves.pool import Summary
    from client.kv_moves.steady import SteadyClient
    from client.kv_moves.target import Done, VersionsTarget

T = TypeVar("T")
_FILES = ("from_json", "from_dotenv")
_SOURCES = (*_FILES, "from_vault", "from_export")
_OF_VAULT = ("source_mount", "source_prefix", "source_namespace", "source_ca_cert", "source_token_file")


@kv_command(
    "import",
    examples=(
        "mimir kv import --from-json secrets.json --to secret/",
        "mimir kv import --from-dotenv .env --to secret/apps/web",
        "mimir kv import --from-vault https://vault:8200 --source-mount secret/ --to secret/ --dry-run",
        "mimir kv import --from-vault https://vault:8200 --source-mount kv --source-prefix apps/ --to secret/",
        "mimir kv import --from-export secret.sealed --transit-key backups --to secret/",
    ),
)
@click.option("--from-json", metavar="FILE|-", help='{"apps/web": {"user": "web"}}, or rows {"path":…, "data":…}.')
@click.option("--from-dotenv", metavar="FILE|-", help="KEY=VALUE lines; all are one secret, named by --to.")
@click.option("--from-vault", metavar="URL", help="A running Vault, OpenBao or Mimir; all versions and metadata.")
@click.option("--from-export", metavar="FILE", help="What `mimir kv export` wrote; with --transit-key.")
@click.option("--to", required=True, metavar="MOUNT[/FOLDER]", help="Where the secrets go; of dotenv: the secret.")
@click.option("--source-mount", metavar="PATH", help="Of --from-vault: the mount there; version 1 or 2.")
@click.option("--source-prefix", metavar="PATH", default="", help="Of --from-vault: only what is below it.")
@click.option("--source-namespace", metavar="NS", help="Of --from-vault [VAULT_NAMESPACE].")
@click.option("--source-ca-cert", metavar="FILE", help="Of --from-vault: the CA to trust [VAULT_CACERT].")
@click.option("--source-token-file", metavar="FILE", help="Of --from-vault [VAULT_TOKEN, ~/.vault-token, a prompt].")
@click.option("--transit-key", metavar="KEY", help="Of --from-export: the key that seals the file.")
@click.option("--transit-mount", metavar="PATH", default="transit", help="Of --from-export [transit].")
@click.option(
    "--on-conflict",
    type=click.Choice(("fail", "skip", "new-version")),
    default="fail",
    help="What is there and differs: fail (if not given), skip; of files also new-version.",
)
@click.option("--dry-run", is_flag=True, help="Only show which secrets there are, and how many versions.")
@click.option("--parallel", type=click.IntRange(1, 64), default=4, metavar="N", help="Secrets at a time [4].")
@reason_option
@pass_session
def import_(
    session: Session, /, *, to: str, on_conflict: str, dry_run: bool, parallel: int, reason: str | None, **options: str
) -> None:
    """Bring secrets in, and read each back to compare it. Never replaces what is there.

    From a server or an export come all versions with their numbers, times and states, and all metadata. After a break
    run the same command again: what is there already is passed over. A secret that fails does not stop the others;
    the exit code is then 1.
    """
    kind = _check_options(options, on_conflict)
    with ExitStack() as stack:
        job = _Job(session, stack, to=to, on_conflict=on_conflict, dry_run=dry_run, parallel=parallel)
        job.open(session.without_vault() if kind == "from_vault" else session, reason or _default_reason(kind))
        summary = getattr(job, kind)(options)
    _report(session, summary, dry_run=dry_run)


def _check_options(options: dict[str, str], on_conflict: str) -> str:
    """Which source it is."""
    chosen = [name for name in _SOURCES if options[name]]
    if len(chosen) != 1:
        raise click.UsageError("give one of --from-json, --from-dotenv, --from-vault and --from-export")
    kind = chosen[0]
    if kind != "from_vault" and any(options[name] for name in _OF_VAULT):
        raise click.UsageError("the options --source-… go with --from-vault")
    if kind == "from_vault" and not options["source_mount"]:
        raise click.UsageError("--from-vault needs --source-mount, as --source-mount secret/")
    if (kind == "from_export") != bool(options["transit_key"]):
        raise click.UsageError("--from-export and --transit-key go together")
    if on_conflict == "new-version" and kind not in _FILES:
        raise click.UsageError("--on-conflict new-version goes with files: here versions keep their numbers")
    return kind


def _default_reason(kind: str) -> str:
    return f"mimir kv import --{kind.replace('_', '-')}"


class _Job:
    """One import: the target is opened, then one of the sources."""

    def __init__(
        self, session: Session, stack: ExitStack, *, to: str, on_conflict: str, dry_run: bool, parallel: int
    ) -> None:
        self._session = session
        self._stack = stack
        self._to = to
        self._on_conflict = on_conflict
        self._dry_run = dry_run
        self._parallel = parallel
        self._wanted = session.format == "table"
        self._client: SteadyClient
        self._place: KvPath

    def open(self, session: Session, reason: str) -> None:
        """Find out where the secrets go, before anything is read."""
        from client.kv_moves.steady import steady

        client = client_with_reason(session, reason)
        self._client = self._stack.enter_context(steady(client))
        self._place = find_mount(self._client, self._to, None)
        check_versioned(self._place)

    def _folder(self) -> KvPath:
        name = self._place.name.rstrip("/")
        return KvPath(mount=self._place.mount, version=2, name=f"{name}/" if name else "")

    def from_dotenv(self, options: dict[str, str]) -> "Summary":
        """One secret."""
        from client.kv_moves.files import from_dotenv

        if not self._place.name:
            raise click.UsageError("with --from-dotenv, --to names the secret: --to secret/apps/web")
        return self._of_file([from_dotenv(self._session.inputs, options["from_dotenv"], self._place.name)], "")

    def from_json(self, options: dict[str, str]) -> "Summary":
        """One set of values each."""
        from client.kv_moves.files import from_json

        return self._of_file(from_json(self._session.inputs, options["from_json"]), self._folder().name)

    def _of_file(self, rows: "Iterable[FileSecret]", folder: str) -> "Summary":
        from client.kv_moves.file_target import FileTarget

        place = KvPath(mount=self._place.mount, version=2, name=folder)
        target = FileTarget(self._client, place, on_conflict=self._on_conflict)
        return self._run(
            rows, lambda row: target.take(row.name, row.data), lambda row: row.name, count=lambda _: 1, folder=folder
        )

    def from_vault(self, options: dict[str, str]) -> "Summary":
        """Everything that the source shows of each secret."""
        from client.kv_moves.origin import source_client
        from client.kv_moves.source import KvSource
        from client.kv_moves.steady import steady

        there = self._stack.enter_context(steady(source_client(self._session, options), label="the source: "))
        source = KvSource(there, options["source_mount"], options["source_prefix"])
        here = self._client.endpoint
        same_server = (there.endpoint.host, there.endpoint.port) == (here.host, here.port)
        same_place = there.namespace.strip("/") == self._client.namespace.strip("/")
        if same_server and same_place and source.mount.mount == self._place.mount:
            raise click.UsageError("source and target are the same mount")
        names = self._listed(source.names())
        take = self._target(source.limit).take
        return self._run(
            names, lambda name: take(name, source.read(name)), str, count=source.count, folder=self._folder().name
        )

    def _listed(self, names: Iterable[str]) -> list[str]:
        found = []
        with progress_in_items("Listing", wanted=self._wanted) as advance:
            for name in names:
                found.append(name)
                advance(1)
        return found

    def from_export(self, options: dict[str, str]) -> "Summary":
        """The file is read to its end before the first secret is written."""
        from client.kv_moves.sealed_file import SealedFile

        name = options["from_export"]
        if name == "-":
            raise click.UsageError("--from-export needs a file: it is read twice, to verify it first")
        file = SealedFile(Path(name), self._client, options["transit_mount"], options["transit_key"])
        with progress_in_items("Verifying", wanted=self._wanted) as advance:
            file.verify(advance)
        take = self._target(int(file.head.get("max_versions") or 0)).take
        return self._run(
            file.rows(),
            lambda row: take(row.name, row.secret),
            lambda row: row.name,
            count=lambda row: len(row.secret.versions),
            folder=self._folder().name,
            total=file.count,
        )

    def _target(self, source_limit: int) -> "VersionsTarget":
        from client.kv_moves.target import VersionsTarget

        skip = self._on_conflict == "skip"
        return VersionsTarget(self._client, self._folder(), source_limit=source_limit, skip=skip)

    def _run(
        self,
        items: Iterable[T],
        work: "Callable[[T], Done]",
        name_of: Callable[[T], str],
        *,
        count: Callable[[T], int],
        folder: str,
        total: int | None = None,
    ) -> "Summary":
        from client.kv_moves.pool import run_all
        from client.kv_moves.target import Done, Outcome

        def full_name(item: T) -> str:
            return printable(f"{self._place.mount}{folder}{name_of(item)}")

        def counted(item: T) -> Done:
            number = count(item)
            return Done(Outcome.IMPORTED, number, (f"{number} version{'s' * (number != 1)}",))

        total = len(items) if isinstance(items, list) else total
        label = "Looking" if self._dry_run else "Importing"
        with progress_in_items(label, wanted=self._wanted, total=total) as advance:
            step = counted if self._dry_run else work
            return run_all(items, step, full_name, parallel=self._parallel, advance=advance)


def _report(session: Session, summary: "Summary", *, dry_run: bool) -> None:
    """The summary on standard output, what failed on standard error, and the exit code."""
    from client.kv_moves.summary import shown_summary

    if summary.stopped is not None and not summary.tried:
        raise summary.stopped
    shown_summary(session, summary, dry_run=dry_run)
    if summary.stopped is not None:
        raise type(summary.stopped)(
            f"{summary.stopped.sentence}. Run the same command again to go on: what is there is passed over"
        )
    if summary.failed:
        secrets = "1 secret" if summary.failed == 1 else f"{summary.failed} secrets"
        raise LocalError(f"{secrets} failed; the others are there" if summary.verified else f"{secrets} failed")
