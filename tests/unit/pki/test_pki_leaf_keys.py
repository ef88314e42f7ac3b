"""Key pairs of leaves, made in memory."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from core.errors import InvalidRequestError, QuotaExceededError
from pki.leaf_keys import LeafKeys


@pytest.mark.parametrize(("key_type", "bits"), [("ec", 256), ("ec", 384), ("ec", 521)])
async def test_a_curve_is_named_by_its_bits(key_type: str, bits: int) -> None:
    key: Any = await LeafKeys().generate(key_type, bits)
    assert key.curve.key_size == bits


async def test_an_rsa_key_has_2048_bits_unless_more_are_asked_for() -> None:
    key = await LeafKeys().generate("rsa")
    assert isinstance(key, rsa.RSAPrivateKey)
    assert (key.key_size, key.public_key().public_numbers().e) == (2048, 65537)


async def test_no_two_keys_are_the_same() -> None:
    keys: list[Any] = [await LeafKeys().generate("ec") for _ in range(2)]
    assert keys[0].public_key() != keys[1].public_key()


async def test_a_line_for_rsa_keys_that_is_too_long_is_refused_and_others_are_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pki.leaf_keys._MAX_WAITING", 0)
    with pytest.raises(QuotaExceededError, match="EC keys"):
        await LeafKeys().generate("rsa")
    await LeafKeys().generate("ec")


@pytest.mark.parametrize(
    ("key_type", "key_bits"),
    [("ec", 192), ("rsa", 1024), ("rsa", 2049), ("ml-dsa", 45), ("any", 0), ("", 0), ("dsa", 2048)],
)
async def test_a_kind_that_is_none_is_refused(key_type: str, key_bits: int) -> None:
    with pytest.raises(InvalidRequestError, match="no key is made"):
        await LeafKeys().generate(key_type, key_bits)
