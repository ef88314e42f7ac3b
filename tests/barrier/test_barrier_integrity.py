"""Rows edited or moved behind the barrier's back are refused, and the error names the entry."""

import pytest

from barrier.seal import Barrier
from core.errors import IntegrityError
from core.protocols import CoreTransaction, Record
from tests.barrier.nodes import Node, execute


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET sealed = (SELECT sealed FROM entries WHERE path = 'b') WHERE path = 'a'",
        "UPDATE entries SET revision = revision + 1 WHERE path = 'a'",
        "UPDATE entries SET path = CASE path WHEN 'a' THEN 'c' ELSE 'a' END WHERE path IN ('a', 'b')",
    ],
)
async def test_an_entry_swapped_or_edited_is_refused(node: Node, barrier: Barrier, statement: str) -> None:
    await barrier.storage.put("a", b"of a")
    await barrier.storage.put("b", b"of b")
    if "CASE" in statement:  # "b" becomes "a"
        await execute(node.url, "DELETE FROM entries WHERE path = 'a'")
    await execute(node.url, statement)
    with pytest.raises(IntegrityError, match="entry 'a'"):
        await barrier.storage.get("a")
    with pytest.raises(IntegrityError, match="entry 'a'"):
        await barrier.storage.transact(lambda transaction: transaction.get("a"))


@pytest.mark.parametrize("position", [0, 1, 4, 5, 17, -1])
async def test_any_flipped_byte_of_an_entry_is_refused(node: Node, barrier: Barrier, position: int) -> None:
    await barrier.storage.put("a", b"value")
    keyring = barrier.storage.keyring
    sealed = bytearray(keyring.encrypt(b"value", b"mimir entry 1\0a" + (1).to_bytes(8, "big")))
    sealed[position] ^= 1
    literal = f"X'{sealed.hex()}'" if node.url.startswith("sqlite") else f"decode('{sealed.hex()}', 'hex')"
    await execute(node.url, f"UPDATE entries SET sealed = {literal} WHERE path = 'a'")
    with pytest.raises(IntegrityError, match="entry 'a'"):
        await barrier.storage.get("a")


@pytest.mark.parametrize("size", [0, 1, 5, 32])
async def test_a_truncated_entry_is_refused(node: Node, barrier: Barrier, size: int) -> None:
    await barrier.storage.put("a", b"value")
    await execute(node.url, f"UPDATE entries SET sealed = substr(sealed, 1, {size}) WHERE path = 'a'")
    with pytest.raises(IntegrityError, match="entry 'a'"):
        await barrier.storage.get("a")


@pytest.mark.parametrize(
    "change",
    [
        "expires_at = 9999999999",
        "expires_at = NULL",
        "parent = ''",
        "parent = 'q'",
        "alias = 'other'",
        "path = ''",
        "path = 'root/other/r'",
        "revision = 9",
        "kind = 'token', record_id = 'x'",
        "kind = 'lease'",
    ],
)
async def test_an_edited_column_of_a_record_is_refused(node: Node, barrier: Barrier, change: str) -> None:
    record = Record(record_id="r", body=b"body", expires_at=7, parent="p", alias="acc", path="root/db/r")

    async def body(transaction: CoreTransaction) -> None:
        await transaction.put_record("token", record)

    await barrier.storage.transact(body)
    await execute(node.url, f"UPDATE records SET {change}")
    kind = "lease" if "lease" in change else "token"
    record_id = "x" if "record_id" in change else "r"
    with pytest.raises(IntegrityError, match=f"{kind} record '{record_id}'"):
        await barrier.storage.get_record(kind, record_id)
    with pytest.raises(IntegrityError):
        await barrier.storage.list_records(kind)


async def test_a_path_given_to_a_record_that_has_none_is_refused(node: Node, barrier: Barrier) -> None:
    """A token's record of the first schema must not be moved below a mount by whoever can edit the database."""
    await barrier.storage.transact(lambda transaction: transaction.put_record("token", Record(record_id="r", body=b"")))
    await execute(node.url, "UPDATE records SET path = 'root/r'")
    with pytest.raises(IntegrityError, match="token record 'r'"):
        await barrier.storage.get_record("token", "r")
    with pytest.raises(IntegrityError):
        await barrier.storage.records_below("token", "root/")


async def test_paths_swapped_between_records_are_refused(node: Node, barrier: Barrier) -> None:
    async def body(transaction: CoreTransaction) -> None:
        for name in ("a", "b"):
            await transaction.put_record("lease", Record(record_id=name, body=b"", path=f"root/{name}"))

    await barrier.storage.transact(body)
    await execute(node.url, "UPDATE records SET path = 'root/c' WHERE record_id = 'a'")
    await execute(node.url, "UPDATE records SET path = 'root/a' WHERE record_id = 'b'")
    with pytest.raises(IntegrityError, match="lease record"):
        await barrier.storage.records_below("lease", "root/")
