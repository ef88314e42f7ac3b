"""Every method of hvac's Transit class, with its options, and what hvac's own integration tests expect of them."""

from __future__ import annotations

import base64
import hashlib
import inspect
from collections.abc import Iterator
from typing import Any

import hvac
import hvac.exceptions
import pytest
from hvac.api.secrets_engines.transit import Transit

from tests.support.appliance import Appliance

P = base64.b64encode(b"hi itsame hvac").decode()
CONTEXT = base64.b64encode(b"customer 7").decode()
WHERE = {"mount_point": "of/hvac"}


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """One store: what hvac sends does not depend on it."""
    server = Appliance(tmp_path_factory.mktemp("hvac") / "data").start()
    server.client().sys.enable_secrets_engine("transit", path=WHERE["mount_point"])
    yield server
    assert server.stop() == 0


@pytest.fixture(scope="module")
def transit(appliance: Appliance) -> Transit:
    made: Transit = appliance.client().secrets.transit
    return made


def data(answer: Any) -> dict[str, Any]:
    return dict(answer["data"])


# --- keys -----------------------------------------------------------------------------------------------------------


def test_create_key(transit: Transit) -> None:
    assert data(transit.create_key("plain", **WHERE))["name"] == "plain"
    options = {"derived": True, "convergent_encryption": True, "auto_rotate_period": "2h", "key_type": "aes256-gcm96"}
    transit.create_key("options", **options, **WHERE)
    shown = data(transit.read_key("options", **WHERE))
    assert (shown["type"], shown["derived"], shown["convergent_encryption"]) == ("aes256-gcm96", True, True)
    assert shown["auto_rotate_period"] == 7200


@pytest.mark.parametrize(
    "key_type", ["chacha20-poly1305", "ed25519", "ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "rsa-2048"]
)
def test_create_key_of_every_quick_type(transit: Transit, key_type: str) -> None:
    transit.create_key(key_type, key_type=key_type, **WHERE)
    assert data(transit.read_key(key_type, **WHERE))["type"] == key_type


def test_convergent_without_derived_is_refused_before_it_is_sent(transit: Transit) -> None:
    with pytest.raises(hvac.exceptions.ParamValidationError):
        transit.create_key("x", convergent_encryption=True, **WHERE)


def test_read_list_and_delete_key(transit: Transit) -> None:
    transit.create_key("doomed", **WHERE)
    assert data(transit.read_key("doomed", **WHERE))["name"] == "doomed"
    assert "doomed" in data(transit.list_keys(**WHERE))["keys"]
    with pytest.raises(hvac.exceptions.InvalidRequest):
        transit.delete_key("doomed", **WHERE)
    transit.update_key_configuration("doomed", deletion_allowed=True, **WHERE)
    assert transit.delete_key("doomed", **WHERE).status_code == 204
    with pytest.raises(hvac.exceptions.InvalidPath):
        transit.read_key("doomed", **WHERE)


def test_rotate_configure_and_trim_key(transit: Transit) -> None:
    transit.create_key("old", **WHERE)
    for _ in range(10):
        rotated = data(transit.rotate_key("old", **WHERE))
    assert rotated["latest_version"] == 11
    versions = {"min_decryption_version": 3, "min_encryption_version": 9}
    transit.update_key_configuration("old", auto_rotate_period="48h", **versions, **WHERE)
    shown = data(transit.read_key("old", **WHERE))
    assert {name: shown[name] for name in versions} == versions
    assert shown["auto_rotate_period"] == 172800
    assert data(transit.trim_key("old", 2, **WHERE))["min_available_version"] == 2


# --- data -----------------------------------------------------------------------------------------------------------


def test_encrypt_and_decrypt_data(transit: Transit) -> None:
    sealed = data(transit.encrypt_data("made-by-encrypt", plaintext=P, type="chacha20-poly1305", **WHERE))
    opened = transit.decrypt_data("made-by-encrypt", ciphertext=sealed["ciphertext"], **WHERE)
    assert data(opened)["plaintext"] == P
    assert data(transit.read_key("made-by-encrypt", **WHERE))["type"] == "chacha20-poly1305"


def test_encrypt_and_decrypt_with_options(transit: Transit) -> None:
    transit.create_key("versions", **WHERE)
    transit.rotate_key("versions", **WHERE)
    bound = {"associated_data": CONTEXT}
    sealed = data(transit.encrypt_data("versions", plaintext=P, key_version=1, **bound, **WHERE))["ciphertext"]
    assert sealed.startswith("mimir:v1:")
    assert data(transit.decrypt_data("versions", ciphertext=sealed, **bound, **WHERE))["plaintext"] == P
    with pytest.raises(hvac.exceptions.InvalidRequest):
        transit.decrypt_data("versions", ciphertext=sealed, **WHERE)


def test_encrypt_derived_and_convergent(transit: Transit) -> None:
    asked = {"plaintext": P, "context": CONTEXT, "convergent_encryption": True}
    first, again = [data(transit.encrypt_data("convergent", **asked, **WHERE))["ciphertext"] for _ in range(2)]
    assert first == again
    assert data(transit.decrypt_data("convergent", ciphertext=first, context=CONTEXT, **WHERE))["plaintext"] == P


def test_batches(transit: Transit) -> None:
    transit.create_key("batches", **WHERE)
    sealed = data(transit.encrypt_data("batches", batch_input=[{"plaintext": P, "reference": "a"}] * 3, **WHERE))
    items = [{"ciphertext": one["ciphertext"]} for one in sealed["batch_results"]]
    assert [one["reference"] for one in sealed["batch_results"]] == ["a"] * 3
    opened = data(transit.decrypt_data("batches", batch_input=items, **WHERE))["batch_results"]
    assert [one["plaintext"] for one in opened] == [P] * 3
    transit.rotate_key("batches", **WHERE)
    again = data(transit.rewrap_data("batches", ciphertext=None, batch_input=items, **WHERE))["batch_results"]
    assert [one["key_version"] for one in again] == [2] * 3


def test_rewrap_data(transit: Transit) -> None:
    old = data(transit.encrypt_data("rewrapped", plaintext=P, **WHERE))["ciphertext"]
    transit.rotate_key("rewrapped", **WHERE)
    assert data(transit.rewrap_data("rewrapped", old, **WHERE))["ciphertext"].startswith("mimir:v2:")
    assert data(transit.rewrap_data("rewrapped", old, key_version=1, **WHERE))["ciphertext"].startswith("mimir:v1:")


@pytest.mark.parametrize(("form", "bits"), [("plaintext", None), ("plaintext", 128), ("wrapped", 512)])
def test_generate_data_key(transit: Transit, form: str, bits: int | None) -> None:
    transit.create_key("for-data-keys", **WHERE)
    made = data(transit.generate_data_key("for-data-keys", form, bits=bits, **WHERE))
    opened = data(transit.decrypt_data("for-data-keys", ciphertext=made["ciphertext"], **WHERE))["plaintext"]
    assert len(base64.b64decode(opened)) == (bits or 256) // 8
    assert made.get("plaintext") == (opened if form == "plaintext" else None)


def test_generate_random_bytes(transit: Transit) -> None:
    assert len(base64.b64decode(data(transit.generate_random_bytes(n_bytes=32, **WHERE))["random_bytes"])) == 32
    assert len(bytes.fromhex(data(transit.generate_random_bytes(8, "hex", **WHERE))["random_bytes"])) == 8


@pytest.mark.parametrize("bits", [224, 256, 384, 512])
def test_hash_data(transit: Transit, bits: int) -> None:
    answer = transit.hash_data(P, algorithm=f"sha2-{bits}", output_format="hex", **WHERE)
    assert data(answer)["sum"] == hashlib.new(f"sha{bits}", base64.b64decode(P)).hexdigest()


# --- signatures and MACs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", [None, "sha2-224", "sha2-256", "sha2-384", "sha2-512"])
def test_generate_hmac_and_verify(transit: Transit, algorithm: str | None) -> None:
    transit.create_key("macs", **WHERE)
    made = data(transit.generate_hmac("macs", P, algorithm=algorithm, key_version=1, **WHERE))["hmac"]
    checked = transit.verify_signed_data("macs", P, hmac=made, hash_algorithm=algorithm, **WHERE)
    assert data(checked)["valid"] is True


@pytest.mark.parametrize(
    ("key_type", "options"),
    [
        ("ed25519", {"hash_algorithm": "sha2-256", "signature_algorithm": "pss"}),  # as hvac's tests have it
        ("ecdsa-p256", {"marshaling_algorithm": "jws"}),
        ("ecdsa-p384", {"hash_algorithm": "sha2-384", "marshaling_algorithm": "asn1"}),
        ("rsa-2048", {"signature_algorithm": "pkcs1v15", "hash_algorithm": "sha2-512"}),
        ("rsa-2048", {"signature_algorithm": "pss", "salt_length": "hash"}),
        ("rsa-2048", {"signature_algorithm": "pss", "salt_length": "20"}),
        ("rsa-2048", {"salt_length": "auto"}),
    ],
)
def test_sign_data_and_verify(transit: Transit, key_type: str, options: dict[str, Any]) -> None:
    name = f"signs-{key_type}"
    transit.create_key(name, key_type=key_type, **WHERE)
    signature = data(transit.sign_data(name, hash_input=P, **options, **WHERE))["signature"]
    assert data(transit.verify_signed_data(name, P, signature=signature, **options, **WHERE))["valid"] is True
    assert data(transit.verify_signed_data(name, CONTEXT, signature=signature, **options, **WHERE))["valid"] is False


def test_sign_a_digest_and_a_batch(transit: Transit) -> None:
    transit.create_key("signs-more", key_type="ecdsa-p256", **WHERE)
    digest = base64.b64encode(hashlib.sha256(base64.b64decode(P)).digest()).decode()
    signature = data(transit.sign_data("signs-more", hash_input=digest, prehashed=True, **WHERE))["signature"]
    checked = transit.verify_signed_data("signs-more", digest, signature=signature, prehashed=True, **WHERE)
    assert data(checked)["valid"] is True
    batch = data(transit.sign_data("signs-more", batch_input=[{"input": P}, {"input": "?"}], **WHERE))["batch_results"]
    assert ["error" in one for one in batch] == [False, True]


def test_sign_with_a_derived_key(transit: Transit) -> None:
    transit.create_key("signs-derived", key_type="ed25519", derived=True, **WHERE)
    signature = data(transit.sign_data("signs-derived", hash_input=P, context=CONTEXT, **WHERE))["signature"]
    checked = transit.verify_signed_data("signs-derived", P, signature=signature, context=CONTEXT, **WHERE)
    assert data(checked)["valid"] is True


# --- out and in -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["encryption-key", "hmac-key"])
def test_export_key(transit: Transit, kind: str) -> None:
    transit.create_key("leaves", exportable=True, **WHERE)
    for version in (None, "1", "latest"):
        shown = data(transit.export_key("leaves", kind, version=version, **WHERE))
        assert (shown["name"], list(shown["keys"])) == ("leaves", ["1"])


def test_backup_and_restore_key(transit: Transit) -> None:
    transit.create_key("saved", exportable=True, allow_plaintext_backup=True, **WHERE)
    sealed = data(transit.encrypt_data("saved", plaintext=P, **WHERE))["ciphertext"]
    backup = data(transit.backup_key("saved", **WHERE))["backup"]
    with pytest.raises(hvac.exceptions.InvalidRequest, match="already exists"):
        transit.restore_key(backup, **WHERE)
    assert transit.restore_key(backup, name="saved-2", **WHERE).status_code == 204
    assert transit.restore_key(backup, name="saved-2", force=True, **WHERE).status_code == 204
    assert data(transit.decrypt_data("saved-2", ciphertext=sealed, **WHERE))["plaintext"] == P


def test_a_key_in_the_hsm_cannot_be_opened_afterwards(transit: Transit) -> None:
    """hvac's tests make keys first and allow backups later; that is the difference of docs/adr/0007."""
    transit.create_key("stays", **WHERE)
    for asked in ({"exportable": True}, {"allow_plaintext_backup": True}):
        with pytest.raises(hvac.exceptions.InvalidRequest, match="cannot leave"):
            transit.update_key_configuration("stays", **asked, **WHERE)
    with pytest.raises(hvac.exceptions.InvalidRequest, match="plaintext backup is disallowed on the policy"):
        transit.backup_key("stays", **WHERE)


def test_no_call_of_hvac_was_left_out() -> None:
    """A new method is a new test here."""
    calls = {name for name, _ in inspect.getmembers(Transit, inspect.isfunction) if not name.startswith("_")}
    source = inspect.getsource(inspect.getmodule(test_no_call_of_hvac_was_left_out) or inspect)
    assert {name for name in calls if f"transit.{name}(" not in source} == set()
