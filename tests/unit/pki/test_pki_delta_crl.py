"""Delta CRLs (RFC 5280, 5.2.4)."""

from typing import Any

import pytest
from cryptography import x509
from msgspec.structs import replace

from core.errors import NotFoundError
from pki.authority import Urls
from pki.store import AuthorityChange
from tests.unit.pki.pki_mount import Mount
from tests.unit.pki.test_pki_crl import crl_of, number_of, revoke, rotate
from tests.unit.pki.test_pki_revoke import issued

MINUTE = 60
ON: dict[str, Any] = {"auto_rebuild": True, "enable_delta": True}


@pytest.fixture
async def mount() -> Mount:
    made = Mount()
    await made.seed_root()
    await made.data("update", "config/crl", ON)
    await made.engine.housekeep()
    made.clock.advance(2 * MINUTE)
    return made


def base_of(crl: x509.CertificateRevocationList) -> int:
    extension = crl.extensions.get_extension_for_class(x509.DeltaCRLIndicator)
    assert extension.critical
    return extension.value.crl_number


async def test_an_empty_delta_comes_with_the_full_one(mount: Mount) -> None:
    full, delta = await crl_of(mount), await crl_of(mount, "crl/delta")
    assert base_of(delta) == number_of(full) < number_of(delta)
    assert len(delta) == 0


async def test_a_revocation_is_on_the_delta_when_the_interval_is_over(mount: Mount) -> None:
    made = await issued(mount)
    await revoke(mount, made)
    await mount.engine.housekeep()
    assert len(await crl_of(mount, "crl/delta")) == 0
    assert not mount.engine.is_due()
    mount.clock.advance(15 * MINUTE)
    assert mount.engine.is_due()
    await mount.engine.housekeep()
    delta = await crl_of(mount, "crl/delta")
    assert [found.serial_number for found in delta] == [made.certificate.serial_number]
    assert (base_of(delta), number_of(delta), len(await crl_of(mount))) == (1, 3, 0)


async def test_without_a_revocation_the_interval_makes_none(mount: Mount) -> None:
    mount.clock.advance(20 * MINUTE)
    assert not mount.engine.is_due()


async def test_a_delta_does_not_repeat_what_the_full_one_has_had_for_long(mount: Mount) -> None:
    await revoke(mount, await issued(mount, seconds=864000))
    mount.clock.advance(120 * MINUTE)
    await rotate(mount)
    late = await issued(mount)
    await revoke(mount, late)
    await rotate(mount, "crl/rotate-delta")
    delta = await crl_of(mount, "issuer/default/crl/delta/der")
    assert [found.serial_number for found in delta] == [late.certificate.serial_number]
    assert len(await crl_of(mount)) == 1


async def test_a_full_crl_says_where_its_deltas_are(mount: Mount) -> None:
    """RFC 5280, 5.2.6; and a delta CRL does not."""
    url = "http://ca.example.com/delta"

    async def work(change: AuthorityChange) -> None:
        urls = Urls(crl_distribution_points=("http://ca.example.com/crl",), delta_crl_distribution_points=(url,))
        change.set_index(replace(change.index, urls=urls))

    await mount.parts.store.change_authority(work)
    await rotate(mount)
    [point] = (await crl_of(mount)).extensions.get_extension_for_class(x509.FreshestCRL).value
    assert point.full_name == [x509.UniformResourceIdentifier(url)]
    delta = await crl_of(mount, "cert/delta-crl/raw")
    with pytest.raises(x509.ExtensionNotFound):
        delta.extensions.get_extension_for_class(x509.FreshestCRL)


async def test_switched_off_there_is_none_and_an_order_for_one_is_warned_of(mount: Mount) -> None:
    await mount.data("update", "config/crl", {"enable_delta": False})
    await mount.engine.housekeep()
    assert (await mount.call("read", "crl/delta")).status == 204
    with pytest.raises(NotFoundError):
        await mount.call("read", "cert/delta-crl")
    answer = await mount.call("read", "crl/rotate-delta")
    assert answer.warnings is not None
    assert "not enabled" in answer.warnings[0]
