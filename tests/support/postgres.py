"""A throw-away PostgreSQL server from Debian's package, for the tests of one session."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.support.appliance import free_port

_SETTINGS = {"fsync": "off", "listen_addresses": "", "max_connections": "60", "shared_buffers": "16MB"}


class ThrowAwayPostgres:
    """A server on a Unix socket in a directory of its own; runs as the user postgres when we are root."""

    def __init__(self) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        if not found:
            pytest.fail("no PostgreSQL in /usr/lib/postgresql: install Debian's package postgresql (scripts/test does)")
        self._bin = found[-1].parent
        self._names = count(1)
        self.directory = Path(tempfile.mkdtemp(prefix="mimir-pg-"))  # short: a socket's path has 107 bytes
        if os.getuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self.directory, user.pw_uid, user.pw_gid)
        data = str(self.directory / "data")
        self._as_postgres(
            "initdb", "-D", data, "-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8", "--locale=C"
        )
        self.start()

    def _as_postgres(self, program: str, *arguments: str) -> None:
        command = [str(self._bin / program), *arguments]
        if os.getuid() == 0:
            command = ["runuser", "-u", "postgres", "--", *command]
        done = subprocess.run(command, cwd=self.directory, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.fail(f"{program} failed:\n{done.stdout}{done.stderr}")

    def _pg_ctl(self, *arguments: str) -> None:
        log = str(self.directory / "log")
        self._as_postgres("pg_ctl", "-D", str(self.directory / "data"), "-l", log, "-w", *arguments)

    def start(self) -> None:
        """Start it; the fixture has done so."""
        settings = " ".join(f"-c {name}='{value}'" for name, value in _SETTINGS.items())
        self._pg_ctl("-o", f"{settings} -k {self.directory}", "start")

    def stop(self) -> None:
        """Stop it at once, as a crash would."""
        self._pg_ctl("stop", "-m", "immediate")

    def create_database(self, *, template: str = "template0") -> str:
        """A fresh database; answers its name."""
        name = f"mimir_{next(self._names)}"
        host = str(self.directory)
        self._as_postgres("createdb", "-h", host, "-U", "postgres", "-T", template, "--strategy=file_copy", name)
        return name

    def url(self, database: str) -> str:
        """How to connect."""
        return f"postgresql://postgres@/{database}?host={self.directory}"

    def remove(self) -> None:
        """Stop it and delete its files."""
        self.stop()
        shutil.rmtree(self.directory)


class NetworkPostgres(ThrowAwayPostgres):
    """One that listens on a port of loopback, by TLS if it has a certificate, and asks everybody for a password."""

    def __init__(self, *, certificate: str = "", key: str = "") -> None:
        self._tls = (certificate, key)
        self.port = free_port()
        super().__init__()

    def start(self) -> None:
        data = self.directory / "data"
        (data / "pg_hba.conf").write_text("local all all trust\nhost all all all scram-sha-256\n")
        tls = ""
        if all(self._tls):
            for name, text in zip(("server.crt", "server.key"), self._tls, strict=True):
                (data / name).write_text(text)
                (data / name).chmod(0o600)
                if os.getuid() == 0:
                    user = pwd.getpwnam("postgres")
                    os.chown(data / name, user.pw_uid, user.pw_gid)
            tls = "-c ssl=on"
        self._pg_ctl(
            "-o", f"-c fsync=off {tls} -c listen_addresses=127.0.0.1 -p {self.port} -k {self.directory}", "start"
        )

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self.directory}&port={self.port}"

    def create_database(self, *, template: str = "template0") -> str:
        name = f"mimir_{next(self._names)}"
        host, port = str(self.directory), str(self.port)
        self._as_postgres("createdb", "-h", host, "-p", port, "-U", "postgres", "-T", template, name)
        return name


@pytest.fixture(scope="session")
def postgres() -> Iterator[ThrowAwayPostgres]:
    """The session's server."""
    server = ThrowAwayPostgres()
    yield server
    server.remove()
