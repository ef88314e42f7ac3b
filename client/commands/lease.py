"""`mimir lease …`: look up, renew and revoke leases; revoke many of them with a progress bar."""

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from client.commands.generic import keys_table, secret_table
from client.commands.identity import entity_id
from client.errors import LocalError, RefusedError
from client.framework import command, group
from client.output import show
from client.session import Session, pass_session
from client.table import columns, duration, key_values

if TYPE_CHECKING:
    from client.api import Answer, Client, JsonObject

lease = group(
    "lease",
    summary="Look up, renew and revoke leases.",
    lazy={
        name: f"client.commands.lease:{name if name != 'list' else 'list_'}"
        for name in ("list", "lookup", "renew", "revoke", "count", "tidy", "jobs")
    },
    examples=(
        "mimir lease list database/creds/orders-api",
        "mimir lease renew database/creds/orders-api/x7KqRwT2mP8sVb4nYc6hJd3f",
        "mimir lease revoke --prefix database/creds/orders-api --sync",
    ),
)
_ROOT = "sys/leases"
_UNDER_WAY = "Success! The lease, if it existed, is refused from now on, and is being revoked."
_PAUSE = 0.5  # seconds between two looks at a job


@command(
    "list",
    examples=("mimir lease list", "mimir lease list database/creds/orders-api", "mimir lease list --irrevocable"),
)
@click.argument("prefix", required=False, default="")
@click.option("--irrevocable", is_flag=True, help="Those that could not be revoked, with the reason.")
@pass_session
def list_(session: Session, prefix: str, irrevocable: bool) -> None:
    """List leases and folders right below PREFIX."""
    if irrevocable and prefix:
        raise click.UsageError("--irrevocable lists those of the whole namespace: give no prefix")
    client = session.client()
    if irrevocable:
        show(session, client.read(_ROOT, {"type": "irrevocable", "limit": "none"}), _irrevocable_table)
    else:
        show(session, client.list("/".join(filter(None, (f"{_ROOT}/lookup", prefix.strip("/"))))), keys_table)


def _irrevocable_table(answer: "Answer") -> str:
    rows = [(row.get("lease_id"), row.get("mount_id"), row.get("error")) for row in _objects(answer.data.get("leases"))]
    return columns(("Lease", "Mount", "Reason"), rows)


@command("lookup", examples=("mimir lease lookup database/creds/orders-api/x7KqRwT2mP8sVb4nYc6hJd3f",))
@click.argument("lease_id")
@pass_session
def lookup(session: Session, lease_id: str) -> None:
    """Show when a lease was granted and when it ends."""
    show(session, session.client().write(f"{_ROOT}/lookup", {"lease_id": lease_id}), _lookup_table)


def _lookup_table(answer: "Answer") -> str:
    return key_values((name, duration(value) if name == "ttl" else value) for name, value in answer.data.items())


@command(
    "renew",
    examples=(
        "mimir lease renew database/creds/orders-api/x7KqRwT2mP8sVb4nYc6hJd3f",
        "mimir lease renew --increment 2h database/creds/orders-api/x7KqRwT2mP8sVb4nYc6hJd3f",
    ),
)
@click.argument("lease_id")
@click.option("--increment", metavar="TIME", help="How long it is to live from now.")
@pass_session
def renew(session: Session, lease_id: str, increment: str | None) -> None:
    """Give a lease a longer life."""
    body: JsonObject = {"lease_id": lease_id}
    if increment is not None:
        body["increment"] = increment
    show(session, session.client().write(f"{_ROOT}/renew", body), secret_table)


@command(
    "revoke",
    examples=(
        "mimir lease revoke database/creds/orders-api/x7KqRwT2mP8sVb4nYc6hJd3f",
        "mimir lease revoke --prefix database/creds/orders-api --sync",
        "mimir lease revoke --prefix --force database",
        "mimir lease revoke --entity orders-api",
        "mimir lease revoke --target database/orders-db --sync",
    ),
)
@click.argument("lease_id", metavar="[LEASE_ID|PREFIX]", required=False)
@click.option("--prefix", is_flag=True, help="Revoke all leases below PREFIX.")
@click.option("--entity", metavar="NAME|ID", help="Revoke all leases of who stands behind logins.")
@click.option("--target", metavar="MOUNT/CONNECTION", help="Revoke all leases on a database, as database/orders-db.")
@click.option("--force", is_flag=True, help="Forget leases that cannot be revoked: what they granted may live on.")
@click.option("--sync", is_flag=True, help="Wait until it is done; of many leases a bar shows how far it is.")
@pass_session
def revoke(
    session: Session,
    *,
    lease_id: str | None,
    prefix: bool,
    entity: str | None,
    target: str | None,
    force: bool,
    sync: bool,
) -> None:
    """Revoke a lease, all below a prefix, of an entity, or on a database. They are refused from the answer on."""
    _check_one_choice(lease_id, entity, target, prefix=prefix, force=force)
    body: JsonObject = {}
    if target is not None:
        body = _of_target(target)
    client = session.client()
    if entity is not None:
        body = {"entity_id": entity_id(client, entity)}
    if body:
        path = f"{_ROOT}/revoke-by"
    elif prefix:
        path = f"{_ROOT}/{'revoke-force' if force else 'revoke-prefix'}/{(lease_id or '').strip('/')}"
    else:
        answer = client.write(f"{_ROOT}/revoke", {"lease_id": lease_id, "sync": sync})
        show(session, answer, lambda _: _revoked("The lease is revoked, if it existed.", waited=sync))
        return
    answer = client.write(path, body | {"sync": False})
    job_id = answer.data.get("job_id")
    if sync and isinstance(job_id, str):
        answer = _followed(client, job_id)
    show(session, answer, _prefix_text)
    _check_failed(answer, force=force)


def _check_one_choice(
    lease_id: str | None, entity: str | None, target: str | None, *, prefix: bool, force: bool
) -> None:
    """Raise UsageError unless it is said, once, which leases are meant."""
    if sum(given is not None for given in (lease_id, entity, target)) != 1:
        raise click.UsageError(
            "say which leases, in one way: LEASE_ID, --prefix PREFIX, --entity NAME or --target MOUNT/CONNECTION"
        )
    if lease_id == "" or entity == "":
        raise click.UsageError("LEASE_ID is empty" if lease_id == "" else "--entity is empty")
    if prefix and lease_id is None:
        raise click.UsageError("--prefix goes with a PREFIX")
    if force and not prefix:
        raise click.UsageError("--force goes with --prefix")


def _of_target(target: str) -> "JsonObject":
    """The connection and its mount: of `database/orders-db`, also of `database/config/orders-db`."""
    *front, name = [part for part in target.split("/") if part] or [""]
    if len(front) > 1 and front[-1] == "config":
        front.pop()
    if not front or name == "config":
        raise click.UsageError("--target is written as MOUNT/CONNECTION, as database/orders-db")
    return {"target": name, "mount": "/".join(front) + "/"}


def _revoked(text: str, *, waited: bool) -> str:
    return (
        f"Success! {text}"
        if waited
        else "Success! The lease, if it existed, is refused from now on, and is being revoked."
    )


def _prefix_text(answer: "Answer") -> str:
    job = answer.data
    if "state" in job:
        done = _number(job, "done")
        return f"Success! {done} {'lease is' if done == 1 else 'leases are'} revoked, {job.get('failed')} could not be."
    if "job_id" in job:
        return f"Success! All are refused from now on. See how far it is: mimir lease jobs {job['job_id']}"
    return _UNDER_WAY


def _check_failed(answer: "Answer", *, force: bool) -> None:
    if answer.data.get("failed") and not force:
        raise RefusedError(
            f"{answer.data['failed']} leases could not be revoked; this is tried again. See why in the appliance's "
            "log, or later with `mimir lease list --irrevocable`"
        )


def _followed(client: "Client", job_id: str) -> "Answer":
    """The job at its end; a bar on standard error shows how far it is, where people look at it."""
    job = _looked_at(client, job_id)
    if job.data.get("state") == "finished":
        return job
    if not sys.stderr.isatty():
        return _until_finished(client, job_id, lambda _: None)
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    parts = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*parts, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("Revoking", total=_number(job.data, "total") or None)

        def move(data: "JsonObject") -> None:
            progress.update(bar, completed=_number(data, "done") + _number(data, "failed"))

        return _until_finished(client, job_id, move)


def _looked_at(client: "Client", job_id: str) -> "Answer":
    try:
        return client.read(f"{_ROOT}/jobs/{job_id}")
    except RefusedError as exc:
        raise LocalError(
            f"the leases are refused from now on, but how far it is cannot be read: {exc.sentence}"
        ) from exc


def _until_finished(client: "Client", job_id: str, move: Callable[["JsonObject"], None]) -> "Answer":
    while True:
        job = _looked_at(client, job_id)
        move(job.data)
        if job.data.get("state") != "running":
            return job
        time.sleep(_PAUSE)


@command("count", examples=("mimir lease count", "mimir lease count --irrevocable --children"))
@click.option("--irrevocable", is_flag=True, help="Only those that could not be revoked.")
@click.option("--children", is_flag=True, help="With those of the namespaces below.")
@pass_session
def count(session: Session, irrevocable: bool, children: bool) -> None:
    """Count leases by mount."""
    query = {"type": "irrevocable" if irrevocable else "all"}
    if children:
        query["include_child_namespaces"] = "true"
    show(session, session.client().read(f"{_ROOT}/count", query), _count_table)


def _count_table(answer: "Answer") -> str:
    counts = answer.data.get("counts")
    rows = sorted(counts.items()) if isinstance(counts, dict) else []
    return columns(("Mount", "Leases"), [*rows, ("all", answer.data.get("lease_count"))])


@command("tidy", examples=("mimir lease tidy",))
@pass_session
def tidy(session: Session) -> None:
    """Look for leases whose token is gone and revoke them. Only needed after a repair of the store."""
    answer = session.client().write(f"{_ROOT}/tidy")
    show(session, answer, lambda given: f"Success! See how far it is: mimir lease jobs {given.data.get('job_id', '')}")


@command("jobs", examples=("mimir lease jobs", "mimir lease jobs 8609694a-cdbc-4b9b-8a3e-5a7d0c1e2f34"))
@click.argument("job_id", required=False, default="")
@pass_session
def jobs(session: Session, job_id: str) -> None:
    """Show the revocations of many leases: those under way and those of the last day."""
    client = session.client()
    if job_id:
        show(session, client.read(f"{_ROOT}/jobs/{job_id}"), lambda given: key_values(given.data.items()))
    else:
        show(session, client.list(f"{_ROOT}/jobs"), _jobs_table)


_JOB_FIELDS = ("job_id", "kind", "prefix", "state", "total", "done", "failed", "started", "started_by")


def _jobs_table(answer: "Answer") -> str:
    info = answer.data.get("key_info")
    found = _objects(list(info.values())) if isinstance(info, dict) else []
    rows = [[job.get(name) for name in _JOB_FIELDS] for job in found]
    return columns([name.replace("_", " ").capitalize() for name in _JOB_FIELDS], rows)


def _objects(value: object) -> list["JsonObject"]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _number(data: "dict[str, Any]", name: str) -> int:
    value = data.get(name)
    return value if isinstance(value, int) else 0
