"""What a start does not load: each of these costs every process time and memory, and serves no request."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from node_harness import ROOT, node_starter

from appliance.config import Config

NEVER = {
    "alembic",
    "mako",
    "hcl2",
    "lark",
    "rich",
    "click",
    "yaml",
    "psutil",
    "prometheus_client",
    "aiosqlite",
    "asyncpg",
    "sqlalchemy.orm",
    "sqlalchemy.dialects.postgresql",
    "websockets",
}


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of an appliance that has initialised itself, and then was started again."""
    directory = tmp_path_factory.mktemp("lean")
    config = Config.dev(directory / "data", "127.0.0.1:0", workers=1)
    with node_starter(directory, script="run_listing_node.py") as start:
        for _ in range(2):
            for found in (directory / "data").glob("modules-*"):
                found.unlink()
            node = start(config=config).wait_ready()
            wait_for(directory / "data" / "modules-housekeeper")
            assert node.stop() == 0
    return directory / "data"


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 20
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline, f"{path.name} was not written"
        time.sleep(0.01)


@pytest.mark.parametrize("role", ["worker", "housekeeper"])
def test_a_process_that_serves_leaves_out_what_serving_does_not_need(started: Path, role: str) -> None:
    assert not NEVER & set((started / f"modules-{role}").read_text().split())


def test_the_housekeeper_leaves_out_the_web_server(started: Path) -> None:
    assert "aiohttp" in (started / "modules-worker").read_text().split()
    assert "aiohttp" not in (started / "modules-housekeeper").read_text().split()


def modules_after(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"{code}\nimport sys\nprint(*sys.modules)"],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(done.stdout.split())


def test_a_schema_that_is_current_needs_neither_alembic_nor_sqlalchemy(started: Path) -> None:
    step = "from appliance.processes.preparation import migrate_schema\nfrom appliance.config import Config\n"
    loaded = modules_after(f"{step}migrate_schema(Config.dev({str(started)!r}, '127.0.0.1:0', workers=1))")
    assert not {"alembic", "sqlalchemy"} & loaded


def test_the_supervisor_opens_no_hsm_and_no_database() -> None:
    loaded = modules_after("import appliance.processes.supervisor")
    assert not {"aiohttp", "sqlalchemy", "pkcs11", "cryptography", "structlog"} & loaded


def test_aiohttp_is_imported_without_reading_authorities() -> None:
    """Its own client context then trusts nobody; the environment is as it was."""
    code = "import os\nbefore = dict(os.environ)\nfrom appliance.processes import spawned\n"
    code += "spawned.import_aiohttp_without_authorities()\nassert dict(os.environ) == before\n"
    code += "from aiohttp import connector\nassert connector._SSL_CONTEXT_VERIFIED.get_ca_certs() == []\n"
    code += "assert connector._SSL_CONTEXT_VERIFIED.verify_mode.name == 'CERT_REQUIRED'"
    assert "aiohttp" in modules_after(code)
