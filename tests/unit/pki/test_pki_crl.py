"""Full CRLs: who is on them, their numbers and times, and when they are signed (RFC 5280, 5)."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from msgspec.structs import replace

from core.errors import CasMismatchError, HsmGoneError, InvalidRequestError, NotFoundError
from core.protocols import KeyKind
from core.requests import Response
from pki.authority import IssuerRow
from pki.crl_scope import scope_of
from pki.store import AuthorityChange
from tests.unit.pki.pki_mount import Mount
from tests.unit.pki.test_pki_revoke import issued

HOUR = 3600


async def crl_of(mount: Mount, path: str = "crl") -> x509.CertificateRevocationList:
    answer = await mount.call("read", path)
    assert answer.raw is not None
    assert answer.raw.body, "there is no such CRL"
    return x509.load_der_x509_crl(answer.raw.body)


def number_of(crl: x509.CertificateRevocationList) -> int:
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


async def revoke(mount: Mount, made: Any, reason: str = "unspecified") -> None:
    await mount.data("update", "revoke", {"serial_number": made.serial, "reason": reason})


async def rotate(mount: Mount, path: str = "crl/rotate") -> Response:
    """A worker orders, and the housekeeper signs."""
    asking = asyncio.create_task(mount.call("read", path))
    while not asking.done():
        await mount.engine.housekeep()
        await asyncio.sleep(0.001)
    return asking.result()


async def change_issuer(mount: Mount, **members: Any) -> None:
    async def work(change: AuthorityChange) -> None:
        row = change.before.issuer("default").row
        await change.put_issuer(replace(row, **members))

    await mount.parts.store.change_authority(work)


@pytest.fixture
async def mount() -> Mount:
    made = Mount()
    await made.seed_root()
    await made.engine.housekeep()
    return made


KINDS = [KeyKind.EC_P256, KeyKind.EC_P521, KeyKind.ED25519, KeyKind.ML_DSA_44]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.value)
async def test_a_new_issuer_has_an_empty_crl_that_its_key_signed(kind: KeyKind) -> None:
    mount = Mount()
    await mount.seed_root(kind=kind)
    assert mount.engine.is_due()
    await mount.engine.housekeep()
    assert not mount.engine.is_due()
    crl = await crl_of(mount)
    issuer = (await mount.parts.store.authority()).issuer("default")
    assert crl.is_signature_valid(issuer.certificate.public_key())  # type: ignore[arg-type]  # ML-DSA lacks in its types
    assert (crl.issuer, len(crl), number_of(crl)) == (issuer.subject, 0, 1)
    assert crl.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value == issuer.authority_key_identifier


async def test_before_the_first_crl_there_is_none() -> None:
    mount = Mount()
    await mount.seed_root()
    assert (await mount.call("read", "crl")).status == 204
    with pytest.raises(NotFoundError):
        await mount.call("read", "issuer/root/crl")


async def test_a_revocation_makes_a_crl_due_in_every_process_and_it_is_on_the_next_one(mount: Mount) -> None:
    made = await issued(mount)
    worker = mount.other_worker()
    await revoke(worker, made, "keyCompromise")
    assert mount.engine.is_due()
    await mount.engine.housekeep()
    crl = await crl_of(worker)
    found = crl.get_revoked_certificate_by_serial_number(made.certificate.serial_number)
    assert found is not None
    assert found.revocation_date_utc.timestamp() == mount.clock.now()
    assert found.extensions.get_extension_for_class(x509.CRLReason).value.reason is x509.ReasonFlags.key_compromise
    assert number_of(crl) == 2


async def test_what_is_revoked_while_a_crl_is_being_signed_is_on_the_one_after_it(
    mount: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever entries of the wish the two revocations took."""
    first, second = await issued(mount), await issued(mount)
    await revoke(mount, first)
    sign, worker = mount.keys.sign, mount.other_worker()

    async def sign_slowly(*args: Any, **more: Any) -> Any:
        monkeypatch.undo()
        await revoke(worker, second)
        return await sign(*args, **more)

    monkeypatch.setattr(mount.keys, "sign", sign_slowly)
    await mount.engine.housekeep()
    assert len(await crl_of(mount)) == 1
    assert mount.engine.is_due()
    await mount.engine.housekeep()
    assert len(await crl_of(mount)) == 2


async def test_an_unspecified_reason_is_not_said(mount: Mount) -> None:
    """RFC 5280, 5.3.1."""
    made = await issued(mount)
    await revoke(mount, made)
    await mount.engine.housekeep()
    [found] = await crl_of(mount)
    assert len(found.extensions) == 0


async def test_revocations_together_make_one_crl(mount: Mount) -> None:
    for made in [await issued(mount) for _ in range(3)]:
        await revoke(mount, made)
    await mount.engine.housekeep()
    await mount.engine.housekeep()
    crl = await crl_of(mount)
    assert (len(crl), number_of(crl)) == (3, 2)


async def test_the_number_goes_on_when_an_issuer_is_removed_and_comes_back(mount: Mount) -> None:
    """RFC 5280, 5.2.3."""
    row = (await mount.parts.store.authority()).issuer("default").row

    async def remove(change: AuthorityChange) -> None:
        await change.delete_issuer(row.issuer_id)

    async def bring_back(change: AuthorityChange) -> None:
        await change.put_issuer(row)

    await mount.parts.store.change_authority(remove)
    await mount.engine.housekeep()
    await mount.parts.store.change_authority(bring_back)
    await rotate(mount)
    assert number_of(await crl_of(mount)) == 2


async def test_an_order_is_of_new_crls_by_the_housekeeper_and_is_answered_when_they_are_there(mount: Mount) -> None:
    await mount.seed_root("other")
    await mount.engine.housekeep()
    answer = await rotate(mount)
    assert (answer.data, answer.warnings) == ({"success": True}, None)
    assert [number_of(await crl_of(mount, f"issuer/{name}/crl/der")) for name in ("root", "other")] == [2, 2]
    assert not mount.engine.is_due()


async def test_orders_at_once_make_one_crl(mount: Mount) -> None:
    asked = [asyncio.create_task(mount.call("read", "crl/rotate")) for _ in range(3)]
    await asyncio.sleep(0)
    await mount.engine.housekeep()
    await asyncio.gather(*asked)
    assert number_of(await crl_of(mount)) == 2


async def test_without_a_housekeeper_an_order_stands_and_nothing_is_signed_on_its_way(
    mount: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pki.crl_work.PATIENCE", 0)
    worker = mount.other_worker()
    answer = await worker.call("read", "crl/rotate")
    assert answer.data == {"success": True}
    assert answer.warnings is not None
    assert "not all there yet" in answer.warnings[0]
    assert number_of(await crl_of(worker)) == 1
    assert mount.engine.is_due()


async def test_of_two_housekeepers_only_one_publishes_a_number(mount: Mount) -> None:
    other = mount.other_worker()
    scope = scope_of((await mount.parts.store.authority()).issuer("default"))
    head, revision, *_ = await other.parts.crls.read_for_change(scope)
    await rotate(mount)
    with pytest.raises(CasMismatchError):
        await other.parts.crls.publish(scope, head, cas=revision)
    assert number_of(await crl_of(other)) == 2


async def test_pieces_that_no_crl_points_to_are_removed_with_the_next_one(mount: Mount) -> None:
    scope = scope_of((await mount.parts.store.authority()).issuer("default"))
    await mount.parts.crls.put_pieces(scope, b"left by a crash")
    await rotate(mount)
    assert len(await mount.view.paths("crl/der/")) == 1


async def test_a_crl_that_was_replaced_since_its_head_was_read_is_not_taken_for_none(
    mount: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in memory stays as it was while a request is under way."""
    worker = mount.other_worker()
    scope = scope_of((await mount.parts.store.authority()).issuer("default"))
    old = await worker.parts.crls.head(scope)
    await rotate(mount)

    async def head(_scope: str) -> Any:
        return old

    monkeypatch.setattr(worker.parts.crls, "head", head)
    assert number_of(await crl_of(worker)) == 2


async def test_a_crl_of_several_pieces_is_read_as_it_was_written(mount: Mount) -> None:
    scope = scope_of((await mount.parts.store.authority()).issuer("default"))
    head, revision, *_ = await mount.parts.crls.read_for_change(scope)
    assert head.full is not None
    octets = bytes(range(256)) * 2500
    place, pieces = await mount.parts.crls.put_pieces(scope, octets)
    full = replace(head.full, place=place, pieces=pieces)
    await mount.parts.crls.publish(scope, replace(head, full=full), cas=revision)
    file = await mount.other_worker().parts.crls.file(scope, full)
    assert pieces == 3
    assert file is not None
    assert file.der == octets


async def test_what_expired_leaves_only_after_a_crl_made_later_had_it(mount: Mount) -> None:
    """RFC 5280, 3.3."""
    made = await issued(mount, seconds=HOUR)
    await revoke(mount, made)
    await mount.engine.housekeep()
    lengths = []
    for hours in (3, 3, 3):
        mount.clock.advance(hours * HOUR)
        await rotate(mount)
        lengths.append(len(await crl_of(mount)))
    assert lengths == [1, 0, 0]


async def test_a_crl_is_signed_again_long_before_it_ends(mount: Mount) -> None:
    mount.clock.advance(53 * HOUR)
    assert not mount.engine.is_due()
    mount.clock.advance(2 * HOUR)
    assert mount.engine.is_due()
    await mount.engine.housekeep()
    assert (await crl_of(mount)).next_update_utc.timestamp() == mount.clock.now() + 72 * HOUR  # type: ignore[union-attr]  # it has one


@pytest.mark.parametrize("settings", [{}, {"auto_rebuild": True, "enable_delta": True}], ids=["at-once", "scheduled"])
async def test_a_crl_of_a_clock_that_was_fast_is_made_again_and_lacks_nothing(
    mount: Mount, settings: dict[str, Any]
) -> None:
    """What ends before the time at which that one claims to be made is still on the next one."""
    await mount.data("update", "config/crl", settings)
    early = await issued(mount, seconds=30 * 24 * HOUR)
    await revoke(mount, early)
    mount.clock.advance(365 * 24 * HOUR)
    await rotate(mount)
    mount.clock.advance(-365 * 24 * HOUR)
    late = await issued(mount, seconds=30 * 24 * HOUR)
    await revoke(mount, late)
    assert mount.engine.is_due()
    await mount.engine.housekeep()
    crl = await crl_of(mount)
    assert crl.last_update_utc.timestamp() == mount.clock.now()
    assert {row.serial_number for row in crl} == {made.certificate.serial_number for made in (early, late)}
    assert not mount.engine.is_due()


async def test_with_auto_rebuild_a_revocation_waits_for_the_schedule(mount: Mount) -> None:
    await mount.data("update", "config/crl", {"auto_rebuild": True, "auto_rebuild_grace_period": "40h"})
    await revoke(mount, await issued(mount, seconds=100 * HOUR))
    await mount.engine.housekeep()
    assert len(await crl_of(mount)) == 0
    mount.clock.advance(32 * HOUR)
    assert mount.engine.is_due()
    await mount.engine.housekeep()
    assert len(await crl_of(mount)) == 1


async def test_disabled_the_crl_is_empty_and_enabled_it_is_not(mount: Mount) -> None:
    await revoke(mount, await issued(mount))
    lengths = []
    for disable in (False, True, False):
        await mount.data("update", "config/crl", {"disable": disable})
        mount.clock.advance(5)
        await mount.engine.housekeep()
        lengths.append(len(await crl_of(mount)))
    assert lengths == [1, 0, 1]


async def test_an_issuer_without_the_usage_signs_no_crl() -> None:
    mount = Mount()
    await mount.seed_root()
    await change_issuer(mount, usage=("read-only", "issuing-certificates"))
    await mount.engine.housekeep()
    assert not mount.engine.is_due()
    assert (await mount.call("read", "crl")).status == 204


NO_CRLS = {
    "crl": "application/pkix-crl",
    "crl/pem": "application/x-pem-file",
    "crl/delta": "application/pkix-crl",
    "crl/delta/pem": "application/x-pem-file",
    "cert/crl/raw": "application/pkix-crl",
}


@pytest.mark.parametrize("path", NO_CRLS)
async def test_without_a_default_issuer_there_is_no_crl_as_in_vault(path: str) -> None:
    answer = await Mount().call("read", path)
    assert answer.raw is not None
    assert (answer.status, answer.raw.body, answer.raw.content_type) == (204, b"", NO_CRLS[path])


async def test_issuers_of_one_key_and_name_have_one_crl(mount: Mount) -> None:
    async def twin(change: AuthorityChange) -> None:
        row: IssuerRow = change.before.issuer("default").row
        await change.put_issuer(replace(row, issuer_id="twin-id", name="twin"))

    await mount.parts.store.change_authority(twin)
    await revoke(mount, await issued(mount, "twin"))
    await revoke(mount, await issued(mount, "root"))
    await mount.engine.housekeep()
    first, second = await crl_of(mount, "issuer/root/crl/der"), await crl_of(mount, "issuer/twin/crl/der")
    assert first == second
    assert len(first) == 2


async def test_certificates_of_another_issuer_are_not_on_it(mount: Mount) -> None:
    await mount.seed_root("other")
    await revoke(mount, await issued(mount, "other"))
    await mount.engine.housekeep()
    assert [len(await crl_of(mount, f"issuer/{name}/crl/der")) for name in ("root", "other")] == [0, 1]


async def test_the_hash_is_the_issuers_choice(mount: Mount) -> None:
    await change_issuer(mount, revocation_signature_algorithm="ECDSAWithSHA512")
    await rotate(mount)
    assert isinstance((await crl_of(mount)).signature_hash_algorithm, hashes.SHA512)


async def test_an_hsm_that_is_gone_keeps_the_last_crl_and_leaves_the_next_due(
    mount: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(*_: object, **__: object) -> list[bytes]:
        raise HsmGoneError("the HSM is gone")

    await revoke(mount, await issued(mount))
    with monkeypatch.context() as patch:
        patch.setattr(mount.keys, "sign", gone)
        with pytest.raises(HsmGoneError):
            await mount.engine.housekeep()
    assert number_of(await crl_of(mount)) == 1
    assert mount.engine.is_due()
    await mount.engine.housekeep()
    assert len(await crl_of(mount)) == 1


FORMS = {
    "crl/pem": "application/x-pem-file",
    "cert/crl/raw/pem": "application/x-pem-file",
    "issuer/default/crl/pem": "application/x-pem-file",
    "crl": "application/pkix-crl",
    "cert/crl/raw": "application/pkix-crl",
    "issuer/default/crl/der": "application/pkix-crl",
}


@pytest.mark.parametrize(("path", "content_type"), FORMS.items(), ids=FORMS.keys())
async def test_the_same_crl_in_every_form(mount: Mount, path: str, content_type: str) -> None:
    raw = (await mount.call("read", path)).raw
    assert raw is not None
    assert raw.content_type == content_type
    load = x509.load_pem_x509_crl if path.endswith("pem") else x509.load_der_x509_crl
    assert load(raw.body) == await crl_of(mount)


@pytest.mark.parametrize(("path", "member"), [("cert/crl", "certificate"), ("issuer/default/crl", "crl")])
async def test_the_same_crl_in_json(mount: Mount, path: str, member: str) -> None:
    text = (await mount.data("read", path))[member]
    assert x509.load_pem_x509_crl(text.encode()) == await crl_of(mount)


async def test_openssl_refuses_what_is_on_it(mount: Mount, tmp_path: Path) -> None:
    good, bad = await issued(mount), await issued(mount)
    await revoke(mount, bad)
    await mount.engine.housekeep()
    issuer = (await mount.parts.store.authority()).issuer("default")
    crl = (await mount.data("read", "issuer/default/crl"))["crl"]
    (tmp_path / "ca.pem").write_text(issuer.pem + "\n" + crl + "\n")
    said = {}
    for name, made in (("good", good), ("bad", bad)):
        (tmp_path / name).write_bytes(made.certificate.public_bytes(Encoding.PEM))
        run = await asyncio.create_subprocess_exec(
            *("openssl", "verify", "-crl_check", "-attime", str(int(mount.clock.now()))),
            *("-CAfile", str(tmp_path / "ca.pem"), str(tmp_path / name)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said[name] = (await run.communicate())[0].decode()
    assert said["good"].endswith("OK\n")
    assert "certificate revoked" in said["bad"]


REFUSED = {
    "short": ({"expiry": 1}, "expiry must be at least"),
    "grace": ({"auto_rebuild": True, "expiry": "1h"}, "grace period \\(12h\\) must be strictly shorter"),
    "delta alone": ({"enable_delta": True}, "Delta CRLs cannot be enabled"),
    "delta window": (
        {"auto_rebuild": True, "enable_delta": True, "delta_rebuild_interval": "72h"},
        "rebuild window \\(72h\\) must be strictly shorter",
    ),
    "unified": ({"unified_crl": True}, "unified_crl is not supported"),
    "cross": ({"cross_cluster_revocation": True}, "cross_cluster_revocation is not supported"),
    "beyond 9999": ({"expiry": 2**53}, "100 years"),
    "ocsp beyond 9999": ({"ocsp_expiry": 2**53}, "100 years"),
    "no duration": ({"ocsp_expiry": "soon"}, "ocsp_expiry must be"),
}


@pytest.mark.parametrize(("body", "sentence"), REFUSED.values(), ids=REFUSED.keys())
async def test_settings_that_cannot_be_are_refused(mount: Mount, body: dict[str, Any], sentence: str) -> None:
    before = await mount.data("read", "config/crl")
    with pytest.raises(InvalidRequestError, match=sentence):
        await mount.call("update", "config/crl", body)
    assert await mount.data("read", "config/crl") == before


async def test_settings_are_answered_as_durations_and_absent_ones_stay(mount: Mount) -> None:
    await mount.data("update", "config/crl", {"expiry": "90m"})
    data = await mount.data("update", "config/crl", {"ocsp_expiry": 90})
    assert data == {
        "expiry": "90m",
        "disable": False,
        "ocsp_disable": False,
        "ocsp_expiry": "90s",
        "ocsp_delegated": False,
        "auto_rebuild": False,
        "auto_rebuild_grace_period": "12h",
        "enable_delta": False,
        "delta_rebuild_interval": "15m",
        "allow_expired_cert_revocation": False,
    }


async def test_what_a_deleted_issuer_issued_stays_revoked_when_its_name_and_key_come_back() -> None:
    """Under another id: by import, or as another issuer of the same key that was there all the time."""
    mount = Mount()
    issuer_id = await mount.seed_root()
    await mount.data("update", "roles/r", {"allow_any_name": True, "key_type": "ec", "ttl": "1h"})
    made = [await mount.data("update", "issue/r", {"common_name": f"n{place}.example.com"}) for place in range(2)]
    await mount.data("update", "revoke", {"serial_number": made[0]["serial_number"]})
    root = (await mount.data("read", f"issuer/{issuer_id}"))["certificate"]
    await mount.call("delete", f"issuer/{issuer_id}")
    await mount.data("update", "issuers/import/cert", {"pem_bundle": root})
    await mount.data("update", "revoke", {"serial_number": made[1]["serial_number"]})
    await mount.engine.housekeep()
    raw = (await mount.call("read", "crl")).raw
    assert raw is not None
    listed = {row.serial_number for row in x509.load_der_x509_crl(raw.body)}
    assert listed == {int(one["serial_number"].replace(":", ""), 16) for one in made}
