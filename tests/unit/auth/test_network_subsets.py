"""Networks of a secret id lie within those of its role: against a plain model of addresses."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.approle.secret_ids import is_subset

# networks of a small world, so that they meet often
SMALL = st.builds(
    lambda host, length: str(ip_network(f"10.0.0.{host}/{length}", strict=False)),
    st.integers(0, 255),
    st.integers(24, 32),
)


@given(st.lists(SMALL, max_size=4), st.lists(SMALL, min_size=1, max_size=4))
def test_what_is_a_subset_holds_no_address_of_outside(inner: list[str], outer: list[str]) -> None:
    """The reverse does not hold, as in Vault: two halves do not make a whole."""
    if is_subset(tuple(inner), tuple(outer)):
        addresses = {address for network in inner for address in ip_network(network)}
        assert addresses <= {address for network in outer for address in ip_network(network)}


@pytest.mark.parametrize(
    ("inner", "outer", "found"),
    [
        ((), ("10.0.0.0/8",), True),
        (("10.0.0.0/8",), (), True),
        (("10.0.0.0/8",), ("10.0.0.0/8",), True),
        (("0.0.0.0/0",), ("10.0.0.0/8",), False),
        (("::/0",), ("0.0.0.0/0",), False),
        (("10.0.0.0/8",), ("::/0",), False),
        (("::1/128",), ("10.0.0.0/8", "::/64"), True),
        (("10.0.0.0/8",), ("10.0.0.0/9", "10.128.0.0/9"), False),
    ],
)
def test_families_do_not_mix_and_nothing_is_a_subset_of_everything(
    inner: tuple[str, ...], outer: tuple[str, ...], found: bool
) -> None:
    assert is_subset(inner, outer) is found
