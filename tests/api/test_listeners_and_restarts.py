"""TLS and unix sockets through the whole product, and a stop under load that loses no acknowledged request."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import hvac
import pytest

from appliance.http.dev_certificates import make_dev_certificates
from tests.support.appliance import ROOT, Appliance, ProductionAppliance, clean_environment

MakeAppliance = Callable[..., Appliance]


def mimir(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "client", *words]
    return subprocess.run(
        command, env=clean_environment() | environment, cwd=ROOT, capture_output=True, text=True, check=False
    )


# --- TLS -------------------------------------------------------------------------------------------------------------


class TlsAppliance(Appliance):
    """As `mimir server --dev --tls`; asked over HTTPS with the CA file that it wrote."""

    @property
    def ca_file(self) -> Path:
        return self.data_dir / "tls" / "ca.pem"

    def wait_until(self, statuses: tuple[int, ...], *, limit: float = 60) -> None:
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            try:
                if self.health() in statuses:
                    return
            except OSError:
                time.sleep(0.05)
        raise AssertionError(self.log)

    def health(self) -> int:
        context = ssl.create_default_context(cafile=self.ca_file)
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=10)
        try:
            connection.request("GET", "/v1/sys/health")
            return connection.getresponse().status
        finally:
            connection.close()

    def certificate(self) -> str:
        return ssl.get_server_certificate(("127.0.0.1", self.port))


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsAppliance]:
    server = TlsAppliance(tmp_path_factory.mktemp("tls") / "data", extra=("--tls",))
    server.start()
    yield server
    assert server.stop() == 0
    assert "Traceback" not in server.log


def test_the_private_keys_are_private(tls: TlsAppliance) -> None:
    assert tls.ca_file.exists()
    for key in tls.ca_file.parent.glob("*key*"):
        assert key.stat().st_mode & 0o777 == 0o600


def test_mimir_and_hvac_speak_https_with_the_ca_file(tls: TlsAppliance) -> None:
    address = f"https://127.0.0.1:{tls.port}"
    environment = {"MIMIR_ADDR": address, "MIMIR_CACERT": str(tls.ca_file), "MIMIR_TOKEN": tls.root_token}
    done = mimir(environment, "token", "lookup", "-o", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["data"]["policies"] == ["root"]
    assert hvac.Client(url=address, token=tls.root_token, verify=str(tls.ca_file)).is_authenticated()


def test_without_the_ca_file_mimir_sends_nothing(tls: TlsAppliance) -> None:
    environment = {"MIMIR_ADDR": f"https://127.0.0.1:{tls.port}", "MIMIR_TOKEN": tls.root_token}
    done = mimir(environment, "token", "lookup")
    assert done.returncode == 3
    assert "certificate" in done.stderr
    assert "Traceback" not in done.stderr


def test_old_tls_and_plain_http_get_no_answer(tls: TlsAppliance) -> None:
    context = ssl.create_default_context(cafile=tls.ca_file)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    plain = socket.create_connection(("127.0.0.1", tls.port), timeout=10)
    with context.wrap_socket(plain, server_hostname="127.0.0.1") as wrapped:
        assert wrapped.version() == "TLSv1.2"
    with socket.create_connection(("127.0.0.1", tls.port), timeout=10) as plain:
        plain.sendall(b"GET /v1/sys/health HTTP/1.1\r\nHost: x\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert not plain.recv(100).startswith(b"HTTP/")


def test_sighup_takes_a_new_certificate_and_keeps_serving(tls: TlsAppliance, tmp_path: Path) -> None:
    assert tls.process is not None
    before = tls.certificate()
    make_dev_certificates(tmp_path, host="127.0.0.1")
    for name in ("ca.pem", "server-key.pem", "server.pem"):
        (tmp_path / name).replace(tls.ca_file.parent / name)
    assert tls.certificate() == before
    tls.process.send_signal(signal.SIGHUP)
    wanted = (tls.ca_file.parent / "server.pem").read_text().strip().split("-----END")[0]
    deadline = time.monotonic() + 15
    while any(tls.certificate().split("-----END")[0] != wanted for _ in range(6)):  # whichever worker answers
        assert time.monotonic() < deadline, "a worker still shows the old certificate"
        time.sleep(0.05)
    assert tls.health() == 200


def test_a_broken_certificate_is_not_taken(tls: TlsAppliance) -> None:
    assert tls.process is not None
    before, log = tls.certificate(), len(tls.log)
    file = tls.ca_file.parent / "server.pem"
    right = file.read_text()
    file.write_text("no certificate")
    tls.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 15
    while str(file) not in tls.log[log:]:
        assert time.monotonic() < deadline, tls.log[log:]
        time.sleep(0.05)
    assert {tls.certificate() for _ in range(6)} == {before}
    file.write_text(right)


# --- a unix socket, and a PIN in a file -------------------------------------------------------------------------------


class SocketAppliance(ProductionAppliance):
    """Listens on TCP for the tests' own questions and on a unix socket."""

    @property
    def socket_file(self) -> Path:
        return self.data_dir / "s"


def test_a_unix_socket_serves_and_goes_with_the_service(tmp_path_factory: pytest.TempPathFactory) -> None:
    server = SocketAppliance(tmp_path_factory.mktemp("u") / "d")
    server.hsm_settings = f'pin_file = "{server.pin_file}"'
    server.listener_settings = (
        f'address = "127.0.0.1:{server.port}"\n[[listener]]\naddress = "unix:{server.socket_file}"'
    )
    try:
        server.start()
        environment = {"MIMIR_ADDR": f"unix://{server.socket_file}", "MIMIR_TOKEN": server.root_token}
        assert mimir(environment, "status").returncode == 0
        done = mimir(environment, "token", "lookup", "-o", "json")
        assert json.loads(done.stdout)["data"]["policies"] == ["root"]
        assert server.socket_file.stat().st_mode & 0o007 == 0
        assert server.stop() == 0
        assert not server.socket_file.exists()
        assert mimir(environment, "token", "lookup").returncode == 3
    finally:
        server.kill()


# --- stops under load ------------------------------------------------------------------------------------------------


class Caller(threading.Thread):
    """Writes over a keep-alive connection until told to stop; notes answers, and answers that were cut short."""

    def __init__(self, server: Appliance, number: int) -> None:
        super().__init__(daemon=True)
        self.server, self.number, self.token = server, number, server.root_token
        self.acknowledged: list[str] = []
        self.unanswered: list[str] = []
        self.cut: list[str] = []
        self.refused: set[int] = set()
        self.stopping = threading.Event()

    def run(self) -> None:
        connection: http.client.HTTPConnection | None = None
        count = 0
        while not self.stopping.is_set():
            connection = connection or http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
            count += 1
            if not self.call(connection, f"c{self.number}-{count}"):
                connection.close()
                connection = None
                time.sleep(0.01)
        if connection is not None:
            connection.close()

    def call(self, connection: http.client.HTTPConnection, name: str) -> bool:
        """Whether the connection is of further use."""
        try:
            connection.request("POST", f"/v1/transit/keys/{name}", "{}", {"X-Vault-Token": self.token})
            reply = connection.getresponse()
        except (OSError, http.client.HTTPException):
            connection.close()
            self.unanswered.append(name)  # refused, or a kept connection that the server closed before it read
            return False
        try:
            text = reply.read()
            json.loads(text)
        except (OSError, ValueError, http.client.HTTPException):
            self.cut.append(name)
            return False
        if reply.status == 200:
            self.acknowledged.append(name)
        else:
            self.refused.add(reply.status)
        return reply.getheader("Connection") != "close"


def test_sigterm_under_load_loses_no_acknowledged_request(make_appliance: MakeAppliance) -> None:
    server = make_appliance().start()
    server.client().sys.enable_secrets_engine("transit")
    callers = [Caller(server, number) for number in range(6)]
    for caller in callers:
        caller.start()
    for _ in range(3):
        before = sum(len(caller.acknowledged) for caller in callers)
        deadline = time.monotonic() + 30
        while sum(len(caller.acknowledged) for caller in callers) < before + 20:
            assert time.monotonic() < deadline, "no writes"
            time.sleep(0.01)
        assert server.stop() == 0
        server.start()
    for caller in callers:
        caller.stopping.set()
    for caller in callers:
        caller.join(40)
    assert [name for caller in callers for name in caller.cut] == []
    assert {status for caller in callers for status in caller.refused} <= {503}
    listed = set(server.client().secrets.transit.list_keys()["data"]["keys"])
    assert {name for caller in callers for name in caller.acknowledged} <= listed
    assert server.stop() == 0
    assert "Traceback" not in server.log
