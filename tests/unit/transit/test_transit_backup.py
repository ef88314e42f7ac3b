"""backup and restore: our own, OpenBao's as it was recorded, and what is none."""

import asyncio
import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.errors import CallerError, InvalidRequestError, KeyPolicyError
from core.requests import Operation
from tests.clients.transit_samples import holds
from tests.support.key_wrapping import public_pem
from tests.unit.transit.transit_mount import Mount
from transit.backup_format import parse_backup
from transit.errors import KeyVersionError, UnknownKeyError
from transit.format import encode_base64

Json = dict[str, Any]

RECORDED = json.loads((Path(__file__).parents[2] / "vectors/openbao/backups.json").read_text())
SAMPLES: list[Json] = RECORDED["samples"]
IDS = [sample["name"] for sample in SAMPLES]
P = encode_base64(b"before")


def sample(key_type: str, **options: Any) -> Json:
    return next(one for one in SAMPLES if one["type"] == key_type and one["options"] == options)


def changed(backup: str, change: Callable[[Json], object]) -> str:
    data = json.loads(base64.b64decode(backup))
    change(data)
    return encode_base64(json.dumps(data).encode())


# --- OpenBao's -------------------------------------------------------------------------------------------------------


def test_there_are_samples_of_every_family() -> None:
    assert len(SAMPLES) >= 15


@pytest.mark.parametrize("one", SAMPLES, ids=IDS)
async def test_a_key_of_openbao_goes_on_here(mount: Mount, one: Json) -> None:
    """Ciphertexts, signatures and MACs of both versions, though the first may be in the archive."""
    await mount.write("restore/k", backup=one["backup"])
    shown = await mount.read("keys/k")
    assert shown["type"] == one["type"]
    assert shown["custody"] == "sealed"
    assert shown["latest_version"] == 2
    await mount.write("keys/k/config", min_decryption_version=1)
    for check in one["checks"]:
        answer = await mount.write(f"{check['path']}/k", **check["body"])
        assert holds(check, answer), (check, answer)


@pytest.mark.parametrize("one", SAMPLES, ids=IDS)
async def test_and_is_rotated_and_backed_up_here(mount: Mount, one: Json) -> None:
    await mount.write("restore/k", backup=one["backup"])
    await mount.write("keys/k/rotate")
    again = await mount.read("backup/k")
    await mount.write("restore/other", backup=again["backup"])
    await mount.write("keys/other/config", min_decryption_version=1)
    for check in one["checks"]:
        assert holds(check, await mount.write(f"{check['path']}/other", **check["body"]))
    assert (await mount.read("keys/other"))["latest_version"] == 3


@pytest.mark.parametrize("key_type", ["aes256-gcm96", "ecdsa-p256", "rsa-2048"])
async def test_it_can_go_into_the_hsm_and_does_not_leave_again(mount: Mount, key_type: str) -> None:
    one = sample(key_type)
    await mount.write("restore/k", backup=one["backup"], custody="hsm")
    await mount.write("keys/k/config", min_decryption_version=1)
    assert (await mount.read("keys/k"))["custody"] == "hsm"
    for check in one["checks"]:
        assert holds(check, await mount.write(f"{check['path']}/k", **check["body"]))
    for path in ("backup/k", "export/hmac-key/k"):
        with pytest.raises(KeyPolicyError, match="HSM"):
            await mount.read(path)


async def test_a_derived_key_does_not_go_into_the_hsm(mount: Mount) -> None:
    with pytest.raises(KeyPolicyError):
        await mount.write("restore/k", backup=sample("aes256-gcm96", derived=True)["backup"], custody="hsm")


async def test_require_custody_of_the_mount_sends_it_into_the_hsm(mount: Mount) -> None:
    await mount.write("config/keys", require_custody="hsm")
    await mount.write("restore/k", backup=sample("aes256-gcm96")["backup"])
    assert (await mount.read("keys/k"))["custody"] == "hsm"
    for body in ({"custody": "sealed"}, {"backup": sample("ed25519")["backup"]}):
        with pytest.raises(KeyPolicyError):
            await mount.write("restore/x", **{"backup": sample("aes256-gcm96")["backup"], **body})


async def test_its_own_name_and_its_configuration_come_along(mount: Mount) -> None:
    one = sample("aes256-gcm96")
    await mount.write(
        "restore",
        backup=changed(
            one["backup"],
            lambda data: data["policy"].update(
                deletion_allowed=True, min_encryption_version=2, auto_rotate_period=7200 * 10**9, soft_deleted=True
            ),
        ),
    )
    shown = await mount.read(f"keys/{one['name']}")
    assert (shown["deletion_allowed"], shown["min_encryption_version"]) == (True, 2)
    assert (shown["auto_rotate_period"], shown["soft_deleted"]) == (7200, True)
    assert shown["exportable"] is shown["allow_plaintext_backup"] is True


async def test_versions_come_from_elsewhere_only_where_they_did_before(mount: Mount) -> None:
    """Vault's rule of import_version: for keys whose versions were all imported."""
    backup = sample("ecdsa-p256")["backup"]
    await mount.write("restore/made", backup=backup)
    await mount.write("restore/sent", backup=changed(backup, lambda data: data["policy"].update(Imported=True)))
    with pytest.raises(KeyPolicyError):
        await mount.write("keys/made/import_version", public_key=public_pem("ecdsa-p256"))
    await mount.write("keys/sent/import_version", public_key=public_pem("ecdsa-p256"))
    with pytest.raises(KeyPolicyError):
        await mount.write("keys/sent/rotate")


async def test_a_trimmed_key_has_its_archive_from_there_on(mount: Mount) -> None:
    def trim(data: Json) -> None:
        data["policy"].update(min_available_version=2, min_decryption_version=2, archive_min_version=2)
        del data["archived_keys"]["keys"][:2]
        data["policy"]["keys"] = {}

    one = sample("aes256-gcm96")
    await mount.write("restore/k", backup=changed(one["backup"], trim))
    for check in one["checks"]:
        if check["path"] == "decrypt" and check["version"] == 1:
            with pytest.raises(KeyVersionError):
                await mount.write("decrypt/k", **check["body"])
        else:
            assert check["version"] == 1 or holds(check, await mount.write(f"{check['path']}/k", **check["body"]))


# --- ours -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key_type", "options"),
    [
        ("aes256-gcm96", {}),
        ("aes256-gcm96", {"derived": True, "convergent_encryption": True}),
        ("xchacha20-poly1305", {}),
        ("ml-dsa-65", {}),
        ("aes256-cmac", {}),
        ("ed25519", {}),
        ("hmac", {"key_size": 33}),
    ],
)
async def test_a_key_of_ours_comes_back_as_it_was(mount: Mount, key_type: str, options: Json) -> None:
    await mount.write("keys/k", type=key_type, allow_plaintext_backup=True, exportable=True, **options)
    await mount.write("keys/k/rotate")
    backup = (await mount.read("backup/k"))["backup"]
    await mount.write("restore/other", backup=backup)
    before, after = await mount.read("keys/k"), await mount.read("keys/other")
    different = {"name", "imported_key", "imported_key_allow_rotation"}
    assert {k: v for k, v in after.items() if k not in different} == {
        k: v for k, v in before.items() if k not in different
    }
    mac = (await mount.write("hmac/k", input=P))["hmac"]
    assert (await mount.write("hmac/other", input=P))["hmac"] == mac


async def test_only_public_keys_are_backed_up_as_such(mount: Mount) -> None:
    for key_type in ("ecdsa-p256", "rsa-2048", "ed25519"):
        await mount.write(
            f"keys/{key_type}/import", type=key_type, public_key=public_pem(key_type), allow_plaintext_backup=True
        )
        backup = (await mount.read(f"backup/{key_type}"))["backup"]
        await mount.write("restore/k", backup=backup, force=True)
        assert (await mount.read("keys/k"))["keys"]["1"] == (await mount.read(f"keys/{key_type}"))["keys"]["1"]


async def test_force_replaces_the_key_of_that_name(mount: Mount) -> None:
    await mount.write("keys/k", allow_plaintext_backup=True)
    backup = (await mount.read("backup/k"))["backup"]
    old = (await mount.write("encrypt/k", plaintext=P))["ciphertext"]
    await mount.write("keys/k/rotate")
    new = (await mount.write("encrypt/k", plaintext=P))["ciphertext"]
    other = mount.other_worker()
    assert (await other.write("decrypt/k", ciphertext=new))["plaintext"] == P
    with pytest.raises(InvalidRequestError, match="already exists"):
        await mount.write("restore/k", backup=backup)
    await mount.write("restore/k", backup=backup, force=True)
    for worker in (mount, other):
        assert (await worker.write("decrypt/k", ciphertext=old))["plaintext"] == P
        with pytest.raises(KeyVersionError):
            await worker.write("decrypt/k", ciphertext=new)


async def test_a_key_leaves_only_if_it_may(mount: Mount) -> None:
    await mount.write("keys/hsm")
    await mount.write("keys/sealed", exportable=True)
    await mount.write("keys/gone", allow_plaintext_backup=True)
    await mount.call(Operation.DELETE, "keys/gone/soft-delete")
    for name in ("hsm", "sealed"):
        with pytest.raises(KeyPolicyError, match="plaintext backup is disallowed on the policy"):
            await mount.read(f"backup/{name}")
    with pytest.raises(KeyPolicyError):
        await mount.read("backup/gone")
    with pytest.raises(UnknownKeyError):
        await mount.read("backup/nobody")


# --- what is no backup --------------------------------------------------------------------------------------------

AES, EC, RSA, ED = (sample(name)["backup"] for name in ("aes256-gcm96", "ecdsa-p256", "rsa-2048", "ed25519"))
HMAC = sample("hmac", key_size=32)["backup"]


def policy(**members: Any) -> Callable[[Json], object]:
    return lambda data: data["policy"].update(members)


def entries(**members: Any) -> Callable[[Json], object]:
    """In the key map and in the archive, of both versions."""

    def change(data: Json) -> None:
        for entry in [*data["policy"]["keys"].values(), *data["archived_keys"]["keys"][1:]]:
            for name, value in members.items():
                entry[name] = value(entry[name]) if callable(value) else value

    return change


DAMAGED = {
    "a type that nobody has": changed(AES, policy(type=99)),
    "a negative type": changed(AES, policy(type=-1)),
    "a managed key": changed(AES, lambda data: (policy(type=10)(data), entries(key=None)(data))),
    "ml-dsa without parameter set": changed(AES, policy(type=14)),
    "a version too many": changed(AES, policy(latest_version=3)),
    "versions without end": changed(AES, policy(latest_version=2**31 - 1)),
    "more versions than numbers": changed(AES, policy(latest_version=2**80)),
    "no version": changed(AES, policy(latest_version=0)),
    "an empty archive": changed(AES, lambda data: data.update(archived_keys=None)),
    "retired above the latest": changed(AES, policy(min_decryption_version=3)),
    "decryption at 0": changed(AES, policy(min_decryption_version=0)),
    "encryption below decryption": changed(AES, policy(min_encryption_version=1, min_decryption_version=2)),
    "trimmed above retired": changed(AES, policy(min_available_version=2, min_decryption_version=1)),
    "a negative archive": changed(AES, policy(archive_min_version=-1)),
    "the old derivation": changed(AES, policy(derived=True, kdf=0)),
    "convergent and not derived": changed(AES, policy(convergent_encryption=True)),
    "convergent of version 2": changed(
        AES, policy(convergent_encryption=True, derived=True, kdf=1, convergent_version=2)
    ),
    "an EC key that derives": changed(EC, policy(derived=True, kdf=1)),
    "a prefix of its own": changed(AES, policy(version_template="acme:{{version}}:")),
    "rotation every minute": changed(AES, policy(auto_rotate_period=60 * 10**9)),
    "rotation before the start": changed(AES, policy(auto_rotate_period=-1)),
    "rotation after the end of time": changed(AES, policy(auto_rotate_period=2**63)),
    "an HMAC key of one byte": changed(HMAC, entries(key="AA==")),
    "a companion of one byte": changed(AES, entries(hmac_key="AA==")),
    "a companion too long": changed(AES, entries(hmac_key="AAAA" * 200)),
    "a chain without end": changed(EC, entries(certificate_chain=["AAAA"] * 11)),
    "entries without end": encode_base64(
        b'{"policy": {"latest_version": 1}, "archived_keys": {"keys": [' + b"{}," * 2**18 + b"{}]}}"
    ),
    "another type than the key's": changed(AES, policy(type=8)),
    "EC as RSA": changed(EC, policy(type=3)),
    "P-256 as P-384": changed(EC, policy(type=6)),
    "RSA-2048 as RSA-4096": changed(RSA, policy(type=4)),
    "no key at all": changed(AES, entries(key=None)),
    "a key cut short": changed(AES, entries(key="AAAA")),
    "a key that is not base64": changed(AES, entries(key="*")),
    "an EC point off the curve": changed(EC, entries(ec_x=lambda x: x + 1)),
    "an EC scalar of another point": changed(EC, entries(ec_d=lambda d: d + 1)),
    "an EC scalar of 0": changed(EC, entries(ec_d=0)),
    "an EC scalar in words": changed(EC, entries(ec_d="one")),
    "an EC scalar with a fraction": changed(EC, entries(ec_d=1.5)),
    "an RSA modulus of others": changed(RSA, entries(rsa_key=lambda key: {**key, "N": key["N"] + 2})),
    "an RSA exponent of others": changed(RSA, entries(rsa_key=lambda key: {**key, "D": key["D"] + 2})),
    "three primes": changed(RSA, entries(rsa_key=lambda key: {**key, "Primes": [*key["Primes"], 3]})),
    "no primes": changed(RSA, entries(rsa_key=lambda key: {**key, "Primes": None})),
    "primes of 1": changed(RSA, entries(rsa_key=lambda key: {**key, "Primes": [1, key["N"]]})),
    "an Ed25519 seed alone": changed(ED, entries(key=base64.b64encode(bytes(32)).decode())),
    "an Ed25519 key of two halves": changed(ED, entries(key=base64.b64encode(bytes(64)).decode())),
    "a certificate that is none": changed(EC, entries(certificate_chain=["AAAA"])),
    "a name that is a path": changed(AES, policy(name="a/b")),
    "no name": changed(AES, policy(name="")),
    "no policy": encode_base64(b"{}"),
    "a policy that is none": encode_base64(b'{"policy": 7}'),
    "entries that are none": changed(AES, policy(keys=[1])),
    "an archive that is none": changed(AES, lambda data: data.update(archived_keys={"keys": {}})),
    "JSON cut short": encode_base64(base64.b64decode(AES)[:-2]),
    "no JSON": encode_base64(b"\xff\xfe"),
    "deep JSON": encode_base64(b"[" * 100_000),
    "a number without end": encode_base64(b'{"policy": {"latest_version": ' + b"9" * 10_000 + b"}}"),
    "no base64": "mimir!",
    "base64 without padding": AES.rstrip("=") + "A",
    "nothing": "",
}


@pytest.mark.parametrize("backup", DAMAGED.values(), ids=DAMAGED)
async def test_what_is_no_whole_backup_is_refused_and_writes_nothing(mount: Mount, backup: str) -> None:
    before = mount.storage._state.commits
    with pytest.raises(CallerError) as refusal:
        await mount.write("restore", backup=backup, force=True)
    assert len(refusal.value.sentence) > 15
    assert mount.storage._state.commits == before


async def test_a_name_that_no_key_may_have_is_refused(mount: Mount) -> None:
    with pytest.raises(InvalidRequestError):
        await mount.write("restore/-k", backup=AES)


async def test_a_restored_hmac_key_in_the_hsm_is_rotated_to_one_that_the_hsm_can_hold(mount: Mount) -> None:
    """HMAC-SHA-512 asks for 64 bytes there, and the backup's key has 32."""
    await mount.write("restore/k", backup=HMAC, custody="hsm")
    assert (await mount.read("keys/k"))["key_size"] == 64
    await mount.write("keys/k/rotate")


async def test_other_requests_get_their_turn_while_a_long_backup_is_restored(mount: Mount) -> None:
    entry = base64.b64decode(AES)
    one = json.loads(entry)["policy"]["keys"]["2"]
    versions = {str(number): one for number in range(1, 201)}
    turns = []

    async def other_requests() -> None:
        while True:
            turns.append(1)
            await asyncio.sleep(0)

    others = asyncio.create_task(other_requests())
    await mount.write("restore/k", backup=changed(AES, policy(latest_version=200, keys=versions)))
    others.cancel()
    assert len(turns) > 2


@pytest.mark.parametrize("backup", [AES, EC, RSA, ED])
def test_no_repr_of_a_backup_shows_a_key(backup: str) -> None:
    data = parse_backup(backup)
    entry = data.entry(2)
    secrets = [entry.ec_d, entry.key, entry.hmac_key, entry.rsa_key and entry.rsa_key.D]
    for shown in (data, data.policy, data.archived_keys, entry, entry.rsa_key):
        assert not any(repr(secret) in repr(shown) for secret in secrets if secret)
