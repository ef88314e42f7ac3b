"""A PostgreSQL server that the scenarios of databases share: Debian's package, on loopback, durable, with passwords."""

import atexit
import os
import pwd
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from bench.servers import ServerError, free_port

PASSWORD = "bench-root-password"  # noqa: S105 - of a server that lives as long as a run
DATABASE = "orders"
_PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


class PostgresServer:
    """Runs as the user postgres when we are root."""

    def __init__(self) -> None:
        if not _PROGRAMS:
            raise ServerError("no PostgreSQL in /usr/lib/postgresql: install Debian's package postgresql")
        self._bin = _PROGRAMS[-1]
        self.port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="mimir-bench-pg-"))
        if os.getuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self.directory, user.pw_uid, user.pw_gid)
        secret = self.directory / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        data = str(self.directory / "data")
        self._run("initdb", "-D", data, "-A", "scram-sha-256", "-U", "root", f"--pwfile={secret}", "--locale=C")
        settings = f"-c listen_addresses=127.0.0.1 -p {self.port} -k {self.directory} -c max_connections=100"
        self._run("pg_ctl", "-D", data, "-l", str(self.directory / "log"), "-w", "-o", settings, "start")
        self.script(f"CREATE DATABASE {DATABASE}", database="postgres")
        self.script("CREATE TABLE orders(id int); CREATE ROLE readers; GRANT SELECT ON orders TO readers")

    def script(self, text: str, *, database: str = DATABASE) -> str:
        """Run SQL by psql; what it prints."""
        url = f"postgresql://root:{PASSWORD}@127.0.0.1:{self.port}/{database}"
        return self._run("psql", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", text, url)

    def stop(self) -> None:
        """Stop it and delete its files."""
        self._run("pg_ctl", "-D", str(self.directory / "data"), "-m", "immediate", "stop")
        shutil.rmtree(self.directory, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> str:
        command = [str(self._bin / program), *arguments]
        if os.getuid() == 0:
            command = ["runuser", "-u", "postgres", "--", *command]
        done = subprocess.run(command, cwd=self.directory, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ServerError(f"{program} failed:\n{done.stdout}{done.stderr}")
        return done.stdout


@cache
def shared_server() -> PostgresServer:
    """Started when a scenario first asks for it, stopped at the end of the run."""
    server = PostgresServer()
    atexit.register(server.stop)
    return server
