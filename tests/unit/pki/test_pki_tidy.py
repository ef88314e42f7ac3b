"""Tidying: what is removed, what stays, and how it is stopped and resumed."""

from typing import Any

import pytest

from core.errors import InvalidRequestError
from pki.certificates import State
from pki.store import AuthorityChange
from tests.unit.pki.pki_mount import Mount
from tests.unit.pki.test_pki_crl import HOUR, crl_of, revoke, rotate
from tests.unit.pki.test_pki_revoke import issued, set_state

DAY = 24 * HOUR


@pytest.fixture
async def mount() -> Mount:
    made = Mount()
    await made.seed_root()
    await made.engine.housekeep()
    return made


async def tidied(mount: Mount, **body: Any) -> dict[str, Any]:
    """A whole run and how it ended."""
    assert (await mount.call("update", "tidy", body)).status == 202
    assert mount.engine.is_due()
    return await finished(mount)


async def finished(mount: Mount) -> dict[str, Any]:
    for _ in range(20):
        await mount.engine.housekeep()
        status = await mount.data("read", "tidy-status")
        if status["state"] not in ("Running", "Cancelling"):
            return status
    raise AssertionError("tidying does not end")


async def is_known(mount: Mount, made: Any) -> bool:
    return await mount.parts.store.certificate(made.serial) is not None


async def test_what_expired_a_safety_buffer_ago_is_removed_and_the_rest_stays(mount: Mount) -> None:
    old, given_up, newer = await issued(mount), await issued(mount), await issued(mount, seconds=30 * HOUR)
    await set_state(mount, given_up.serial, State.ABANDONED)
    mount.clock.advance(73 * HOUR + 1)
    status = await tidied(mount, tidy_cert_store=True)
    assert (status["state"], status["cert_store_deleted_count"]) == ("Finished", 2)
    assert [await is_known(mount, made) for made in (old, given_up, newer)] == [False, False, True]


async def test_not_a_second_before(mount: Mount) -> None:
    made = await issued(mount)
    mount.clock.advance(73 * HOUR)
    await tidied(mount, tidy_cert_store=True)
    assert await is_known(mount, made)


async def test_revoked_ones_stay_unless_asked_for(mount: Mount) -> None:
    made = await issued(mount)
    await revoke(mount, made)
    mount.clock.advance(30 * DAY)
    assert (await tidied(mount, tidy_cert_store=True))["cert_store_deleted_count"] == 0
    status = await tidied(mount, tidy_revoked_certs=True)
    assert status["revoked_cert_deleted_count"] == 1
    assert not await is_known(mount, made)


async def test_a_revoked_one_stays_until_a_crl_made_after_its_end_had_it(mount: Mount) -> None:
    """RFC 5280, 3.3: with auto_rebuild that may be long after the safety buffer."""
    made = await issued(mount)
    await revoke(mount, made)
    await mount.engine.housekeep()
    await mount.data("update", "config/crl", {"auto_rebuild": True})
    mount.clock.advance(3 * HOUR)
    assert (await tidied(mount, tidy_revoked_certs=True, safety_buffer=1))["revoked_cert_deleted_count"] == 0
    await rotate(mount)
    assert len(await crl_of(mount)) == 1
    mount.clock.advance(2 * HOUR)
    assert (await tidied(mount, tidy_revoked_certs=True, safety_buffer=1))["revoked_cert_deleted_count"] == 1


async def test_pages_are_counted_together(mount: Mount) -> None:
    for _ in range(5):
        await issued(mount)
    mount.clock.advance(10 * DAY)
    assert (await tidied(mount, tidy_cert_store=True, page_size=2))["cert_store_deleted_count"] == 5


async def test_another_housekeeper_goes_on_where_one_died(mount: Mount) -> None:
    for _ in range(5):
        await issued(mount)
    mount.clock.advance(10 * DAY)
    await mount.call("update", "tidy", {"tidy_cert_store": True, "page_size": 2})
    await mount.parts.tidy.work(until=lambda: True)
    assert (await mount.data("read", "tidy-status"))["state"] == "Running"
    assert (await finished(mount.other_worker()))["cert_store_deleted_count"] == 5


async def test_a_run_is_cancelled_between_two_pages(mount: Mount) -> None:
    for _ in range(5):
        await issued(mount)
    mount.clock.advance(10 * DAY)
    await mount.call("update", "tidy", {"tidy_cert_store": True, "page_size": 2})
    await mount.parts.tidy.work(until=lambda: True)
    assert (await mount.other_worker().data("update", "tidy-cancel"))["state"] == "Cancelling"
    status = await finished(mount)
    assert (status["state"], status["cert_store_deleted_count"]) == ("Cancelled", 2)


async def test_a_pause_is_made_between_two_pages(mount: Mount) -> None:
    mount.clock.advance(10 * DAY)
    await mount.call("update", "tidy", {"tidy_cert_store": True, "pause_duration": "10s"})
    await mount.parts.tidy.work(until=lambda: False)
    assert not mount.parts.tidy.is_due()
    mount.clock.advance(10)
    assert mount.parts.tidy.is_due()


async def test_while_one_runs_no_other_is_started(mount: Mount) -> None:
    await mount.call("update", "tidy", {"tidy_cert_store": True})
    answer = await mount.call("update", "tidy", {"tidy_revoked_certs": True})
    assert answer.warnings == ["Tidy operation already in progress."]
    assert (await mount.data("read", "tidy-status"))["tidy_revoked_certs"] is False


async def test_nothing_runs_and_nothing_can_be_cancelled(mount: Mount) -> None:
    status = await mount.data("read", "tidy-status")
    assert (status["state"], status["cert_store_deleted_count"]) == ("Inactive", None)
    answer = await mount.call("update", "tidy-cancel")
    assert answer.warnings == ["Tidy operation cannot be cancelled as none is currently running."]


async def test_expired_issuers_go_but_for_the_default_one_and_their_keys_stay(mount: Mount) -> None:
    await mount.seed_root("short", years=1)
    mount.clock.advance(20 * 365 * DAY)
    await tidied(mount, tidy_expired_issuers=True)
    authority = await mount.parts.store.authority()
    assert [issuer.row.name for issuer in authority.issuers.values()] == ["root"]
    assert len(authority.keys) == 2


async def test_revoked_certificates_find_an_issuer_that_came_back_under_another_id(mount: Mount) -> None:
    made = await issued(mount, seconds=10 * DAY)
    await revoke(mount, made)
    row = (await mount.parts.store.authority()).issuer("default").row

    async def swap(change: AuthorityChange) -> None:
        await change.delete_issuer(row.issuer_id)
        await change.put_issuer(type(row)(issuer_id="back", key_id=row.key_id, certificate=row.certificate))

    await mount.parts.store.change_authority(swap)
    await rotate(mount)
    assert len(await crl_of(mount)) == 1  # its name and key are the same
    status = await tidied(mount, tidy_revoked_cert_issuer_associations=True)
    await mount.engine.housekeep()
    assert status["missing_issuer_cert_count"] == 1
    assert len(await crl_of(mount)) == 1


async def test_auto_tidy_starts_when_its_interval_is_over(mount: Mount) -> None:
    await mount.data(
        "update", "config/auto-tidy", {"enabled": True, "tidy_cert_store": True, "interval_duration": "1h"}
    )
    ends = []
    for _ in range(3):
        ends.append((await finished(mount))["last_auto_tidy_finished"])
        mount.clock.advance(HOUR / 2)
    assert ends[0] == ends[1] != ends[2]


REFUSED = {
    "no buffer": ("tidy", {"tidy_cert_store": True, "safety_buffer": 0}, "safety_buffer must be at least one second"),
    "page beyond all": ("config/auto-tidy", {"page_size": 2**70}, "page_size"),
    "page": ("tidy", {"tidy_cert_store": True, "page_size": 0}, "page_size"),
    "auto without targets": ("config/auto-tidy", {"enabled": True}, "Auto-tidy enabled but no tidy operations"),
    "metrics": (
        "config/auto-tidy",
        {"publish_stored_certificate_count_metrics": True},
        "Can not publish a running storage metrics",
    ),
}


@pytest.mark.parametrize(("path", "body", "sentence"), REFUSED.values(), ids=REFUSED.keys())
async def test_orders_that_make_no_sense_are_refused(
    mount: Mount, path: str, body: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InvalidRequestError, match=sentence):
        await mount.call("update", path, body)


async def test_a_tidy_without_targets_is_a_warning_as_in_vault(mount: Mount) -> None:
    answer = await mount.call("update", "tidy", {})
    assert answer.status == 202
    assert "no tidy operations were set" in (answer.warnings or [""])[0]
    assert (await mount.data("read", "tidy-status"))["state"] == "Inactive"
