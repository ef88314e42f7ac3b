"""HSM settings, store and audit device fail under the live service: a sentence says what, nothing wrong is served."""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from barrier.schema_version import SCHEMA
from tests.support.appliance import Appliance, ProductionAppliance, Reply

BODY = {"plaintext": "YQ=="}
WORKERS = 2
# root without this capability is refused what a file's mode refuses
OBEY_FILE_MODES = ("setpriv", "--bounding-set", "-dac_override") if os.getuid() == 0 else ()


_NUMBERS = itertools.count()


def wait_for(condition: Callable[[], bool], what: str, limit: float = 20) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def give_keys(server: Appliance, *names: str) -> None:
    client = server.client()
    client.sys.enable_secrets_engine("transit")
    for name in names:
        client.secrets.transit.create_key(name)


def encrypt(server: Appliance, key: str = "a") -> Reply:
    return server.request("POST", f"transit/encrypt/{key}", BODY)


def decrypt(server: Appliance, body: dict[str, str]) -> Reply:
    """What needs no write: an encryption may have to reserve a block of its key's counter first."""
    return server.request("POST", "transit/decrypt/a", body)


def write(server: Appliance) -> Reply:
    return server.request("POST", f"transit/keys/written-{next(_NUMBERS)}", {})


@contextlib.contextmanager
def database(server: Appliance) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(server.data_dir / "mimir.db", isolation_level=None)) as connection:
        yield connection


# --- what the start refuses ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stopped_production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProductionAppliance]:
    """Initialised, with keys, and stopped; each test breaks one thing and mends it again."""
    server = ProductionAppliance(tmp_path_factory.mktemp("stopped") / "data").start()
    give_keys(server, "a", "b")
    assert server.stop() == 0
    yield server
    server.start()  # nothing was overwritten by any of the failed starts
    assert encrypt(server).status == 200
    assert server.stop() == 0


@contextlib.contextmanager
def setting(server: ProductionAppliance, old: str, new: str) -> Iterator[None]:
    """mimir.toml with `new` in place of `old`."""
    text = server.config_file.read_text()
    assert old in text
    server.config_file.write_text(text.replace(old, new))
    try:
        yield
    finally:
        server.config_file.write_text(text)


def refused_start(server: Appliance) -> str:
    """What it says when it does not start."""
    server.log_path.unlink(missing_ok=True)
    server.launch()
    try:
        assert server.wait_exit(60) != 0
    finally:
        server.kill()
    assert "Traceback" not in server.log
    assert server.pin_file.read_text().strip() not in server.log
    sentences = [line for line in server.log.splitlines() if line.startswith("mimir: ")]
    assert len(sentences) == 1, server.log
    return sentences[0]


def test_a_token_that_is_not_there_is_told_with_those_that_are(stopped_production: ProductionAppliance) -> None:
    with setting(stopped_production, '"production"', '"elsewhere"'):
        sentence = refused_start(stopped_production)
    assert "'elsewhere'" in sentence
    assert "'production'" in sentence


def test_a_wrong_module_path_is_named(stopped_production: ProductionAppliance) -> None:
    with setting(stopped_production, "libsofthsm2.so", "libnothing.so"):
        sentence = refused_start(stopped_production)
    assert "/usr/lib/softhsm/libnothing.so does not exist" in sentence


def test_a_module_that_is_no_pkcs11_library_is_named(stopped_production: ProductionAppliance) -> None:
    other = stopped_production.data_dir / "library.so"
    other.write_text("no library")
    with setting(stopped_production, "/usr/lib/softhsm/libsofthsm2.so", str(other)):
        assert str(other) in refused_start(stopped_production)


def test_a_missing_pin_credential_is_named(stopped_production: ProductionAppliance) -> None:
    with setting(stopped_production, '"hsm-pin"', '"another-pin"'):
        assert "another-pin" in refused_start(stopped_production)


def test_a_wrong_pin_is_refused_and_not_shown(stopped_production: ProductionAppliance) -> None:
    right = stopped_production.pin_file.read_text()
    stopped_production.pin_file.write_text("wrong-pin-000")
    sentence = refused_start(stopped_production)
    stopped_production.pin_file.write_text(right)
    assert "PIN" in sentence
    assert right.strip() not in sentence


def test_a_token_without_its_kek_says_how_to_get_one(stopped_production: ProductionAppliance) -> None:
    objects = [path for path in stopped_production.data_dir.rglob("*.object") if path.name != "token.object"]
    assert len(objects) == 2
    for path in objects:
        path.rename(path.with_suffix(".away"))
    sentence = refused_start(stopped_production)
    left = [path for path in stopped_production.data_dir.rglob("*.object") if path.name != "token.object"]
    for path in objects:
        path.with_suffix(".away").rename(path)
    assert "KEK" in sentence
    assert "provision" in sentence
    assert left == []  # no new KEK was made over the old cluster


def test_a_database_newer_than_the_code_is_refused(stopped_production: ProductionAppliance) -> None:
    with database(stopped_production) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        sentence = refused_start(stopped_production)
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]
        connection.execute("UPDATE alembic_version SET version_num = ?", [SCHEMA])
    assert "9999" in sentence
    assert "newer" in sentence


def test_a_file_that_is_no_database_is_refused(stopped_production: ProductionAppliance) -> None:
    path = stopped_production.data_dir / "mimir.db"
    path.rename(path.with_suffix(".away"))
    path.write_bytes(b"this is not a database, and long enough to be looked at\n" * 100)
    sentence = refused_start(stopped_production)
    path.unlink()
    path.with_suffix(".away").rename(path)
    assert "damaged or is no SQLite database" in sentence


def test_a_data_directory_that_cannot_be_written_is_named(stopped_production: ProductionAppliance) -> None:
    stopped_production.data_dir.chmod(0o500)
    stopped_production.wrapper = OBEY_FILE_MODES
    sentence = refused_start(stopped_production)
    stopped_production.data_dir.chmod(0o700)
    stopped_production.wrapper = ()
    assert f"{stopped_production.data_dir} is not writable" in sentence


def test_a_store_that_may_only_be_read_serves_reads(stopped_production: ProductionAppliance) -> None:
    server = stopped_production
    files = list(server.data_dir.glob("mimir.db*"))
    for path in files:
        path.chmod(0o400)
    server.wrapper = OBEY_FILE_MODES
    server.start()
    reply = write(server)
    assert reply.status == 503
    assert "read-only" in reply.errors[0]
    assert server.request("GET", "transit/keys/a").status == 200
    assert server.stop() == 0
    server.wrapper = ()
    for path in files:
        path.chmod(0o600)
    assert "Traceback" not in server.log


# --- rows that were changed behind Mimir's back ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """Serves keys a (in every cache) and the rest (in none)."""
    server = Appliance(tmp_path_factory.mktemp("running") / "data", workers=WORKERS).start()
    give_keys(server, "a", "swapped", "other", "edited", "typed", "gone", "replayed", "live")
    with database(server) as connection:
        kept = row(connection, "versions/replayed/00000001")
    server.client().secrets.transit.update_key_configuration("replayed", deletion_allowed=True)
    server.client().secrets.transit.delete_key("replayed")
    assert server.stop() == 0
    with database(server) as connection:
        tamper(connection, kept)
    server.start()
    warm(server)
    yield server
    assert server.stop() == 0
    assert "Traceback" not in server.log
    assert server.root_token not in server.log


def warm(server: Appliance) -> None:
    """Let every worker have what it needs to encrypt under a."""
    assert {encrypt(server).status for _ in range(12)} == {200}


def row(connection: sqlite3.Connection, path: str) -> tuple[str, int, int, bytes]:
    """The one entry whose path ends so."""
    found = connection.execute("SELECT path, revision, term, sealed FROM entries WHERE path LIKE ?", ("%/" + path,))
    (only,) = found.fetchall()
    return tuple(only)


def put(connection: sqlite3.Connection, path: str, revision: int, sealed: object) -> None:
    done = connection.execute("UPDATE entries SET sealed = ?, revision = ? WHERE path = ?", (sealed, revision, path))
    assert done.rowcount == 1


def tamper(connection: sqlite3.Connection, deleted: tuple[str, int, int, bytes]) -> None:
    """Everything an intruder with the file can do to a row."""
    swapped, other = row(connection, "keys/swapped"), row(connection, "keys/other")
    put(connection, swapped[0], other[1], other[3])
    put(connection, other[0], swapped[1], swapped[3])
    path, revision, _, sealed = row(connection, "keys/edited")
    put(connection, path, revision, sealed[:-1] + bytes([sealed[-1] ^ 1]))
    path, revision, _, sealed = row(connection, "keys/typed")
    put(connection, path, revision, sealed.hex())
    path, _, _, _ = row(connection, "versions/gone/00000001")
    connection.execute("DELETE FROM entries WHERE path = ?", (path,))
    connection.execute("INSERT INTO entries VALUES (?, ?, ?, ?)", deleted)


@pytest.mark.parametrize("name", ["swapped", "other", "edited", "typed"])
def test_a_row_changed_while_stopped_is_refused_by_name(running: Appliance, name: str) -> None:
    for _ in range(4):
        for reply in (running.request("GET", f"transit/keys/{name}"), encrypt(running, name)):
            assert reply.status == 500
            assert f"/keys/{name}'" in reply.errors[0]
            assert "the row was edited" in reply.errors[0]
    assert f"/keys/{name}'" in running.log


def test_a_version_whose_row_was_deleted_is_never_made_up(running: Appliance) -> None:
    reply = encrypt(running, "gone")
    assert reply.status >= 400
    assert reply.errors


def test_a_row_put_back_after_its_key_was_deleted_brings_no_key_back(running: Appliance) -> None:
    assert running.request("GET", "transit/keys/replayed").status == 404


def test_a_row_edited_while_running_is_refused_by_name(running: Appliance) -> None:
    with database(running) as connection:
        path, revision, _, sealed = row(connection, "keys/live")
        put(connection, path, revision, bytes(len(sealed)))
    reply = running.request("GET", "transit/keys/live")
    assert reply.status == 500
    assert path in reply.errors[0]
    assert encrypt(running).status == 200  # the rest goes on


# --- the store while serving -----------------------------------------------------------------------------------------


def test_a_lock_of_another_process_bounds_writes_and_leaves_the_rest_alone(running: Appliance) -> None:
    sealed = {"ciphertext": encrypt(running).json["data"]["ciphertext"]}
    assert {decrypt(running, sealed).status for _ in range(12)} == {200}
    with database(running) as connection, ThreadPoolExecutor(1) as pool:
        connection.execute("BEGIN EXCLUSIVE")
        begun = time.monotonic()
        waiting = pool.submit(write, running)
        statuses = []
        while not waiting.done():
            statuses.append(decrypt(running, sealed).status)
            time.sleep(0.1)
        took = time.monotonic() - begun
        connection.execute("ROLLBACK")
    assert waiting.result().status == 503
    assert "locked by another process" in waiting.result().errors[0]
    assert took < 15
    assert set(statuses) == {200}
    wait_for(lambda: write(running).status == 200, "writes did not resume")


@contextlib.contextmanager
def file_limit(server: Appliance, size: int) -> Iterator[None]:
    """No file of a worker grows beyond `size`: write(2) then fails as on a disk that is full."""
    pids = server.worker_pids()
    assert len(pids) == WORKERS
    for pid in pids:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        lift_limits(pids)


def lift_limits(pids: list[int]) -> None:
    for pid in pids:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def test_a_store_that_cannot_grow_refuses_writes_and_recovers(running: Appliance) -> None:
    sealed = {"ciphertext": encrypt(running).json["data"]["ciphertext"]}
    with file_limit(running, 10):
        for _ in range(4):
            reply = write(running)
            assert reply.status == 503
            assert "disk" in reply.errors[0]
            assert decrypt(running, sealed).status == 200
    assert write(running).status == 200


# --- the audit device while serving ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def audit_file(running: Appliance) -> Iterator[Path]:
    path = running.data_dir / "audit" / "audit.log"
    running.client().sys.enable_audit_device("file", path="file", options={"file_path": str(path)})
    yield path
    running.client().sys.disable_audit_device("file")


def assert_refused(server: Appliance, path: Path, reason: str) -> None:
    """Every kind of request, by either worker; nothing is carried out."""
    for _ in range(4):
        for reply in (encrypt(server), server.request("POST", "transit/keys/unaudited", {})):
            assert reply.status == 503
            assert "no audit device took the record" in reply.errors[0]
            assert str(path) in reply.errors[0]
            assert reason in reply.errors[0]


def assert_recovers(server: Appliance) -> None:
    wait_for(lambda: {encrypt(server).status for _ in range(8)} == {200}, "service did not resume")
    assert server.request("GET", "transit/keys/unaudited").status == 404


def test_an_audit_file_that_was_deleted_is_made_again(running: Appliance, audit_file: Path) -> None:
    audit_file.unlink()
    warm(running)
    assert '"transit/encrypt/a"' in audit_file.read_text()
    assert audit_file.stat().st_mode & 0o777 == 0o600


def test_an_audit_directory_that_is_gone_refuses_requests(running: Appliance, audit_file: Path) -> None:
    away = audit_file.parent.with_name("away")
    shutil.move(audit_file.parent, away)
    time.sleep(0.05)  # the name is looked at every hundredth of a second; until then the moved file takes the records
    assert_refused(running, audit_file, "No such file or directory")
    assert running.request("GET", "sys/health", token=None).status == 200
    shutil.move(away, audit_file.parent)
    assert_recovers(running)


def test_an_audit_disk_that_is_full_refuses_requests(running: Appliance, audit_file: Path) -> None:
    with file_limit(running, audit_file.stat().st_size + 100):
        assert_refused(running, audit_file, "")
    assert_recovers(running)


def test_an_audit_device_on_a_full_disk_is_not_enabled(running: Appliance) -> None:
    body = {"type": "file", "options": {"file_path": "/dev/full"}}
    reply = running.request("PUT", "sys/audit/full", body)
    assert reply.status >= 400
    assert "full/" not in running.client().sys.list_enabled_audit_devices()
    assert encrypt(running).status == 200


def test_the_audit_file_proves_itself_after_all_of_this(running: Appliance, audit_file: Path) -> None:
    from audit.verifier import verify_file

    result = verify_file(audit_file)
    assert result.ok, result
