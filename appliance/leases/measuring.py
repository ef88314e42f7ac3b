"""What the metrics say of leases: which could not be revoked, and how far revocation is behind."""

from appliance.leases.entries import KIND
from appliance.leases.irrevocable import INDEX
from core.clock import Clock
from core.protocols import CoreStorage

IRREVOCABLE_TEXT = "Leases that could not be revoked and wait for an operator; at most 10000 are counted."
OVERDUE_TEXT = "Seconds since the oldest lease that is due was due; those put off are due at their next try."
_MOST_COUNTED = 10_000


async def count_irrevocable(storage: CoreStorage) -> int:
    """Those of all namespaces."""
    return len(await storage.paths(INDEX, limit=_MOST_COUNTED))


async def overdue(storage: CoreStorage, clock: Clock) -> int:
    """Seconds; 0 when nothing is due."""
    now = int(clock.now())
    oldest = await storage.expired_records(KIND, before=now, limit=1)
    return max(now - oldest[0].expires_at, 0) if oldest and oldest[0].expires_at else 0
