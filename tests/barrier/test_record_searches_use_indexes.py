"""What the engines say of the searches by path, parent and expiry: an index serves each, and nothing is sorted."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import event

from barrier.connection import driver_connection
from barrier.seal import Barrier
from barrier.storage import BarrierStorage
from core.protocols import Record
from tests.barrier.nodes import Node, initialize
from tests.support.bulk_records import insert_records

ROWS = 20_000
END = "\U0010ffff"  # a prefix that has no upper bound

SEARCHES: dict[str, tuple[str, Callable[[BarrierStorage], Awaitable[object]]]] = {
    "below": ("records_by_path", lambda s: s.records_below("lease", "root/db/00", limit=10)),
    "below, behind": ("records_by_path", lambda s: s.records_below("lease", "root/", after="root/db/00017", limit=10)),
    "below, no end": ("records_by_path", lambda s: s.records_below("lease", END, limit=10)),
    "names": ("records_by_path", lambda s: s.record_names("lease", "root/")),
    "names, limited": ("records_by_path", lambda s: s.record_names("lease", "root/db/", after="00017", limit=10)),
    "names, no end": ("records_by_path", lambda s: s.record_names("lease", END)),
    "count": ("records_by_path", lambda s: s.count_records("lease", "root/db/00")),
    "children": ("records_by_parent", lambda s: s.child_records("lease", "p7", limit=10)),
    "children, behind": ("records_by_parent", lambda s: s.child_records("lease", "p7", after="00017", limit=10)),
    "expired": ("records_by_expiry", lambda s: s.expired_records("lease", before=20, limit=10)),
}


def lease(number: int) -> Record:
    name = f"{number:05}"
    return Record(record_id=name, body=b"", expires_at=number, parent=f"p{number % 100}", path=f"root/db/{name}")


@contextmanager
def statements(barrier: Barrier) -> Iterator[list[tuple[str, object]]]:
    """What is sent to the database, with its parameters."""
    sent: list[tuple[str, object]] = []
    database = barrier._database
    if database._reader is not None:
        with database._reader.connect() as connection:  # the one in the pool
            driver = driver_connection(connection)
        driver.set_trace_callback(lambda statement: sent.append((statement, ())))  # parameters filled in
        yield sent
        driver.set_trace_callback(None)
        return
    assert database._engine is not None
    engine = database._engine.sync_engine

    def note(_connection, _cursor, statement, parameters, _context, _many) -> None:
        sent.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    yield sent
    event.remove(engine, "before_cursor_execute", note)


async def plan_of(barrier: Barrier, statement: str, parameters: object) -> str:
    explain = "EXPLAIN QUERY PLAN " if barrier._database.is_sqlite else "EXPLAIN "
    rows = await barrier._database.read(lambda connection: explained(connection, explain + statement, parameters))
    return "\n".join(str(row[-1]) for row in rows)


async def explained(connection, statement: str, parameters: object):
    inner = getattr(connection, "_connection", None)  # SQLite's, without a thread between
    if inner is not None and hasattr(inner, "exec_driver_sql") and not hasattr(connection, "stream"):
        return inner.exec_driver_sql(statement, parameters).all()
    return (await connection.exec_driver_sql(statement, parameters)).all()


@pytest.mark.parametrize("search", SEARCHES)
async def test_an_index_serves(node: Node, barrier: Barrier, search: str) -> None:
    index, run = SEARCHES[search]
    await insert_records(node.url, barrier.storage.keyring, "lease", map(lease, range(ROWS)))
    with statements(barrier) as sent:
        await run(barrier.storage)
    assert sent
    for statement, parameters in sent:
        plan = await plan_of(barrier, statement, parameters)
        assert index in plan, plan
        assert "Seq Scan" not in plan, plan
        assert "SCAN records" not in plan, plan
        assert "TEMP B-TREE" not in plan, plan
        assert "Sort" not in plan, plan


async def test_a_page_does_not_read_what_lies_before_it(sqlite_url: str, tmp_path: Path) -> None:
    """Counted in instructions of SQLite's virtual machine, which are the same on every machine."""
    node = Node(sqlite_url, tmp_path)
    barrier = await node.worker()
    await initialize(barrier)
    await insert_records(node.url, barrier.storage.keyring, "lease", map(lease, range(ROWS)))
    hundreds = 0

    def count() -> None:
        nonlocal hundreds
        hundreds += 1

    engine = barrier._database._reader
    assert engine is not None
    with engine.connect() as connection:
        connection.connection.driver_connection.set_progress_handler(count, 100)
    await barrier.storage.records_below("lease", "root/", after="root/db/19000", limit=10)
    await barrier.storage.child_records("lease", "p7", after="19000", limit=2)
    await barrier.storage.record_names("lease", "root/")
    await barrier.storage.expired_records("lease", before=ROWS, limit=10)
    assert 0 < hundreds < 20
    await node.close()
