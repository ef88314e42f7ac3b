"""The wish for a CRL of a scope: written with every revocation, so that its number tells what a CRL lacks.

Revocations at once would conflict on one entry on PostgreSQL. So there are several, of which each takes one by chance;
the number of the wish is the sum of their revisions. Whoever makes a CRL adds them up before it reads the rows: what a
wish stands for that was counted is in those rows, and one that was not counted makes the sum larger than the CRL's.
"""

import secrets

from core.protocols import Transaction

_WANTED = "crl/wanted/"  # + scope, and "/" + number of all but the first
_ENTRIES = 16


def wish_paths(scope: str) -> tuple[str, ...]:
    """The entries of a scope's wish."""
    return (_WANTED + scope, *(f"{_WANTED}{scope}/{number}" for number in range(1, _ENTRIES)))


async def wish(txn: Transaction, scope: str) -> None:
    """Ask for a CRL of what this transaction revokes."""
    await txn.put(secrets.choice(wish_paths(scope)), b"")
