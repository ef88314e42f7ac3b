"""Intents whose signature never came: abandoned after a while, never used, and never answered late."""

import asyncio
from typing import Any

import pytest

from core.errors import HsmGoneError, HsmRetryError
from pki.certificates import CATALOG, Known, State, decode_row
from pki.intents import PATIENCE
from pki.issuing import Issued
from pki.plan import Origin
from tests.unit.pki.pki_mount import Mount
from tests.unit.pki.test_pki_issuing import leaf_plan


class Counted:
    """A Meter that keeps its counts."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def count(self, event: str, number: int = 1) -> None:
        self.counts[event] = self.counts.get(event, 0) + number


async def gone(*_: object, **__: object) -> list[bytes]:
    raise HsmGoneError("the HSM is gone")


async def issue(mount: Mount) -> Issued:
    authority = await mount.parts.store.authority()
    issuer = authority.issuer("default")
    return await mount.parts.issuing.issue(await leaf_plan(mount), issuer, authority, Origin(way="issue"))


async def leaves(mount: Mount) -> dict[str, Known]:
    rows = [await mount.view.row(CATALOG, serial) for serial in await mount.view.row_ids(CATALOG)]
    known = [decode_row(row) for row in rows if row]
    return {one.serial: one for one in known if one.body.way == "issue"}


async def lost_intent(mount: Mount, monkeypatch: pytest.MonkeyPatch) -> str:
    """The serial number of an intent whose HSM went; a process that was killed there leaves the same."""
    with monkeypatch.context() as broken:
        broken.setattr(mount.keys, "sign", gone)
        with pytest.raises(HsmGoneError):
            await issue(mount)
    [serial] = await leaves(mount)
    return serial


async def test_an_old_intent_is_abandoned_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = Counted()
    mount = Mount(meter=meter)
    await mount.seed_root()
    serial = await lost_intent(mount, monkeypatch)
    mount.clock.advance(PATIENCE)
    await mount.engine.housekeep()
    known = (await leaves(mount))[serial]
    assert (known.state, known.body.common_name) == (State.ABANDONED, "web.example.com")
    assert meter.counts["intent_abandoned"] == 1


async def test_a_young_intent_is_left_to_its_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    mount = Mount()
    await mount.seed_root()
    serial = await lost_intent(mount, monkeypatch)
    mount.clock.advance(PATIENCE - 1)
    assert await mount.parts.intents.reconcile() == 0
    assert (await leaves(mount))[serial].state is State.INTENDED


async def test_what_is_issued_or_abandoned_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    mount = Mount()
    await mount.seed_root()
    await lost_intent(mount, monkeypatch)
    await issue(mount)
    mount.clock.advance(PATIENCE)
    assert await mount.parts.intents.reconcile() == 1
    before = await leaves(mount)
    assert await mount.parts.intents.reconcile() == 0
    assert await leaves(mount) == before


async def test_when_the_hsm_is_back_the_same_request_gets_another_serial_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mount = Mount()
    await mount.seed_root()
    lost = await lost_intent(mount, monkeypatch)
    issued = await issue(mount)
    mount.clock.advance(PATIENCE)
    await mount.parts.intents.reconcile()
    states = {serial: known.state for serial, known in (await leaves(mount)).items()}
    assert states == {lost: State.ABANDONED, issued.serial: State.ISSUED}


async def test_a_worker_that_comes_too_late_answers_an_error_and_the_serial_number_stays_abandoned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mount, asked, go = Mount(), asyncio.Event(), asyncio.Event()
    await mount.seed_root()
    sign = mount.keys.sign

    async def slow(*arguments: Any, **more: Any) -> list[bytes]:
        asked.set()
        await go.wait()
        return await sign(*arguments, **more)

    monkeypatch.setattr(mount.keys, "sign", slow)
    working = asyncio.ensure_future(issue(mount))
    await asked.wait()
    mount.clock.advance(PATIENCE)
    await mount.other_worker().parts.intents.reconcile()
    go.set()
    with pytest.raises(HsmRetryError, match="ask again"):
        await working
    [known] = (await leaves(mount)).values()
    assert known.state is State.ABANDONED


async def test_many_intents_are_abandoned_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pki.intents._PAGE", 2)
    mount = Mount()
    await mount.seed_root()
    monkeypatch.setattr(mount.keys, "sign", gone)
    for _ in range(5):
        with pytest.raises(HsmGoneError):
            await issue(mount)
    mount.clock.advance(PATIENCE)
    assert await mount.parts.intents.reconcile() == 5
    assert {known.state for known in (await leaves(mount)).values()} == {State.ABANDONED}
