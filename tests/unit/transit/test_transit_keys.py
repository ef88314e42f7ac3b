"""keys/: create, read, list, rotate, config, delete."""

import asyncio
import base64

import pytest

from core.errors import CallerError, IntegrityError, InvalidRequestError, KeyPolicyError, NotFoundError
from core.protocols import Transaction
from core.requests import Operation
from tests.unit.transit.transit_mount import Mount


async def test_a_created_key_is_shown_as_vault_does(mount: Mount) -> None:
    response = await mount.call(Operation.UPDATE, "keys/orders", {})
    assert response.warnings is None
    assert response.data == {
        "name": "orders",
        "type": "aes256-gcm96",
        "latest_version": 1,
        "min_available_version": 0,
        "min_decryption_version": 1,
        "min_encryption_version": 0,
        "deletion_allowed": False,
        "derived": False,
        "exportable": False,
        "allow_plaintext_backup": False,
        "auto_rotate_period": 0,
        "imported_key": False,
        "soft_deleted": False,
        "supports_encryption": True,
        "supports_decryption": True,
        "supports_derivation": True,
        "supports_signing": False,
        "keys": {"1": 1_800_000_000},
        "custody": "hsm",
        "usage": {"1": 0},
        "max_encryptions": 2**32,
    }
    assert await mount.read("keys/orders") == response.data


async def test_creating_it_again_warns_and_changes_nothing(mount: Mount) -> None:
    await mount.write("keys/k")
    text = (await mount.write("encrypt/k", plaintext="aGk="))["ciphertext"]
    response = await mount.call(Operation.UPDATE, "keys/k", {})
    assert response.warnings == ["key k already existed"]
    assert (await mount.write("decrypt/k", ciphertext=text))["plaintext"] == "aGk="


async def test_two_workers_that_create_one_key_get_the_same(mount: Mount) -> None:
    other = mount.other_worker()
    await asyncio.gather(mount.write("keys/k"), other.write("keys/k"))
    text = (await mount.write("encrypt/k", plaintext="aGk="))["ciphertext"]
    assert (await other.write("decrypt/k", ciphertext=text))["plaintext"] == "aGk="
    assert await mount.storage.list("logical/u/versions/k/") == ["00000001"]


async def test_each_key_is_one_row_and_one_row_a_version(mount: Mount) -> None:
    await mount.write("keys/k")
    await mount.write("keys/k/rotate")
    assert await mount.storage.list("logical/u/keys/") == ["k"]
    assert await mount.storage.list("logical/u/versions/k/") == ["00000001", "00000002"]


@pytest.mark.parametrize(
    "name", ["-a", "a-", ".a", "a.", "a b", "a%", "ü", "a\n", "a:b", "", "a" * 257, "a\0b", "\u0661"]
)
async def test_names_that_are_refused(mount: Mount, name: str) -> None:
    for operation, path in [
        (Operation.UPDATE, "keys/{}"),
        (Operation.READ, "keys/{}"),
        (Operation.DELETE, "keys/{}"),
        (Operation.UPDATE, "keys/{}/rotate"),
        (Operation.UPDATE, "encrypt/{}"),
        (Operation.UPDATE, "decrypt/{}"),
    ]:
        with pytest.raises(InvalidRequestError, match="a key's name"):
            await mount.call(operation, path.format(name), {"plaintext": "aGk="})


@pytest.mark.parametrize("name", ["a", "A_1", "a-b.c", "a" * 256, "0"])
async def test_names_that_are_taken(mount: Mount, name: str) -> None:
    assert (await mount.write(f"keys/{name}"))["name"] == name


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"type": "rsa-1024"}, "unknown key type; the types are: aes128-gcm96"),
        ({"type": "rsa-2048", "derived": True}, "key derivation is not supported"),
        ({"convergent_encryption": "true"}, "requires derivation"),
        ({"type": "ed25519", "derived": True, "convergent_encryption": True}, "not supported for keys of type ed25519"),
        ({"exportable": True, "custody": "hsm"}, "exportable is refused: a key with hsm custody"),
        ({"allow_plaintext_backup": True, "custody": "hsm"}, "allow_plaintext_backup is refused"),
        ({"exportable": True, "require_custody": "hsm"}, "require_custody=hsm refuses"),
        ({"custody": "sealed", "require_custody": "hsm"}, "require_custody=hsm refuses"),
        ({"custody": "cloud"}, "custody is not one of the values"),
        ({"require_custody": "sealed"}, "require_custody is not one of the values"),
        ({"type": "chacha20-poly1305", "require_custody": "hsm"}, "(?i)hsm"),
        ({"auto_rotate_period": "59m"}, "at least an hour"),
        ({"auto_rotate_period": "-1h"}, "auto_rotate_period must not be negative"),
        ({"max_encryptions": 2**33}, "max_encryptions cannot be above"),
        ({"type": "ed25519", "max_encryptions": 5}, "max_encryptions is not valid"),
        ({"type": "hmac", "key_size": 31}, "between 32 and 512"),
        ({"type": "hmac", "key_size": 513}, "between 32 and 512"),
        ({"type": "ml-dsa"}, "parameter_set is required"),
        ({"type": "ml-dsa", "parameter_set": "45"}, "parameter_set is required"),
        ({"type": "ml-dsa-44", "parameter_set": "65"}, "parameter_set is not valid"),
        ({"parameter_set": "44"}, "parameter_set is not valid"),
        ({"key_size": 32}, "key_size is not valid"),
        ({"derived": "perhaps"}, "derived must be true or false"),
    ],
)
async def test_keys_that_are_not_created(mount: Mount, body: dict[str, object], said: str) -> None:
    with pytest.raises(CallerError, match=said):
        await mount.write("keys/k", **body)
    with pytest.raises(NotFoundError):
        await mount.read("keys/k")


async def test_reading_an_absent_key_is_vaults_empty_404(mount: Mount) -> None:
    with pytest.raises(NotFoundError) as caught:
        await mount.read("keys/k")
    assert caught.value.sentence == ""


async def test_lists_are_sorted_and_paged(mount: Mount) -> None:
    for name in ("b", "a", "d", "c"):
        await mount.write(f"keys/{name}")
    listed = await mount.call(Operation.LIST, "keys")
    assert listed.data == {"keys": ["a", "b", "c", "d"]}
    assert (await mount.call(Operation.LIST, "keys", after="b", limit="1")).data == {"keys": ["c"]}


@pytest.mark.parametrize("limit", ["x", "1.5", "1e3", "\u0661", "9" * 30])
async def test_list_limits_that_are_refused(mount: Mount, limit: str) -> None:
    with pytest.raises(InvalidRequestError, match="limit"):
        await mount.call(Operation.LIST, "keys", limit=limit)


async def test_an_empty_list_is_404(mount: Mount) -> None:
    with pytest.raises(NotFoundError):
        await mount.call(Operation.LIST, "keys")


async def test_rotation(mount: Mount) -> None:
    await mount.write("keys/k")
    old = await mount.write("encrypt/k", plaintext="aGk=")
    mount.clock.advance(10)
    assert (await mount.write("keys/k/rotate"))["keys"] == {"1": 1_800_000_000, "2": 1_800_000_010}
    new = await mount.write("encrypt/k", plaintext="aGk=")
    assert (old["key_version"], new["key_version"]) == (1, 2)
    assert new["ciphertext"].startswith("mimir:v2:")
    for text in (old["ciphertext"], new["ciphertext"]):
        assert (await mount.write("decrypt/k", ciphertext=text))["plaintext"] == "aGk="


async def test_rotations_of_two_workers_both_count(mount: Mount) -> None:
    await mount.write("keys/k")
    other = mount.other_worker()
    await asyncio.gather(mount.write("keys/k/rotate"), other.write("keys/k/rotate"))
    assert (await mount.read("keys/k"))["latest_version"] == 3


async def test_other_workers_encrypt_under_the_new_version(mount: Mount) -> None:
    await mount.write("keys/k")
    other = mount.other_worker()
    await other.write("encrypt/k", plaintext="aGk=")
    await mount.write("keys/k/rotate")
    assert (await other.write("encrypt/k", plaintext="aGk="))["key_version"] == 2


@pytest.mark.parametrize(
    ("path", "said"),
    [("keys/k/rotate", "key not found"), ("keys/k/config", "no existing key named k could be found")],
)
async def test_unknown_keys_are_not_changed(mount: Mount, path: str, said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        await mount.write(path)


async def test_config(mount: Mount) -> None:
    await mount.write("keys/k")
    await mount.write("keys/k/rotate")
    shown = await mount.write(
        "keys/k/config", min_decryption_version="2", min_encryption_version=2, deletion_allowed="true"
    )
    assert (shown["min_decryption_version"], shown["min_encryption_version"], shown["deletion_allowed"]) == (2, 2, True)
    assert list(shown["keys"]) == list(shown["usage"]) == ["2"]
    assert (await mount.write("keys/k/config", deletion_allowed=False))["min_decryption_version"] == 2


async def test_min_decryption_version_zero_warns(mount: Mount) -> None:
    await mount.write("keys/k")
    response = await mount.call(Operation.UPDATE, "keys/k/config", {"min_decryption_version": 0})
    assert response.warnings == ["key versions start at 1; forcing the minimum to 1"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"min_decryption_version": 2}, "latest key version is 1"),
        ({"min_encryption_version": 2}, "latest key version is 1"),
        ({"min_decryption_version": -1}, "negative"),
        ({"min_decryption_version": "one"}, "min_decryption_version must be a whole number"),
        ({"exportable": True}, "exportable is refused"),
        ({"allow_plaintext_backup": True}, "allow_plaintext_backup is refused"),
        ({"auto_rotate_period": 60}, "at least an hour"),
        ({"max_encryptions": -1}, "cannot be negative"),
    ],
)
async def test_configurations_that_are_refused_change_nothing(mount: Mount, body: dict[str, object], said: str) -> None:
    before = await mount.write("keys/k")
    with pytest.raises(CallerError, match=said):
        await mount.write("keys/k/config", **body)
    assert await mount.read("keys/k") == before


async def test_a_retired_version_decrypts_no_more_and_can_come_back(mount: Mount) -> None:
    await mount.write("keys/k")
    text = (await mount.write("encrypt/k", plaintext="aGk="))["ciphertext"]
    await mount.write("keys/k/rotate")
    await mount.write("keys/k/config", min_decryption_version=2)
    with pytest.raises(InvalidRequestError, match="too old"):
        await mount.write("decrypt/k", ciphertext=text)
    await mount.write("keys/k/config", min_decryption_version=1)
    assert (await mount.write("decrypt/k", ciphertext=text))["plaintext"] == "aGk="


async def test_deletion_takes_permission_and_everything(mount: Mount) -> None:
    await mount.write("keys/k")
    await mount.write("encrypt/k", plaintext="aGk=")
    with pytest.raises(KeyPolicyError, match="set deletion_allowed=true"):
        await mount.call(Operation.DELETE, "keys/k")
    await mount.write("keys/k/config", deletion_allowed=True)
    assert (await mount.call(Operation.DELETE, "keys/k")).data is None
    assert await mount.storage.list("logical/u/") == []
    with pytest.raises(InvalidRequestError, match="not found"):
        await mount.call(Operation.DELETE, "keys/k")


async def test_a_key_of_the_same_name_is_another_key(mount: Mount) -> None:
    other = mount.other_worker()
    await mount.write("keys/k")
    text = (await other.write("encrypt/k", plaintext="aGk="))["ciphertext"]
    await mount.write("keys/k/config", deletion_allowed=True)
    await mount.call(Operation.DELETE, "keys/k")
    await mount.write("keys/k")
    for worker in (mount, other):
        with pytest.raises(CallerError, match="unable to decrypt"):
            await worker.write("decrypt/k", ciphertext=text)
    assert (await mount.read("keys/k"))["usage"] == {"1": 0}


async def test_a_version_row_that_does_not_fit_its_key_is_refused(mount: Mount) -> None:
    await mount.write("keys/a")
    await mount.write("keys/b")
    view = mount.storage.view("logical/u/")
    swapped = await view.get("versions/b/00000001")
    assert swapped is not None

    async def swap(txn: Transaction) -> None:
        await txn.put("versions/a/00000001", swapped.value)

    await view.transact(swap)
    with pytest.raises(IntegrityError, match="versions/a/00000001"):
        await mount.write("encrypt/a", plaintext="aGk=")


# --- types, custody, the rest of a key's life ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type_", "custody"),
    [
        *((name, "hsm") for name in ("aes128-gcm96", "ecdsa-p256", "hmac", "aes256-cmac")),
        *((name, "sealed") for name in ("ed25519", "chacha20-poly1305", "xchacha20-poly1305", "ml-dsa-44")),
    ],
)
async def test_a_key_is_in_the_hsm_where_the_token_can(mount: Mount, type_: str, custody: str) -> None:
    assert (await mount.write("keys/k", type=type_))["custody"] == custody


@pytest.mark.parametrize("body", [{"exportable": True}, {"allow_plaintext_backup": True}, {"custody": "sealed"}])
async def test_a_key_that_may_leave_is_sealed(mount: Mount, body: dict[str, object]) -> None:
    assert (await mount.write("keys/k", **body))["custody"] == "sealed"


async def test_openbaos_name_of_ml_dsa_is_taken(mount: Mount) -> None:
    shown = await mount.write("keys/k", type="ml-dsa", parameter_set="65")
    assert (shown["type"], shown["parameter_set"]) == ("ml-dsa-65", "65")


async def test_asymmetric_versions_show_their_public_key(mount: Mount) -> None:
    shown = await mount.write("keys/k", type="ecdsa-p256")
    assert shown["keys"]["1"]["name"] == "P-256"
    assert shown["keys"]["1"]["public_key"].startswith("-----BEGIN PUBLIC KEY-----")
    edwards = await mount.write("keys/e", type="ed25519")
    assert len(base64.b64decode(edwards["keys"]["1"]["public_key"])) == 32


async def test_the_mount_can_demand_the_hsm(mount: Mount) -> None:
    await mount.write("config/keys", require_custody="hsm")
    for body in ({"type": "ed25519"}, {"exportable": True}):
        with pytest.raises(KeyPolicyError):
            await mount.write("keys/k", **body)
    assert (await mount.write("keys/k"))["custody"] == "hsm"
    await mount.write("config/keys", require_custody="")
    assert (await mount.write("keys/e", type="ed25519"))["custody"] == "sealed"


async def test_a_sealed_key_of_that_name_is_not_passed_off_as_the_one_demanded(mount: Mount) -> None:
    await mount.write("keys/k", custody="sealed")
    assert (await mount.write("keys/k"))["custody"] == "sealed"
    with pytest.raises(KeyPolicyError, match="already and it is sealed"):
        await mount.write("keys/k", require_custody="hsm")


async def test_upserting_can_be_disabled(mount: Mount) -> None:
    assert await mount.read("config/keys") == {"disable_upsert": False, "require_custody": ""}
    await mount.write("config/keys", disable_upsert=True)
    with pytest.raises(InvalidRequestError, match="encryption key not found"):
        await mount.write("encrypt/k", plaintext="aGk=")
    await mount.write("keys/k")
    assert (await mount.write("encrypt/k", plaintext="aGk="))["key_version"] == 1


async def test_trimmed_versions_are_gone_for_good(mount: Mount) -> None:
    await mount.write("keys/k")
    old = (await mount.write("encrypt/k", plaintext="aGk="))["ciphertext"]
    for _ in range(3):
        await mount.write("keys/k/rotate")
    await mount.write("keys/k/config", min_decryption_version=3, min_encryption_version=3)
    shown = await mount.write("keys/k/trim", min_available_version=3)
    assert (shown["min_available_version"], list(shown["keys"])) == (3, ["3", "4"])
    assert await mount.storage.list("logical/u/versions/k/") == ["00000003", "00000004"]
    for worker in (mount, mount.other_worker()):
        with pytest.raises(InvalidRequestError, match="too old"):
            await worker.write("decrypt/k", ciphertext=old)


async def test_a_softly_deleted_key_is_refused_until_it_is_restored(mount: Mount) -> None:
    await mount.write("keys/k")
    other = mount.other_worker()
    text = (await other.write("encrypt/k", plaintext="aGk="))["ciphertext"]
    await mount.call(Operation.DELETE, "keys/k/soft-delete")
    for path, body in [
        ("encrypt/k", {"plaintext": "aGk="}),
        ("encrypt/k", {"batch_input": [{"plaintext": "aGk="}]}),
        ("decrypt/k", {"ciphertext": text}),
        ("decrypt/k", {"batch_input": [{"ciphertext": text}]}),
        ("rewrap/k", {"ciphertext": text}),
        ("datakey/plaintext/k", {}),
        ("keys/k/rotate", {}),
    ]:
        with pytest.raises(KeyPolicyError, match="softly deleted"):
            await other.write(path, **body)
    assert (await other.read("keys/k"))["soft_deleted"] is True
    await mount.write("keys/k/soft-delete-restore")
    assert (await other.write("decrypt/k", ciphertext=text))["plaintext"] == "aGk="


async def test_soft_deletion_and_its_end_show_the_key(mount: Mount) -> None:
    await mount.write("keys/k")
    for operation, path, word in (
        (Operation.DELETE, "keys/k/soft-delete", "marked as soft deleted"),
        (Operation.UPDATE, "keys/k/soft-delete-restore", "restored"),
    ):
        first, again = [await mount.call(operation, path) for _ in range(2)]
        assert first.data == again.data == await mount.read("keys/k")
        assert (first.warnings, again.warnings) == (None, [f"key was already {word}"])


async def test_a_convergent_key_says_so(mount: Mount) -> None:
    shown = await mount.write("keys/k", derived=True, convergent_encryption=True)
    assert (shown["convergent_encryption"], shown["convergent_encryption_version"]) == (True, -1)
    assert "convergent_encryption_version" not in await mount.write("keys/d", derived=True)


async def test_the_size_of_the_cache_is_kept_for_those_who_set_it(mount: Mount) -> None:
    assert await mount.read("cache-config") == {"size": 0}
    assert await mount.write("cache-config", size="10") == {"size": 10}
    await mount.write("config/keys", disable_upsert=True)
    assert await mount.other_worker().read("cache-config") == {"size": 10}
    for size in (-1, 9):
        with pytest.raises(InvalidRequestError, match="greater or equal to 10"):
            await mount.write("cache-config", size=size)
    assert await mount.write("cache-config") == {"size": 0}


async def test_a_key_of_a_thousand_versions_keeps_a_small_row(mount: Mount) -> None:
    await mount.write("keys/k")
    entry = await mount.storage.view("logical/u/").get("keys/k")
    assert entry is not None
    for _ in range(20):
        await mount.write("keys/k/rotate")
    grown = await mount.storage.view("logical/u/").get("keys/k")
    assert grown is not None
    assert len(grown.value) <= len(entry.value) + 8


@pytest.mark.parametrize("limit", [2**62 + 1, 2**64, 10**30])
async def test_a_limit_that_no_counter_holds_is_refused(mount: Mount, limit: int) -> None:
    await mount.write("keys/k", type="xchacha20-poly1305")
    with pytest.raises(InvalidRequestError, match="max_encryptions cannot be above"):
        await mount.write("keys/k/config", max_encryptions=limit)
    with pytest.raises(InvalidRequestError, match="max_encryptions cannot be above"):
        await mount.write("keys/new", type="xchacha20-poly1305", max_encryptions=limit)


async def test_a_softly_deleted_key_is_not_trimmed(mount: Mount) -> None:
    await mount.write("keys/k")
    await mount.write("keys/k/rotate")
    await mount.write("keys/k/config", min_decryption_version=2, min_encryption_version=2)
    await mount.call(Operation.DELETE, "keys/k/soft-delete")
    with pytest.raises(KeyPolicyError, match="softly deleted"):
        await mount.write("keys/k/trim", min_available_version=2)
