"""Recovery keys and escrow words: a quorum gives the key, nothing else does."""

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shamir_mnemonic import combine_mnemonics

from barrier.escrow import recover_escrow, split_escrow
from barrier.recovery import check_share, combine_shares, is_recovery_key, new_recovery_key, split_recovery_key
from barrier.share_counts import ShareCounts, check_share_counts
from core.errors import InvalidRequestError
from core.secret import Secret

COUNTS = st.integers(2, 16).flatmap(
    lambda shares: st.integers(2, shares).map(lambda threshold: ShareCounts(shares=shares, threshold=threshold))
)


@settings(max_examples=30, deadline=None)
@given(COUNTS, st.randoms())
def test_any_quorum_gives_the_recovery_key(counts: ShareCounts, chance: object) -> None:
    key, check = new_recovery_key()
    shares = split_recovery_key(key, counts)
    assert len({share.expose() for share in shares}) == counts.shares
    chosen = chance.sample(shares, counts.threshold)  # type: ignore[attr-defined]  # random.Random
    found = combine_shares(chosen, counts)
    assert found is not None
    assert is_recovery_key(check, found)


@pytest.mark.parametrize("given_", [[], [0], [0, 0, 1]])
def test_less_than_a_quorum_gives_nothing(given_: list[int]) -> None:
    counts = ShareCounts(shares=5, threshold=3)
    shares = split_recovery_key(new_recovery_key()[0], counts)
    if given_:
        assert combine_shares([shares[index] for index in given_], counts) is None


def test_shares_of_two_keys_do_not_mix() -> None:
    counts = ShareCounts(shares=3, threshold=2)
    (key, check), (other, _check) = new_recovery_key(), new_recovery_key()
    mixed = [split_recovery_key(key, counts)[0], split_recovery_key(other, counts)[1]]
    found = combine_shares(mixed, counts)
    assert found is None or not is_recovery_key(check, found)


def test_one_of_one_is_the_key() -> None:
    counts = ShareCounts(shares=1, threshold=1)
    key, check = new_recovery_key()
    [share] = split_recovery_key(key, counts)
    assert share.expose() == key.expose() + b"\1"
    found = combine_shares([share], counts)
    assert found is not None
    assert is_recovery_key(check, found)


@pytest.mark.parametrize("size", [0, 16, 32, 34])
def test_a_share_has_33_bytes(size: int) -> None:
    with pytest.raises(InvalidRequestError):
        check_share(Secret(b"\1" * size))


@pytest.mark.parametrize(("shares", "threshold"), [(0, 0), (1, 0), (0, 1), (17, 2), (2, 3), (2, 1), (-1, -1), (16, 17)])
def test_counts_that_cannot_be_name_the_field(shares: int, threshold: int) -> None:
    with pytest.raises(InvalidRequestError, match="escrow_"):
        check_share_counts(ShareCounts(shares=shares, threshold=threshold), what="escrow")


@pytest.mark.parametrize(("shares", "threshold"), [(1, 1), (2, 2), (5, 3), (16, 16)])
def test_counts_within_slip39(shares: int, threshold: int) -> None:
    check_share_counts(ShareCounts(shares=shares, threshold=threshold), what="escrow")


def test_every_quorum_of_words_is_the_escrow_value() -> None:
    value = Secret(bytes(range(32)))
    words = split_escrow(value, ShareCounts(shares=3, threshold=2))
    for quorum in combinations(words, 2):
        assert recover_escrow(list(quorum)) == value
        assert combine_mnemonics(quorum) == value.expose()  # what a client does


def test_words_that_do_not_fit_are_refused_and_not_repeated() -> None:
    words = split_escrow(Secret(bytes(32)), ShareCounts(shares=3, threshold=2))
    others = split_escrow(Secret(bytes(32)), ShareCounts(shares=3, threshold=2))
    misspelt = words[0].replace(words[0].split()[5], "acid", 1)
    for wrong in ([], words[:1], words, [words[0], words[0]], [words[0], others[1]], [misspelt, words[1]], ["abc", ""]):
        with pytest.raises(InvalidRequestError) as caught:
            recover_escrow(wrong)
        assert "academic" not in caught.value.sentence


def test_words_of_another_secret_are_refused() -> None:
    from shamir_mnemonic import generate_mnemonics

    [words] = generate_mnemonics(1, [(1, 1)], b"x" * 16)
    with pytest.raises(InvalidRequestError, match="something else"):
        recover_escrow(words)
