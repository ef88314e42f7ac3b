"""The shared page: what a reader may conclude from it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barrier.changes import CAPACITY, MAX_BATCH, MAX_NAMED, SEQUENCE, ChangeRing, path_hash
from core.errors import ConfigError


@pytest.fixture
def ring(tmp_path: Path) -> Iterator[ChangeRing]:
    ring = ChangeRing.create(tmp_path / "ring")
    yield ring
    ring.close()


@pytest.fixture
def other(ring: ChangeRing) -> Iterator[ChangeRing]:
    """Another process's mapping."""
    other = ChangeRing.open(ring.path)
    yield other
    other.close()


def test_nothing_changed_is_an_empty_list(ring: ChangeRing) -> None:
    assert ring.since(ring.sequence) == []


def test_the_other_mapping_names_what_was_published(ring: ChangeRing, other: ChangeRing) -> None:
    before = other.sequence
    ring.publish(["a", "b"])
    ring.publish(["c"])
    assert other.since(before) == [path_hash(path) for path in "abc"]
    assert other.since(before + 2) == [path_hash("c")]


def test_publishing_nothing_wakes_nobody(ring: ChangeRing) -> None:
    ring.publish([])
    assert ring.sequence == 0


def test_two_writers_do_not_overwrite_each_other(ring: ChangeRing, other: ChangeRing) -> None:
    for number in range(100):
        (ring, other)[number % 2].publish([str(number)])
    assert ring.since(0) == [path_hash(str(number)) for number in range(100)]


@pytest.mark.parametrize("behind", [MAX_BATCH + 1, CAPACITY, 3 * CAPACITY])
def test_who_is_lapped_must_drop_everything(ring: ChangeRing, behind: int) -> None:
    for start in range(0, behind, 4_000):
        ring.publish([str(number) for number in range(start, min(start + 4_000, behind))])
    assert ring.sequence == behind
    assert ring.since(0) is None
    assert ring.since(behind - MAX_BATCH) is not None


def test_the_ring_wraps(ring: ChangeRing) -> None:
    for _ in range(5):
        ring.publish(["x"] * 20_000)
    before = ring.sequence
    ring.publish(["a", "b"])
    assert ring.since(before) == [path_hash("a"), path_hash("b")]


def test_a_batch_too_large_for_the_ring_drops_everything(ring: ChangeRing) -> None:
    ring.publish(["x"] * (MAX_NAMED + 1))
    assert ring.since(0) is None


def test_publish_all_drops_everything_once(ring: ChangeRing) -> None:
    ring.publish(["a"])
    before = ring.sequence
    ring.publish_all()
    assert ring.since(before) is None
    assert ring.since(ring.sequence) == []


def test_a_sequence_from_another_ring_drops_everything(ring: ChangeRing) -> None:
    assert ring.since(99) is None


def test_a_writer_that_died_before_the_sequence_is_not_seen(ring: ChangeRing) -> None:
    """Its hashes are in the slots, the sequence is not: the next writer overwrites them."""
    ring.publish(["a"])
    ring.words[512 + 1] = 0xDEAD
    assert ring.since(0) == [path_hash("a")]
    ring.publish(["b"])
    assert ring.since(0) == [path_hash("a"), path_hash("b")]


def test_every_bump_changes_the_seal_word(ring: ChangeRing, other: ChangeRing) -> None:
    seen = {other.seal_word}
    for flag in (None, True, None, True, False, None):
        ring.bump_seal(sealed_by_operator=flag)
        seen.add(other.seal_word)
    assert len(seen) == 7


def test_the_operators_flag_stays_until_it_is_changed(ring: ChangeRing, other: ChangeRing) -> None:
    assert not other.sealed_by_operator
    ring.bump_seal(sealed_by_operator=True)
    ring.bump_seal()
    assert other.sealed_by_operator
    ring.bump_seal(sealed_by_operator=False)
    assert not other.sealed_by_operator


def test_a_new_page_forgets(ring: ChangeRing) -> None:
    ring.bump_seal(sealed_by_operator=True)
    fresh = ChangeRing.create(ring.path)
    assert not fresh.sealed_by_operator
    assert fresh.words[SEQUENCE] == 0
    fresh.close()


@pytest.mark.parametrize("content", [None, b"", b"short", b"x" * 600_000])
def test_what_is_no_ring_is_not_mapped(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "ring").write_bytes(content)
    with pytest.raises(ConfigError):
        ChangeRing.open(tmp_path / "ring")


@given(st.lists(st.lists(st.text(st.characters(codec="utf-8"), max_size=5), max_size=6), max_size=20), st.data())
def test_since_is_everything_after(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[str]], data: st.DataObject
) -> None:
    ring = ChangeRing.create(tmp_path_factory.mktemp("ring") / "ring")
    for batch in batches:
        ring.publish(batch)
    hashes = [path_hash(path) for batch in batches for path in batch]
    seen = data.draw(st.integers(0, len(hashes)))
    assert ring.since(seen) == hashes[seen:]
    ring.close()
