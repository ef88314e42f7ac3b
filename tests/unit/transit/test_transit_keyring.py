"""Which version encrypts and decrypts."""

import msgspec
import pytest

from core.errors import InvalidRequestError, KeyPolicyError
from core.protocols import Custody
from transit.errors import KeyVersionError
from transit.key_types import key_type
from transit.keyring import ConfigChange, Keyring


def _keyring(latest: int = 3, **more: int | bool) -> Keyring:
    return Keyring(
        id="k",
        type="aes256-gcm96",
        custody=Custody.HSM,
        latest_version=latest,
        **more,  # type: ignore[arg-type]
    )


def test_zero_is_the_latest() -> None:
    assert _keyring().version_to_encrypt(0) == 3


@pytest.mark.parametrize("version", [1, 2, 3])
def test_any_version_encrypts_when_there_is_no_minimum(version: int) -> None:
    assert _keyring().version_to_encrypt(version) == version


@pytest.mark.parametrize(
    ("requested", "minimum", "said"),
    [
        (-1, 0, "negative"),
        (4, 0, "higher than the latest"),
        (2**62, 0, "higher than the latest"),
        (1, 2, "minimum enc"),
    ],
)
def test_versions_that_do_not_encrypt(requested: int, minimum: int, said: str) -> None:
    with pytest.raises(KeyVersionError, match=said):
        _keyring(min_encryption_version=minimum).version_to_encrypt(requested)


def test_a_version_that_does_not_decrypt_does_not_encrypt() -> None:
    with pytest.raises(KeyVersionError, match="minimum decryption"):
        _keyring(min_decryption_version=2).version_to_encrypt(1)


@pytest.mark.parametrize(("version", "said"), [(4, "too new"), (1, "too old"), (2**31 - 1, "too new")])
def test_versions_that_do_not_decrypt(version: int, said: str) -> None:
    with pytest.raises(KeyVersionError, match=said):
        _keyring(min_decryption_version=2).version_to_decrypt(version)


def test_rotation_adds_the_next_version() -> None:
    rotated = _keyring().rotated(at=9)
    assert rotated.latest_version == 4
    assert rotated.version_to_encrypt(0) == 4
    assert [rotated.version_to_decrypt(v) for v in (1, 2, 3, 4)] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (ConfigChange(min_decryption_version=-1), "cannot be negative"),
        (ConfigChange(min_encryption_version=-1), "cannot be negative"),
        (ConfigChange(min_decryption_version=4), "latest key version is 3"),
        (ConfigChange(min_encryption_version=4), "latest key version is 3"),
        (ConfigChange(min_decryption_version=3, min_encryption_version=2), "greater than or equal"),
    ],
)
def test_configurations_that_are_refused(change: ConfigChange, said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        _keyring().configured(change)


def test_a_minimum_below_the_other_stored_one_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="greater than or equal"):
        _keyring(min_encryption_version=2).configured(ConfigChange(min_decryption_version=3))


def test_min_decryption_version_zero_is_one() -> None:
    assert (
        _keyring(min_decryption_version=2).configured(ConfigChange(min_decryption_version=0)).min_decryption_version
        == 1
    )


def test_an_empty_change_changes_nothing() -> None:
    assert _keyring().configured(ConfigChange()) == _keyring()


def test_deletion_needs_permission() -> None:
    with pytest.raises(KeyPolicyError, match="deletion is not allowed"):
        _keyring().check_deletable("k")
    _keyring(deletion_allowed=True).check_deletable("k")


@pytest.mark.parametrize("name", ["", "AES256-GCM96", "aes256", "rsa-1024", "ml-dsa-66", "x" * 1000])
def test_an_unknown_type_is_answered_by_those_there_are(name: str) -> None:
    with pytest.raises(InvalidRequestError, match="the types are: aes128-gcm96"):
        key_type(name)


@pytest.mark.parametrize(
    ("minimum", "settings", "said"),
    [
        (2, {}, "minimum encryption version is not set"),
        (3, {"min_encryption_version": 3}, "cannot be higher than"),
        (3, {"min_encryption_version": 2, "min_decryption_version": 2}, "cannot be higher than"),
        (-1, {"min_encryption_version": 2}, "cannot be negative"),
        (1, {"min_encryption_version": 3, "min_decryption_version": 3, "min_available_version": 2}, "decremented"),
    ],
)
def test_trims_that_are_refused(minimum: int, settings: dict[str, int], said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        _keyring(**settings).trimmed(minimum)


def test_what_was_trimmed_does_not_come_back() -> None:
    trimmed = _keyring(min_encryption_version=3, min_decryption_version=3).trimmed(3)
    with pytest.raises(InvalidRequestError, match="were trimmed"):
        trimmed.configured(ConfigChange(min_decryption_version=2))
    with pytest.raises(InvalidRequestError, match="were trimmed"):
        trimmed.configured(ConfigChange(min_encryption_version=2, min_decryption_version=1))


@pytest.mark.parametrize("period", [1, 3599])
def test_rotation_periods_under_an_hour_are_refused(period: int) -> None:
    with pytest.raises(InvalidRequestError, match="at least an hour"):
        _keyring().configured(ConfigChange(auto_rotate_period=period))


@pytest.mark.parametrize("limit", [-1, 2**32 + 1])
def test_limits_that_the_type_does_not_allow_are_refused(limit: int) -> None:
    with pytest.raises(InvalidRequestError, match="max_encryptions"):
        _keyring().configured(ConfigChange(max_encryptions=limit))


def test_an_imported_key_takes_no_version_made_here_unless_it_was_allowed() -> None:
    with pytest.raises(KeyPolicyError, match="imported without allow_rotation"):
        _keyring(imported=True).check_rotatable()
    _keyring(imported=True, allow_rotation=True).check_rotatable()


def test_what_lets_a_key_out_is_not_unset() -> None:
    keyring = msgspec.structs.replace(_keyring(exportable=True), custody=Custody.SEALED)
    with pytest.raises(InvalidRequestError, match="cannot be disabled"):
        keyring.configured(ConfigChange(exportable=False))
