"""IP addresses and networks, as tokens, roles and policies are bound to them."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from core.errors import InvalidRequestError

MAX_NETWORKS = 256


def parse_cidrs(texts: Iterable[str], *, field: str) -> tuple[str, ...]:
    """Networks from "10.0.0.0/8" or single addresses, in canonical form. Raises InvalidRequestError that names `field`.

    Bits right of the mask are ignored, as Vault does.
    """
    found = []
    for text in texts:
        try:
            found.append(str(ip_network(text.strip(), strict=False)))
        except ValueError:
            raise InvalidRequestError(f'{field} must be networks like "10.0.0.0/8" or addresses') from None
    if len(found) > MAX_NETWORKS:
        raise InvalidRequestError(f"{field} may hold at most {MAX_NETWORKS} networks")
    return tuple(dict.fromkeys(found))


def is_within(address: str, cidrs: tuple[str, ...]) -> bool:
    """Whether `address` lies in one of the networks; an address that is none ("" on a unix socket) lies in no network.

    An IPv4 address that is written in IPv6 form (RFC 4291, 2.5.5.2) counts as IPv4.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    found = mapped or parsed
    return any(found.version == network.version and found in network for network in _networks(cidrs))


def is_subnet(cidr: str, cidrs: tuple[str, ...]) -> bool:
    """Whether the network, in canonical form, lies in one of the networks."""
    (inner,) = _networks((cidr,))
    return any(_is_subnet(inner, outer) for outer in _networks(cidrs))


def _is_subnet(inner: IPv4Network | IPv6Network, outer: IPv4Network | IPv6Network) -> bool:
    same = inner.version == outer.version and inner.prefixlen >= outer.prefixlen
    return same and inner.network_address in outer


@lru_cache(maxsize=1024)
def _networks(cidrs: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(cidr) for cidr in cidrs)
