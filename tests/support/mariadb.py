"""A throw-away MariaDB server from Debian's package, for the tests of one session (of each worker)."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

import pymysql
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.support.small_ca import SmallCa, pem

_INSTALL = ("--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve")
_SETTINGS = (
    "--skip-name-resolve",
    "--innodb-flush-log-at-trx-commit=2",
    "--innodb-buffer-pool-size=16M",
    "--innodb-log-file-size=8M",
    "--innodb-fast-shutdown=2",
    "--innodb-flush-method=nosync",
    "--key-buffer-size=1M",
    "--aria-pagecache-buffer-size=1M",
    "--performance-schema=OFF",
    "--skip-log-bin",
    "--max-connections=60",
)
_START = 30.0  # seconds that it may take


class ThrowAwayMariaDb:
    """A server on a socket and a port of this machine, with a certificate; runs as the user mysql when we are root."""

    def __init__(self) -> None:
        if shutil.which("mariadb-install-db") is None or _server() is None:
            pytest.fail("no MariaDB: install Debian's package mariadb-server (scripts/test does)")
        self.directory = Path(tempfile.mkdtemp(prefix="mimir-my-"))  # short: a socket's path has 107 bytes
        self._user = ["--user=mysql"] if os.getuid() == 0 else []
        self._process: subprocess.Popen[bytes] | None = None
        self.socket = self.directory / "socket"
        self.port = _free_port()
        self.ca = SmallCa.root("MariaDB Tests", now=datetime.now(UTC))
        self._write_certificate()
        if self._user:
            user = pwd.getpwnam("mysql")
            for path in (self.directory, *self.directory.iterdir()):
                os.chown(path, user.pw_uid, user.pw_gid)
        command = ["mariadb-install-db", "--no-defaults", *self._user, f"--datadir={self.directory}/data", *_INSTALL]
        done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.fail(f"mariadb-install-db failed:\n{done.stdout}{done.stderr}")
        self.start()

    def _write_certificate(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1")), x509.DNSName("db.example")])
        leaf = self.ca.sign(key.public_key(), "db.example", now=datetime.now(UTC), extensions=(names,))
        text = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        (self.directory / "key.pem").write_bytes(text)
        (self.directory / "cert.pem").write_text(pem(leaf))
        (self.directory / "ca.pem").write_text(self.ca.pem)

    def start(self, *extra: str) -> None:
        """Start it; the fixture has done so."""
        here = self.directory
        command = [
            str(_server()), "--no-defaults", *self._user, f"--datadir={here}/data", f"--socket={self.socket}",
            f"--pid-file={here}/pid", f"--log-error={here}/server.log", f"--port={self.port}",
            f"--ssl-ca={here}/ca.pem", f"--ssl-cert={here}/cert.pem", f"--ssl-key={here}/key.pem",
            "--bind-address=127.0.0.1", *_SETTINGS, *extra,
        ]  # fmt: skip
        with (here / "output").open("ab") as output:
            self._process = subprocess.Popen(command, cwd="/", stdout=output, stderr=output)
        end = time.monotonic() + _START
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"MariaDB does not start:\n{(here / 'server.log').read_text()[-3000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop it at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def run(self, *statements: str) -> list[tuple[object, ...]]:
        """Statements as root; answers the rows of the last one."""
        rows: list[tuple[object, ...]] = []
        connection = pymysql.connect(unix_socket=str(self.socket), user="root", charset="utf8mb4", autocommit=True)
        with connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
                rows = list(cursor.fetchall())
        return rows

    def dsn(self, database: str = "") -> str:
        """connection_url for TCP."""
        return f"{{{{username}}}}:{{{{password}}}}@tcp(127.0.0.1:{self.port})/{database}"

    def remove(self) -> None:
        """Stop it and delete its files."""
        self.stop()
        shutil.rmtree(self.directory)

    def _answers(self) -> bool:
        """A plain socket asks: PyMySQL leaves its own open when nobody listens."""
        with socket.socket(socket.AF_UNIX) as asked:
            return asked.connect_ex(str(self.socket)) == 0


def _server() -> str | None:
    return shutil.which("mariadbd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.fixture(scope="session")
def mariadb() -> Iterator[ThrowAwayMariaDb]:
    """The session's server."""
    server = ThrowAwayMariaDb()
    yield server
    server.remove()
