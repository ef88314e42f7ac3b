"""`bench/lease_drain`: what happens when thousands of database accounts are due at once, among a million leases.

A server of two workers, with audit on, holds a million leases that live on. Accounts are made on a real PostgreSQL with
one short TTL; when they end, the rate at which they go is taken, and the time of encryptions meanwhile. The database's
own speed is that of the same removals sent to it from as many connections with nothing else to do.
"""

import argparse
import asyncio
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg

from bench.database_mounts import QUICK_ROLE, make_connections
from bench.figures import add_json_option, report
from bench.http_api import Api
from bench.leases import ENGINE, fill, mount_engine, say, timed_start
from bench.postgres_server import DATABASE, PASSWORD, shared_server
from bench.servers import ROOT, Mimir, ServerError
from dynamic.targets.postgresql_removal import REMOVE

_CALLERS = 32
_CONNECTIONS = 4  # of the housekeeper's pool
_PAUSE = 0.002  # seconds between two encryptions
_OWN = 2_000  # roles of which the database's own speed is taken
_PATIENCE = 1_800  # seconds for all of them
_COUNT = "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'v-%'"


class Encrypting(threading.Thread):
    """Encrypts 64 bytes again and again, and keeps how long it took."""

    def __init__(self, server: Mimir) -> None:
        super().__init__()
        self._server = server
        self._stopped = threading.Event()
        self._took: list[float] = []

    def run(self) -> None:
        """In a thread of its own."""
        with Api(self._server.address, self._server.token) as api:
            while not self._stopped.is_set():
                begin = time.monotonic()
                api.call("POST", "transit/encrypt/beside", {"plaintext": "A" * 88})
                self._took.append(time.monotonic() - begin)
                time.sleep(_PAUSE)

    def p99(self) -> float:
        """Stop; milliseconds."""
        self._stopped.set()
        self.join()
        return round(sorted(self._took)[int(len(self._took) * 0.99)] * 1000, 1)


def prepare(server: Mimir, *, ttl: int) -> None:
    """Mounts, a role with one short life, a key."""
    with Api(server.address, server.token) as api:
        make_connections(api)
        api.call("POST", "database/config/quick-db", {"reconcile_interval": 0})
        api.call("POST", f"database/roles/{QUICK_ROLE}", {"default_ttl": ttl, "max_ttl": ttl})
        api.call("POST", "sys/mounts/transit", {"type": "transit"})
        api.call("POST", "transit/keys/beside", {})


def make_accounts(server: Mimir, count: int) -> None:
    """All of them; raises when one is refused."""
    local = threading.local()

    def one(_number: int) -> None:
        if not hasattr(local, "api"):
            local.api = Api(server.address, server.token)
        local.api.call("GET", f"database/creds/{QUICK_ROLE}")

    with ThreadPoolExecutor(_CALLERS) as pool:
        for _ in pool.map(one, range(count)):
            pass


async def drain(count: int, *, ends_at: float) -> float:
    """Accounts a second, from the first that goes to the last."""
    connection = await asyncpg.connect(_url())
    try:
        await asyncio.sleep(max(ends_at - time.time(), 0))
        begun, left_then, until = 0.0, count, time.monotonic() + _PATIENCE
        while left := await connection.fetchval(_COUNT):
            now = time.monotonic()
            if now > until:
                raise ServerError(f"{left} accounts were not removed")
            if left < count and not begun:
                begun, left_then = now, left
            await asyncio.sleep(0.1)
        return float(left_then / (time.monotonic() - begun))
    finally:
        await connection.close()


async def own_speed() -> float:
    """Removals a second that the database does with nothing else to do."""
    pool = await asyncpg.create_pool(_url(), min_size=_CONNECTIONS, max_size=_CONNECTIONS)
    try:
        await pool.execute(
            f"DO $$ BEGIN FOR i IN 1..{_OWN} LOOP EXECUTE format('CREATE ROLE own%s', i);"
            " EXECUTE format('GRANT readers TO own%s', i); END LOOP; END $$"
        )
        begin = time.monotonic()
        await asyncio.gather(*(pool.execute(REMOVE % {"who": f"'own{number}'"}) for number in range(1, _OWN + 1)))
        return _OWN / (time.monotonic() - begin)
    finally:
        await pool.close()


def run(directory: Path, *, accounts: int, live: int, ttl: int) -> dict[str, object]:
    """The whole measurement."""
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), str(ENGINE), os.environ.get("PYTHONPATH"))))
    server = Mimir(directory / "mimir", workers=2)
    if live:
        mount = mount_engine(server)
        fill(directory / "mimir", mount, count=live)
    result: dict[str, object] = {"live_leases": live, "start_s": round(timed_start(server), 2)}
    try:
        server.enable_audit()
        prepare(server, ttl=ttl)
        quiet = Encrypting(server)
        quiet.start()
        time.sleep(5)
        result["encrypt_p99_ms_quiet"] = quiet.p99()
        say(f"making {accounts:,} accounts")
        begin = time.time()
        make_accounts(server, accounts)
        made = time.time() - begin
        if made > ttl:
            raise ServerError(f"making them took {made:.0f} s: give a longer --ttl than {ttl}")
        result["worker_mib"] = round(server.memory().worker, 1)
        say(f"made in {made:.0f} s; they begin to end in {ttl - made:.0f} s")
        time.sleep(max(begin + ttl - time.time() - 1, 0))
        beside = Encrypting(server)
        beside.start()
        result["drained_per_s"] = round(asyncio.run(drain(accounts, ends_at=begin + ttl)))
        result["encrypt_p99_ms_meanwhile"] = beside.p99()
        result["made_per_s"] = round(accounts / made)
    finally:
        server.stop()
    result["own_speed_per_s"] = round(asyncio.run(own_speed()))
    return result


def _url() -> str:
    return f"postgresql://root:{PASSWORD}@127.0.0.1:{shared_server().port}/{DATABASE}?sslmode=disable"


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench/lease_drain", description="Measure accounts that are due at once.")
    parser.add_argument("--accounts", type=int, default=10_000, help="how many (default: 10000)")
    parser.add_argument("--live", type=int, default=1_000_000, help="leases that live on (default: 1000000)")
    parser.add_argument("--ttl", type=int, default=90, help="seconds that the accounts live (default: 90)")
    add_json_option(parser)
    options = parser.parse_args()
    return report(
        "bench/lease_drain",
        lambda directory: run(directory, accounts=options.accounts, live=options.live, ttl=options.ttl),
        json_file=options.json,
    )


if __name__ == "__main__":
    sys.exit(main())
