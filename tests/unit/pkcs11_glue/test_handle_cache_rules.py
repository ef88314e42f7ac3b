"""The cache of live keys, without an HSM: bounded, epoch-checked, and never destroying a key in use."""

import pytest

from core.protocols import KeyKind, KeyUsage
from pkcs11_glue.handles import HandleCache, LiveKey


@pytest.fixture
def destroyed():
    return []


@pytest.fixture
def cache(destroyed):
    cache = HandleCache(3, lambda live: destroyed.append(live.handle))
    cache.start_epoch()
    return cache


def live(cache, number, **changes):
    values = {"key_id": f"k{number}", "kind": KeyKind.AES_256, "usage": KeyUsage.ENCRYPT, "epoch": cache.epoch}
    return LiveKey(**(values | {"handle": number} | changes))


def test_a_key_of_another_epoch_is_not_answered(cache):
    cache.put(live(cache, 1))
    cache.epoch += 1
    assert cache.get("k1") is None


def test_a_key_of_another_epoch_is_not_kept(cache):
    stale = live(cache, 1)
    cache.start_epoch()
    assert cache.put(stale) is stale
    assert len(cache) == 0


def test_a_new_epoch_forgets_without_destroying(cache, destroyed):
    """The numbers may belong to other objects by then."""
    cache.put(live(cache, 1))
    cache.start_epoch()
    cache.drop_all()
    assert destroyed == []


def test_the_capacity_holds_and_what_is_evicted_is_destroyed(cache, destroyed):
    for number in range(1, 8):
        cache.put(live(cache, number))
    assert len(cache) == 3
    assert len(destroyed) == 4


def test_a_key_used_since_outlives_one_that_was_not(cache, destroyed):
    for number in (1, 2, 3, 4):  # the fourth makes the hand pass over all: 1 goes
        cache.put(live(cache, number))
    cache.get("k2")
    cache.put(live(cache, 5))
    assert destroyed == [1, 3]


def test_a_key_in_use_is_destroyed_only_when_the_last_call_ends(cache, destroyed):
    held = cache.put(live(cache, 1))
    cache.hold(held)
    cache.hold(held)
    cache.drop_all()
    cache.release(held)
    assert destroyed == []
    cache.release(held)
    assert destroyed == [1]


def test_a_key_released_in_a_later_epoch_is_not_destroyed(cache, destroyed):
    held = cache.put(live(cache, 1))
    cache.hold(held)
    cache.drop_all()
    cache.start_epoch()
    cache.release(held)
    assert destroyed == []


def test_of_two_unwraps_at_once_the_first_is_kept_and_the_other_destroyed(cache, destroyed):
    first = cache.put(live(cache, 1))
    assert cache.put(live(cache, 1, handle=9)) is first
    assert destroyed == [9]


def test_software_keys_are_forgotten_but_no_object_is_destroyed(cache, destroyed):
    kept = cache.put(live(cache, 1, handle=0, software=object()))
    cache.drop_all()
    assert kept.software is None
    assert destroyed == []


def test_the_repr_of_a_live_key_shows_no_material(cache):
    assert "secret" not in repr(live(cache, 1, software="secret"))
