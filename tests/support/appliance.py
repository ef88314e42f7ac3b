"""A live appliance for tests: the real server, in processes of its own, on a free loopback port."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hvac

ROOT = Path(__file__).resolve().parents[2]
START_LIMIT = 60.0  # seconds; a loaded two-core machine, not a promise about speed


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def clean_environment() -> dict[str, str]:
    """Ours, without what would steer a server or a client elsewhere; this tree's code is what runs."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MIMIR_", "VAULT_", "SOFTHSM2_"))}
    return env | {"PYTHONPATH": str(ROOT)}


@dataclass
class Reply:
    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def errors(self) -> list[str]:
        return list(self.json["errors"])


@dataclass
class Appliance:
    """`mimir server --dev` over one data directory; start, stop, kill, ask."""

    data_dir: Path
    workers: int = 2
    extra: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    wrapper: tuple[str, ...] = ()  # a program that changes what the server may do, and becomes it

    writes_init_file = True

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pin_file(self) -> Path:
        return self.data_dir / "hsm-pin"

    @property
    def log_path(self) -> Path:
        return self.data_dir.parent / f"{self.data_dir.name}.server.log"

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    @property
    def init(self) -> dict[str, Any]:
        return dict(json.loads((self.data_dir / "init.json").read_text()))

    @property
    def root_token(self) -> str:
        return str(self.init["root_token"])

    def start(self, *, ready: tuple[int, ...] = (200,)) -> Appliance:
        said = self.log_path.stat().st_size if self.log_path.exists() else 0
        self.launch()
        self.wait_until(ready)
        if ready == (200,):
            self._wait_for_all_workers(said)
        return self

    def _wait_for_all_workers(self, said: int) -> None:
        """The first one that listens would get all connections of a test that begins now."""
        deadline = time.monotonic() + START_LIMIT
        while b"mimir: ready on" not in self.log_path.read_bytes()[said:]:
            assert time.monotonic() < deadline, f"not every worker listens:\n{self.log[-3000:]}"
            time.sleep(0.02)

    def launch(self) -> None:
        """Start the process without waiting for it."""
        self.data_dir.parent.mkdir(parents=True, exist_ok=True)
        command = [*self.wrapper, sys.executable, "-m", "client", *self.arguments()]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=clean_environment() | self.env,
                cwd=ROOT,
                start_new_session=True,
            )

    def arguments(self) -> list[str]:
        """The words after `mimir`."""
        words = ["server", "--dev", "--data-dir", str(self.data_dir), "--listen", f"127.0.0.1:{self.port}"]
        return [*words, "--workers", str(self.workers), *self.extra]

    def wait_until(self, statuses: tuple[int, ...], *, limit: float = START_LIMIT) -> None:
        """Wait until sys/health answers one of `statuses`."""
        deadline = time.monotonic() + limit
        seen: object = None
        while time.monotonic() < deadline:
            if self.process is not None and self.process.poll() is not None:
                raise AssertionError(f"the server ended with {self.process.returncode}:\n{self.log[-3000:]}")
            with contextlib.suppress(OSError):
                seen = self.request("GET", "sys/health", token=None).status
                if seen in statuses:
                    return
            time.sleep(0.02)
        raise AssertionError(f"sys/health answered {seen!r}, wanted {statuses}:\n{self.log[-3000:]}")

    def wait_exit(self, limit: float = 30.0) -> int:
        assert self.process is not None
        return self.process.wait(limit)

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        if self.process is None or self.process.poll() is not None:
            return self.process.returncode if self.process else 0
        self.process.terminate()
        try:
            return self.process.wait(30)
        finally:
            self.kill()

    def kill(self) -> None:
        """SIGKILL to the supervisor and whatever it started."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def worker_pids(self) -> list[int]:
        """The processes that listen on the port, found as an operator would: by their command line."""
        assert self.process is not None
        pids = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError, ValueError):
                words = path.read_bytes().split(b"\0")
                parent = int((path.parent / "stat").read_text().rsplit(")", 1)[1].split()[1])
                if parent == self.process.pid and words[words.index(b"--name") + 1].startswith(b"worker-"):
                    pids.append(int(path.parent.name))
        return pids

    def client(self, token: str | None = "") -> hvac.Client:
        """An independent Vault client; the root token unless told otherwise."""
        return hvac.Client(url=self.address, token=self.root_token if token == "" else token)

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str | None = "",
        raw: bytes | None = None,
        headers: dict[str, str] | None = None,
        timeout: float = 30,
    ) -> Reply:
        """One request, as it stands: for what no client library would send."""
        send = dict(headers or {})
        if token is not None:
            send.setdefault("X-Vault-Token", token or self.root_token)
        data = raw if raw is not None else (None if body is None else json.dumps(body).encode())
        call = urllib.request.Request(f"{self.address}/v1/{path}", data=data, method=method, headers=send)
        try:
            with urllib.request.urlopen(call, timeout=timeout) as reply:
                return Reply(reply.status, reply.read(), {k.lower(): v for k, v in reply.headers.items()})
        except urllib.error.HTTPError as error:
            with error:
                return Reply(error.code, error.read(), {k.lower(): v for k, v in error.headers.items()})


@dataclass
class ProductionAppliance(Appliance):
    """`mimir server --config mimir.toml`: a provisioned token, any store, initialised by a client.

    The PIN comes from $CREDENTIALS_DIRECTORY, as under systemd, unless `hsm_settings` say otherwise.
    """

    store_url: str = ""
    hsm_settings: str = 'pin_credential = "hsm-pin"'
    listener_settings: str = ""  # instead of plain HTTP on the port
    initialisation: dict[str, Any] = field(default_factory=dict)

    writes_init_file = False

    @property
    def init(self) -> dict[str, Any]:
        return self.initialisation

    @property
    def config_file(self) -> Path:
        return self.data_dir / "mimir.toml"

    @property
    def pin_file(self) -> Path:
        return self.data_dir / "credentials" / "hsm-pin"

    def arguments(self) -> list[str]:
        return ["server", "--config", str(self.config_file)]

    def start(self, *, ready: tuple[int, ...] = (200,)) -> ProductionAppliance:
        if not self.config_file.exists():
            self.prepare()
        self.launch()
        if ready == (200,) and not self.initialisation:
            self.wait_until((501,))
            self.initialise()
        self.wait_until(ready)
        return self

    def prepare(self) -> None:
        """What the operator does before the first start."""
        self.pin_file.parent.mkdir(parents=True, mode=0o700)
        self.env = {"CREDENTIALS_DIRECTORY": str(self.pin_file.parent)} | self.env
        command = [sys.executable, "-m", "softhsm.provisioning", "--label", "production"]
        command += ["--token-dir", str(self.data_dir / "softhsm"), "--pin-file", str(self.pin_file)]
        command += ["--so-pin-file", str(self.data_dir / "so-pin")]
        done = subprocess.run(command, env=clean_environment(), cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        self.write_config()

    def write_config(self) -> None:
        """mimir.toml as the fields say."""
        listener = self.listener_settings or f'address = "127.0.0.1:{self.port}"'
        text = f"""\
            [hsm]
            module = "/usr/lib/softhsm/libsofthsm2.so"
            token_label = "production"
            softhsm_token_dir = "softhsm"
            {self.hsm_settings}
            [store]
            url = "{self.store_url or f"sqlite:///{self.data_dir}/mimir.db"}"
            [[listener]]
            {listener}
            [server]
            workers = {self.workers}
            data_dir = "."
            runtime_dir = "run"
            """
        self.config_file.write_text(textwrap.dedent(text))

    def initialise(self) -> None:
        """As the first client does."""
        body = {"recovery_shares": 5, "recovery_threshold": 3}
        reply = self.request("PUT", "sys/init", body, token=None)
        assert reply.status == 200, reply.body
        self.initialisation = dict(reply.json)
