"""What operators ask of a running node and set for it: the parts of sys/ around quotas, metrics and configuration."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from appliance.metrics import Extra, Metrics
from appliance.password_policies import PasswordPolicies
from appliance.settings import SystemSettings
from appliance.system.counters import Count, CounterRoutes
from appliance.system.experiments import ExperimentRoutes
from appliance.system.host import HostRoutes, InFlight
from appliance.system.metrics import MetricsRoutes
from appliance.system.node import NodeInfo
from appliance.system.operator_config import OperatorConfigRoutes
from appliance.system.password_policies import PasswordPolicyRoutes
from appliance.system.plugins import PluginRoutes
from appliance.system.quotas import QuotaRoutes, Split
from appliance.system.rotation import RotationRoutes
from appliance.system.tools import ToolRoutes
from appliance.system.ui_access import Reachable, UiAccessRoutes
from appliance.system.versions import VersionHistory, VersionRoutes
from core.clock import Clock
from core.engine import Route
from core.protocols import KeyCustodian


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationsParts:
    """All that these routes reach."""

    settings: SystemSettings
    passwords: PasswordPolicies
    versions: VersionHistory
    metrics: Metrics | None  # None: this process counts nothing, and there is no sys/metrics
    keys: KeyCustodian
    node: NodeInfo
    clock: Clock
    split: Split
    namespaces: Reachable
    tokens: Count
    entities: Count
    in_flight: Callable[[], Iterable[InFlight]]
    sanitized: dict[str, Any]
    extras: Sequence[Extra] = field(default=())
    open_metrics: bool = False


def operations_routes(parts: OperationsParts) -> list[Route]:
    """Below sys/."""
    node, clock = parts.node, parts.clock
    found = [
        *QuotaRoutes(parts.settings, parts.split).routes(),
        *PasswordPolicyRoutes(parts.passwords).routes(),
        *OperatorConfigRoutes(parts.settings, parts.sanitized).routes(),
        *RotationRoutes(parts.settings).routes(),
        *HostRoutes(clock, parts.in_flight).routes(),
        *VersionRoutes(parts.versions).routes(),
        *CounterRoutes(tokens=parts.tokens, entities=parts.entities).routes(),
        *UiAccessRoutes(parts.namespaces, node.version).routes(),
        *PluginRoutes(node.version).routes(),
        *ToolRoutes(parts.keys).routes(),
        *ExperimentRoutes().routes(),
    ]
    if parts.metrics is not None:
        unauthenticated = parts.open_metrics
        routes = MetricsRoutes(parts.metrics, node, clock, extras=parts.extras, unauthenticated=unauthenticated)
        found += routes.routes()
    return found
