"""A throw-away Redis from Debian's package, for the tests of one session."""

import hashlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = "mimir"
ROOT_PASSWORD = "root's \"pass#word"


def free_port() -> int:
    """One that nobody listened at a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class ThrowAwayRedis:
    """A server on a loopback port; its users are in an ACL file or in redis.conf. `mimir` may what its plugin needs."""

    def __init__(self, *, extra: str = "", tls: bool = False, acl_file: bool = True) -> None:
        program = shutil.which("redis-server")
        if program is None:
            pytest.fail("no redis-server: install Debian's package redis-server (scripts/test does)")
        self._program = program
        self.directory = Path(tempfile.mkdtemp(prefix="mimir-redis-"))
        self.port = free_port()
        digest = hashlib.sha256(ROOT_PASSWORD.encode()).hexdigest()
        users = f"user default on nopass ~* &* +@all\nuser {ROOT} on #{digest} +acl +client +role +config|rewrite\n"
        self._configuration = self.directory / "redis.conf"
        listen = f"port 0\ntls-port {self.port}" if tls else f"port {self.port}"
        general = f'bind 127.0.0.1\n{listen}\ndir {self.directory}\nsave ""\nloglevel warning\n{extra}\n'
        if acl_file:
            (self.directory / "users.acl").write_text(users)
            users = f"aclfile {self.directory}/users.acl\n"
        self._configuration.write_text(general + users)
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it; the fixture has done so."""
        self._process = subprocess.Popen(
            [self._program, str(self._configuration)], stdout=subprocess.DEVNULL, cwd=self.directory
        )
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.01)
        pytest.fail("redis-server did not start")

    def stop(self) -> None:
        """Kill it, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        """Stop it and delete its files."""
        self.stop()
        shutil.rmtree(self.directory)

    def options(self, **more: Any) -> dict[str, Any]:
        """Of a connection, as Vault's plugin names them."""
        return {"host": "127.0.0.1", "port": self.port} | more


@pytest.fixture(scope="session")
def redis_server() -> Iterator[ThrowAwayRedis]:
    """The session's server."""
    server = ThrowAwayRedis()
    yield server
    server.remove()
