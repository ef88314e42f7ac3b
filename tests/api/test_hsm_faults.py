"""The HSM fails while the appliance serves: a clear 503 within a second, and service resumes by itself.

Faults are injected by patching the module's function list inside the worker (tests/support/hsm_faults), and by moving
the token directory away.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.appliance import ROOT, Appliance

FAULTS = ROOT / "tests" / "support" / "hsm_faults"
BODY = {"plaintext": "YQ=="}


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("faults") / "control.json"


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory, control: Path) -> Iterator[Appliance]:
    env = {"PYTHONPATH": f"{FAULTS}{os.pathsep}{ROOT}", "MIMIR_TEST_HSM_FAULTS": str(control)}
    server = Appliance(tmp_path_factory.mktemp("faulty") / "data", env=env).start()
    server.client().sys.enable_secrets_engine("transit")
    server.client().secrets.transit.create_key("k")
    # a fault that meets a worker while it starts is another test's matter
    wait_for(lambda: "ready on" in server.log, 30, "not every worker became ready")
    yield server
    assert server.stop() == 0


def inject(control: Path, **fault: object) -> None:
    partial = control.with_suffix(".new")
    partial.write_text(json.dumps(fault))
    partial.replace(control)


def wait_for(condition: Callable[[], bool], limit: float, what: str) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def statuses(server: Appliance, count: int = 8) -> set[int]:
    """What both workers answer (a new connection each)."""
    return {server.request("POST", "transit/encrypt/k", BODY).status for _ in range(count)}


@pytest.mark.parametrize("code", [0x30, 0x32, 0xE0, 0xB3])  # DeviceError, DeviceRemoved, TokenNotPresent, SessionHandle
def test_fault_answers_503_and_recovers(faulty: Appliance, control: Path, code: int) -> None:
    assert statuses(faulty) == {200}
    inject(control, code=code)
    wait_for(lambda: statuses(faulty) == {503}, 10, "the fault never showed")
    begun = time.monotonic()
    reply = faulty.request("POST", "transit/encrypt/k", BODY)
    assert time.monotonic() - begun < 1
    assert reply.status == 503
    assert "HSM" in reply.errors[0]
    assert faulty.request("GET", "auth/token/lookup-self").status == 200  # what needs no HSM goes on
    inject(control)
    wait_for(lambda: statuses(faulty) == {200}, 30, "service did not resume")
    assert "Traceback" not in faulty.log


def test_slow_module_still_answers_right(faulty: Appliance, control: Path) -> None:
    inject(control, delay=0.05)
    time.sleep(0.3)
    sealed = faulty.request("POST", "transit/encrypt/k", BODY).json["data"]["ciphertext"]
    assert faulty.request("POST", "transit/decrypt/k", {"ciphertext": sealed}).json["data"] == BODY
    inject(control)


def test_token_directory_moved_away_and_back(make_appliance: Callable[..., Appliance]) -> None:
    server = make_appliance().start()
    server.client().sys.enable_secrets_engine("transit")
    server.client().secrets.transit.create_key("k")
    assert statuses(server) == {200}
    wait_for(lambda: "ready on" in server.log, 30, "not every worker became ready")
    tokens = next(server.data_dir.glob("**/softhsm2.conf")).parent / "tokens"
    if not tokens.exists():
        tokens = next(p.parent.parent for p in server.data_dir.rglob("token.object"))
    away = server.data_dir / "away"
    tokens.rename(away)
    wait_for(lambda: statuses(server) == {503}, 15, "the missing token was not noticed")
    away.rename(tokens)
    wait_for(lambda: statuses(server) == {200}, 30, "service did not resume")
    assert server.stop() == 0


# --- what start-up refuses, each with one sentence that names the matter -------------------------------------------


def start_fails(server: Appliance) -> str:
    server.log_path.unlink(missing_ok=True)
    server.launch()
    assert server.wait_exit(60) != 0
    assert "Traceback" not in server.log
    return server.log


@pytest.fixture
def stopped(make_appliance: Callable[..., Appliance]) -> Appliance:
    server = make_appliance().start()
    server.client().sys.enable_secrets_engine("transit")
    server.client().secrets.transit.create_key("k")
    assert server.stop() == 0
    return server


def test_wrong_pin(stopped: Appliance) -> None:
    pin = next(p for p in stopped.data_dir.rglob("*pin*") if "so" not in p.name)
    right = pin.read_text()
    pin.write_text("wrong-pin-000")
    log = start_fails(stopped)
    assert "PIN" in log
    assert "wrong-pin-000" not in log
    pin.write_text(right)
    stopped.start()
    assert statuses(stopped) == {200}


def test_kek_of_another_cluster(stopped: Appliance, make_appliance: Callable[..., Appliance]) -> None:
    """Another cluster's token under this cluster's database: named, nothing overwritten."""
    other = make_appliance().start()
    assert other.stop() == 0
    exchange_tokens(stopped, other)
    log = start_fails(stopped)
    assert "KEK" in log
    exchange_tokens(stopped, other)
    stopped.start()
    assert statuses(stopped) == {200}


def exchange_tokens(one: Appliance, other: Appliance) -> None:
    aside = one.data_dir / "aside"
    for name in ("softhsm/tokens", "hsm-pin"):
        (one.data_dir / name).rename(aside)
        (other.data_dir / name).rename(one.data_dir / name)
        aside.rename(other.data_dir / name)
