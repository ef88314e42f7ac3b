"""The settings on the real barrier: what one worker changes, the other one notices by one comparison."""

import msgspec

from appliance.password_policies import PasswordPolicies
from appliance.settings import Cors, Settings, SystemSettings
from tests.unit.pipeline.conftest import empty_store, fresh, make, rig
from tests.unit.pipeline.rig import MakeRig, Rig

__all__ = ["empty_store", "fresh", "make", "rig"]  # fixtures


def allowing(origin: str):
    return lambda settings: msgspec.structs.replace(settings, cors=Cors(allowed_origins=(origin,)))


async def test_another_worker_follows(rig: Rig, make: MakeRig) -> None:
    other = await make()
    await other.made.lifecycle.settle()
    one, two = SystemSettings(rig.barrier.storage), SystemSettings(other.barrier.storage)
    seen: list[Settings] = []
    two.watch(seen.append)
    for settings in (one, two):
        await settings.open()
    await one.change(allowing("https://a.example"))
    assert one.is_current()
    assert one.value.cors.allowed_origins == ("https://a.example",)
    other.barrier.storage.sync()
    assert not two.is_current()
    await two.refresh()
    assert two.is_current()
    assert seen[-1].cors.allowed_origins == ("https://a.example",)


async def test_a_change_that_changes_nothing_writes_nothing(rig: Rig) -> None:
    settings = SystemSettings(rig.barrier.storage)
    await settings.open()
    await settings.change(allowing("https://a.example"))
    before = rig.barrier.storage.sync()
    await settings.change(allowing("https://a.example"))
    assert rig.barrier.storage.sync() == before


async def test_changes_of_two_workers_at_once_are_both_kept(rig: Rig, make: MakeRig) -> None:
    other = await make()
    await other.made.lifecycle.settle()
    one, two = SystemSettings(rig.barrier.storage), SystemSettings(other.barrier.storage)
    for settings in (one, two):
        await settings.open()

    def audits(name: str):
        return lambda old: msgspec.structs.replace(old, audited_headers={**old.audited_headers, name: True})

    await one.change(audits("x-one"))
    await two.change(audits("x-two"))  # it has not looked since
    assert set(two.value.audited_headers) == {"x-one", "x-two"}


async def test_password_policies_are_kept(rig: Rig) -> None:
    await PasswordPolicies(rig.barrier.storage).put("p", 'length = 12\nrule "charset" { charset = "abc" }')
    password = await PasswordPolicies(rig.barrier.storage).generate("p")
    assert len(password) == 12
