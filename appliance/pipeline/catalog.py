"""Which engines and login methods this installation can mount: the entry points of their groups."""

from importlib.metadata import EntryPoint, entry_points

from core.engine import EngineFactory
from core.errors import ConfigError

ENGINES = "mimir.engines"
AUTH_METHODS = "mimir.auth_methods"


class EngineCatalog:
    """The mount types of one group by name. An engine's code is imported when it is first mounted, not before."""

    def __init__(self, built_in: dict[str, EngineFactory] | None = None, *, group: str = ENGINES) -> None:
        self._points: dict[str, EntryPoint] = {point.name: point for point in entry_points(group=group)}
        self._factories: dict[str, EngineFactory] = dict(built_in or {})

    def __contains__(self, name: object) -> bool:
        return name in self._factories or name in self._points

    def names(self) -> list[str]:
        """Every mount type, sorted."""
        return sorted(self._points.keys() | self._factories.keys())

    def factory(self, name: str) -> EngineFactory:
        """Import the engine. Raises ConfigError when it is not installed here or its import fails."""
        if name not in self._factories:
            if name not in self._points:
                raise ConfigError(f"the engine {name} is mounted but not installed on this node")
            try:
                self._factories[name] = self._points[name].load()
            except (ImportError, AttributeError) as exc:
                raise ConfigError(f"the engine {name} is mounted but cannot be imported on this node") from exc
        return self._factories[name]
