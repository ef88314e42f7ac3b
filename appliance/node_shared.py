"""What the processes of a node share through its runtime directory, besides the change ring."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from appliance.access.refusals import RefusalLog
from appliance.metrics import Metrics
from appliance.quotas import Counts, Quotas


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """Mapped files: losing them loses numbers, and nothing that anybody relies on."""

    refusals: RefusalLog
    metrics: Metrics
    quotas: Quotas

    @classmethod
    def open(cls, directory: Path, *, mount_types: Iterable[str], serves: bool) -> "Shared":
        """Map them. A process that `serves` nobody counts for no quota. Raises ConfigError."""
        return cls(
            refusals=RefusalLog.open(directory / "refusals"),
            metrics=Metrics.open(directory, mount_types),
            quotas=Quotas(Counts.open(directory / "quotas") if serves else None),
        )

    def close(self) -> None:
        """Unmap them."""
        self.refusals.close()
        self.metrics.close()
        self.quotas.close()
