"""What other processes do in the tests: `python -m tests.barrier.children ROLE URL RING`.

Roles talk in lines: commands on standard input, answers on standard output.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from barrier.changes import ChangeRing
from barrier.seal import Barrier
from core.clock import SystemClock
from core.protocols import CatalogRow, CoreTransaction, Entry, Record, StorageView
from tests.unit.barrier.software_hsm import SoftwareHsm


def say(line: str) -> None:
    """One whole line at once, so that a kill cannot leave half of it."""
    os.write(1, f"{line}\n".encode())


def command() -> str:
    """The next line; nothing at the end."""
    return sys.stdin.readline().strip()


async def open_barrier(url: str, ring_path: str) -> Barrier:
    barrier = await Barrier.open(url, ChangeRing.open(ring_path), SoftwareHsm(), clock=SystemClock())
    await barrier.unseal_from_hsm()
    return barrier


async def race(url: str, ring_path: str) -> None:
    """Try to create each of the named entries; says which it got."""
    barrier = await open_barrier(url, ring_path)
    say("ready")
    for path in command().split():
        try:
            await barrier.storage.put(path, str(os.getpid()).encode(), cas=0)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the test looks at its name
            say(f"lost {path} {type(exc).__name__}")
        else:
            say(f"won {path}")
    say("done")
    await barrier.close()


async def read_through_cache(url: str, ring_path: str) -> None:
    """For each command: begin a request, and say what the cache holds for that path."""
    barrier = await open_barrier(url, ring_path)

    async def load(_view: StorageView, _path: str, entry: Entry) -> bytes:
        return entry.value

    cache = barrier.storage.decoded_cache(load)
    say("ready")
    while path := command():
        barrier.storage.sync()
        value = await cache.get(path)
        barrier.storage.sync()
        say((value or b"absent").decode() + (" cached" if cache.peek(path) else ""))
    await barrier.close()


async def read_rows_through_cache(url: str, ring_path: str) -> None:
    """For each command: begin a request, and say what the cache holds for that row of a mount's catalog."""
    barrier = await open_barrier(url, ring_path)
    cache = barrier.storage.view("logical/1/").row_cache("certs", lambda row: str(row.state))
    say("ready")
    while row_id := command():
        barrier.storage.sync()
        value = await cache.get(row_id)
        barrier.storage.sync()
        say((value or "absent") + (" cached" if cache.peek(row_id) else ""))
    await barrier.close()


async def revoke_below(url: str, ring_path: str) -> None:
    """For each prefix: delete the leases below it in one transaction."""
    barrier = await open_barrier(url, ring_path)

    async def revoke(transaction: CoreTransaction, prefix: str) -> int:
        found = await transaction.records_below("lease", prefix)
        return await transaction.delete_records("lease", [record.record_id for record in found])

    say("ready")
    while prefix := command():
        say(f"deleted {await barrier.storage.transact(lambda transaction, prefix=prefix: revoke(transaction, prefix))}")
    await barrier.close()


async def die_before_publish(url: str, ring_path: str) -> None:
    """Commit, and be killed before any cache hears of it."""
    barrier = await open_barrier(url, ring_path)

    def die(_self: ChangeRing, _paths: Sequence[str]) -> NoReturn:
        os.kill(os.getpid(), signal.SIGKILL)
        raise RuntimeError

    ChangeRing.publish = die  # type: ignore[method-assign]  # this process is about to end
    say("ready")
    await barrier.storage.put(command(), b"committed")


async def write_for_ever(url: str, ring_path: str, writers: int) -> None:
    """Numbered transactions over four rows, so many at once; says each number once it is acknowledged."""
    barrier = await open_barrier(url, ring_path)

    async def step(transaction: CoreTransaction) -> int:
        entry = await transaction.get("head")
        number = int(entry.value) + 1 if entry else 1
        await transaction.put("head", str(number).encode())
        await transaction.put(f"log/{number:06}", b"x" * 200)
        await transaction.put_record("token", Record(record_id="mirror", body=str(number).encode()))
        row = CatalogRow(row_id=str(number), body=b"", due_at=number, terms=(f"n:{number}", "all"))
        await transaction.put_row("certs", row, cas=0)
        return number

    async def go_on() -> None:
        while True:
            say(str(await barrier.storage.transact(step)))

    await asyncio.gather(*(go_on() for _ in range(writers)))


def nursery(url: str, ring_path: str) -> None:
    """For each number, fork a process of so many writers and say its pid and how it ended.

    That is quicker than starting an interpreter.
    """
    while writers := command():
        pid = os.fork()
        if pid == 0:
            asyncio.run(write_for_ever(url, ring_path, int(writers)))
        say(f"pid {pid}")
        _pid, status = os.waitpid(pid, 0)
        say(f"ended {os.waitstatus_to_exitcode(status)}")


def main() -> None:
    role, url, ring_path = sys.argv[1:]
    if not Path(ring_path).exists():
        sys.exit("no ring")
    if role == "nursery":
        nursery(url, ring_path)
    else:
        roles = {"race": race, "read": read_through_cache, "die": die_before_publish, "revoke": revoke_below}
        roles["rows"] = read_rows_through_cache
        asyncio.run(roles[role](url, ring_path))


if __name__ == "__main__":
    main()
