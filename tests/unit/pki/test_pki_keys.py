"""Keys of issuers: listed, named, kept while they are needed; never shown."""

import asyncio
from typing import Any

import pytest

from core.errors import InvalidRequestError, NotFoundError
from core.protocols import KeyKind
from core.requests import Response
from tests.unit.pki.pki_mount import Mount


async def with_keys(*names: str) -> Mount:
    """A mount whose keys no issuer has; the first is the default."""
    mount = Mount()
    for name in names:
        await mount.data("update", "keys/generate/internal", {"key_type": "ec", "key_name": name})
    return mount


async def test_a_list_tells_names_and_the_default() -> None:
    mount = await with_keys("one", "two")
    found = await mount.data("list", "keys")
    told = sorted((info["key_name"], info["is_default"]) for info in found["key_info"].values())
    assert (found["keys"], told) == (sorted(found["key_info"]), [("one", True), ("two", False)])


@pytest.mark.parametrize("reference", ["one", "default", "Default"])
async def test_a_key_is_found_as(reference: str) -> None:
    found = await (await with_keys("one", "two")).data("read", f"key/{reference}")
    assert (found["key_name"], found["key_type"], len(found["subject_key_id"])) == ("one", "ec", 59)


@pytest.mark.parametrize("kind", [KeyKind.EC_P384, KeyKind.ED25519, KeyKind.ML_DSA_44])
async def test_the_key_identifier_is_that_of_the_certificate(kind: KeyKind) -> None:
    """RFC 5280, 4.2.1.2."""
    mount = Mount()
    await mount.seed_root(kind=kind)
    [issuer] = (await mount.parts.store.authority()).issuers.values()
    expected = issuer.authority_key_identifier.key_identifier
    assert expected is not None
    assert (await mount.data("read", "key/default"))["subject_key_id"] == expected.hex(":")


async def test_an_unknown_key_is_not_found() -> None:
    with pytest.raises(NotFoundError, match="nobody"):
        await (await with_keys("one")).data("read", "key/nobody")


@pytest.mark.parametrize("name", ["default", "Default", "two", "a b", "-a", "ä", "x" * 129])
async def test_a_key_cannot_be_called(name: str) -> None:
    mount = await with_keys("one", "two")
    with pytest.raises(InvalidRequestError, match="key name"):
        await mount.data("update", "key/one", {"key_name": name})
    assert (await mount.data("read", "key/one"))["key_name"] == "one"


async def test_a_key_cannot_be_called_as_the_id_of_another() -> None:
    mount = await with_keys("one", "two")
    other = (await mount.data("read", "key/two"))["key_id"]
    with pytest.raises(InvalidRequestError, match="in use"):
        await mount.data("update", "key/one", {"key_name": other})


async def test_a_key_keeps_its_own_name() -> None:
    assert (await (await with_keys("one")).data("update", "key/one", {"key_name": "one"}))["key_name"] == "one"


async def test_a_name_that_is_taken_away_is_warned_of() -> None:
    mount = await with_keys("one")
    answer = await mount.call("update", "key/one", {})
    assert answer.warnings is not None
    assert (answer.data or {})["key_name"] == ""
    with pytest.raises(NotFoundError):
        await mount.data("read", "key/one")


async def test_of_two_workers_that_make_one_name_one_wins() -> None:
    mount = Mount()
    body = {"key_type": "ec", "key_name": "same"}
    answers = await asyncio.gather(
        *(one.call("update", "keys/generate/internal", body) for one in (mount, mount.other_worker())),
        return_exceptions=True,
    )
    assert [type(answer) for answer in answers].count(Response) == 1
    assert len((await mount.data("list", "keys"))["keys"]) == 1


# --- deletion ---------------------------------------------------------------------------------------------------------


async def test_a_key_that_an_issuer_has_stays() -> None:
    """It goes for good, and without it nobody signs the CRLs of what the issuer issued."""
    mount = Mount()
    issuer_id = await mount.seed_root("one")
    with pytest.raises(InvalidRequestError, match=f"in Use by Issuer: {issuer_id}"):
        await mount.call("delete", "key/default")
    await mount.call("delete", "issuer/one")
    await mount.call("delete", "key/default")
    with pytest.raises(NotFoundError):
        await mount.data("list", "keys")


async def test_the_default_that_goes_is_warned_of() -> None:
    mount = await with_keys("one", "two")
    answer = await mount.call("delete", "key/one")
    assert answer.warnings is not None
    assert "default key" in answer.warnings[0]
    assert (await mount.data("read", "config/keys")) == {"default": ""}


@pytest.mark.parametrize("reference", ["two", "nobody"])
async def test_any_other_goes_without_a_word(reference: str) -> None:
    answer = await (await with_keys("one", "two")).call("delete", f"key/{reference}")
    assert (answer.data, answer.warnings) == (None, None)


# --- the default ------------------------------------------------------------------------------------------------------


async def test_the_default_is_chosen_by_name_and_kept_by_id() -> None:
    mount = await with_keys("one", "two")
    expected = {"default": (await mount.data("read", "key/two"))["key_id"]}
    assert await mount.data("update", "config/keys", {"default": "two"}) == expected
    assert await mount.data("read", "config/keys") == expected


@pytest.mark.parametrize("body", [{}, {"default": ""}, {"default": "default"}, {"default": "nobody"}], ids=str)
async def test_no_key_no_default(body: dict[str, Any]) -> None:
    mount = await with_keys("one")
    before = await mount.data("read", "config/keys")
    with pytest.raises(InvalidRequestError):
        await mount.data("update", "config/keys", body)
    assert await mount.data("read", "config/keys") == before


@pytest.mark.parametrize("path", ["issuer/default", "key/default"])
async def test_where_nothing_is_there_is_no_default(path: str) -> None:
    with pytest.raises(InvalidRequestError, match="there is no default"):
        await Mount().data("read", path)
