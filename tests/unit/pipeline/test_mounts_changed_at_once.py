"""Two operators at the same mount: what one has begun is not finished on what the other made of it."""

from collections.abc import Awaitable, Callable

import pytest

from appliance.mount_moves import Dependents, MountMoves
from appliance.mount_table import MountEntry
from appliance.namespaces import ROOT
from core.errors import InvalidRequestError
from tests.unit.pipeline.rig import Rig


async def nothing(*_of: object) -> None:
    pass


def moves_of(rig: Rig, meanwhile: Callable[[], Awaitable[object]] | None = None) -> MountMoves:
    """`meanwhile` happens while the leases of the mount are being revoked."""

    async def revoke(_namespace: str, _path: str) -> None:
        if meanwhile is not None:
            await meanwhile()

    ends = Dependents(revoke_leases=revoke, revoke_tokens=revoke, forget_logins=nothing)
    return MountMoves(rig.made.store, rig.barrier.storage, ends)


async def shelf(rig: Rig) -> MountEntry:
    (entry,) = (await rig.made.store.table()).entries.values()
    return entry


async def test_a_mount_that_was_moved_is_not_disabled(rig: Rig) -> None:
    """The leases of its new place are not revoked."""
    entry = await shelf(rig)
    moves = moves_of(rig, lambda: moves_of(rig).move(entry, to="archive/", within=ROOT))
    with pytest.raises(InvalidRequestError, match="meanwhile"):
        await moves.disable(entry)
    assert (await shelf(rig)).path == "archive/"


async def test_of_two_moves_one_is_done(rig: Rig) -> None:
    entry = await shelf(rig)
    moves = moves_of(rig, lambda: moves_of(rig).move(entry, to="archive/", within=ROOT))
    with pytest.raises(InvalidRequestError, match="meanwhile"):
        await moves.move(entry, to="attic/", within=ROOT)
    present = await shelf(rig)
    assert (present.path, present.tainted) == ("archive/", False)


async def test_a_mount_that_was_disabled_is_not_moved(rig: Rig) -> None:
    entry = await shelf(rig)
    moves = moves_of(rig, lambda: moves_of(rig).disable(entry))
    with pytest.raises(InvalidRequestError, match="no matching mount"):
        await moves.move(entry, to="attic/", within=ROOT)
    assert not (await rig.made.store.table()).entries


async def test_a_move_that_fails_does_not_put_back_what_is_being_disabled_elsewhere(rig: Rig) -> None:
    """One that is in service again has new leases, and is not removed with them."""
    assert (await rig.call("POST", "sys/mounts/attic", {"type": "shelf"})).status == 204
    entry = next(entry for entry in (await rig.made.store.table()).entries.values() if entry.path == "shelf/")

    async def move_fails() -> None:
        with pytest.raises(InvalidRequestError, match="already in use"):
            await moves_of(rig).move(entry, to="attic/", within=ROOT)

    with pytest.raises(InvalidRequestError, match="meanwhile"):
        await moves_of(rig, move_fails).disable(entry)
    await moves_of(rig).disable(entry)
    assert (await shelf(rig)).path == "attic/"
