"""The CA key's HSM goes in the middle of a signature: an intent stays, and no certificate that nobody knows of."""

import pytest

from core.errors import HsmGoneError
from pki.certificates import CATALOG, Known, State, decode_row
from pki.intents import PATIENCE
from pki.issuing import Issued
from pki.plan import Origin, Plan
from tests.unit.pki.pki_mount import Mount
from tests.unit.pki.test_pki_issuing import leaf_plan

DEVICE_ERROR = 0x30


async def issue(mount: Mount, plan: Plan) -> Issued:
    authority = await mount.parts.store.authority()
    return await mount.parts.issuing.issue(plan, authority.issuer("default"), authority, Origin(way="issue"))


async def leaves(mount: Mount) -> list[Known]:
    rows = [await mount.view.row(CATALOG, serial) for serial in await mount.view.row_ids(CATALOG)]
    return [known for known in (decode_row(row) for row in rows if row) if known.body.way == "issue"]


@pytest.mark.parametrize("has_signed", [False, True], ids=["before-it-signs", "after-it-signed"])
async def test_an_hsm_that_goes_while_it_signs_issues_nothing_and_is_asked_again_under_another_serial(
    hsm, function_list, has_signed
):
    mount = Mount(keys=hsm)
    await mount.seed_root()
    plan, asked = await leaf_plan(mount), []

    def failing(original):
        def sign(*arguments):
            asked.append(original(*arguments) if has_signed else None)
            return DEVICE_ERROR

        return sign

    function_list.replace(function_list.places["C_Sign"], failing)
    with pytest.raises(HsmGoneError):
        await issue(mount, plan)
    function_list.restore()
    assert asked
    [lost] = [known for known in await leaves(mount) if known.state is State.INTENDED]
    await hsm._link._reopening
    mount.clock.advance(PATIENCE)
    await mount.engine.housekeep()
    made = await issue(mount, plan)
    states = {known.serial: known.state for known in await leaves(mount)}
    assert made.serial != lost.serial
    assert states[lost.serial] is State.ABANDONED
    assert states[made.serial] is State.ISSUED
