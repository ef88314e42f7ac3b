"""What the certificates of bench/inventory are called, and what is looked for among them."""

import random
from collections.abc import Callable

SHOPS = 500
ROLES = [f"role-{number}" for number in range(20)]
REQUESTERS = [f"approle-service-{number}" for number in range(200)]

Query = dict[str, str]


def name_of(number: int) -> str:
    """Two thirds of them begin with "web"."""
    return f"{'web' if number % 3 else 'db'}-{number:07d}.shop{number % SHOPS}.example.com"


def searches(count: int) -> dict[str, Callable[[random.Random], Query]]:
    """One of each kind, of a random name where there is one in it."""

    def any_number(chance: random.Random) -> int:
        return chance.randrange(count)

    return {
        "prefix_of_most": lambda _: {"san": "web*"},
        "prefix_of_ten": lambda chance: {"san": f"web-{any_number(chance) // 10:06d}*"},
        "exact_name": lambda chance: {"san": name_of(any_number(chance))},
        "suffix_of_all": lambda _: {"san": "*.example.com"},
        "suffix_of_a_shop": lambda chance: {"san": f"*.shop{any_number(chance) % SHOPS}.example.com"},
        "both_ends": lambda chance: {"san": f"web-0*.shop{any_number(chance) % SHOPS}.example.com"},
        "both_ends_few": lambda chance: {"san": f"web-{any_number(chance) // 1000:04d}*.example.com"},
        "expiring_7d": lambda _: {"expiring": "7d"},
        "role_expiring_7d": lambda chance: {"role": chance.choice(ROLES), "expiring": "7d"},
        "requester": lambda chance: {"requester": chance.choice(REQUESTERS)},
        "revoked": lambda _: {"state": "revoked"},
        "revoked_of_a_role": lambda chance: {"state": "revoked", "role": chance.choice(ROLES)},
        "unknown_name": lambda _: {"san": "nobody.example.org"},
    }
